"""What the units of a gated model remember: their timescales, the power law of a bank, and what is lost without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neurolm.checks import bad
from neurolm.lm import LSTM, LanguageModel, MultiTimescaleLSTM
from neurolm.lm.language_model import State
from neurolm.progress import Progress, silent
from neurolm.statistics import draw_counts, percentile_interval
from neurolm.stimuli import Transcript

COUNT_EDGES = (100, 1000, 10_000)


def unit_timescales(model: LSTM | MultiTimescaleLSTM, ids: torch.Tensor, *, chunk: int = 512) -> list[np.ndarray]:
    """Timescale of every unit while reading a text: -1 / ln(mean forget gate).

    Parameters
    ----------
    model : LSTM or MultiTimescaleLSTM
    ids : (T,) int64
        The text; read as one stream.
    chunk : int
        Tokens at a time; the state goes on.

    Returns
    -------
    timescales : list of (H,) arrays, one per layer, in tokens

    References
    ----------
    Mahto, Vo, Turek & Huth (2021), ICLR.
    """
    if ids.ndim != 1 or not len(ids):
        raise bad("ids", "have shape (T,) with at least one token", tuple(ids.shape))
    totals: list[torch.Tensor] = []
    state = None
    with torch.inference_mode():
        for start in range(0, len(ids), chunk):
            part = ids[None, start : start + chunk].to(model.device)
            forget = [gates.f.double().sum((0, 1)) for gates in model.gates(part, state)]
            totals = forget if not totals else [a + b for a, b in zip(totals, forget)]
            state = model.step(part, state, [model.n_layers], logits=False).state
    return [(-1 / torch.log(total / len(ids))).cpu().numpy() for total in totals]


def token_ids(model: LanguageModel, transcript: Transcript) -> torch.Tensor:
    """A transcript as one stream of tokens."""
    return torch.tensor(model.tokenizer.encode(transcript.text), dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class PowerLawCheck:
    """How a bank of exponential memories forgets as a whole.

    lags : (n_lags,) tokens
    memory : (n_lags,) mean over units of e^(-lag / T)
    expected : (n_lags,) (1 + lag / scale)^-alpha, its limit for infinitely many inverse-gamma units
    slope : of log memory on log lag over the lags
    """

    lags: np.ndarray
    memory: np.ndarray
    expected: np.ndarray
    slope: float


def power_law_check(
    timescales: np.ndarray, *, alpha: float = 0.56, scale: float = 1.0, lags: tuple[int, int] = (10, 500)
) -> PowerLawCheck:
    """Does a bank forget as a power law?

    If T is inverse-gamma distributed with shape alpha and this scale, E[e^(-t/T)] = (1 + t/scale)^-alpha.
    """
    timescales = np.asarray(timescales, dtype=np.float64)
    if timescales.ndim != 1 or not (timescales > 0).all():
        raise bad("timescales", "have shape (n_units,) and be > 0", timescales.shape)
    t = np.arange(lags[0], lags[1] + 1)
    memory = np.mean([np.exp(-t / one) for one in timescales], axis=0)
    slope = np.polyfit(np.log(t), np.log(memory), 1)[0]
    return PowerLawCheck(t, memory, (1 + t / scale) ** -alpha, float(slope))


@dataclass(frozen=True, eq=False)
class Ablation:
    """What the loss of a group of units costs, by how frequent the words are.

    Parameters
    ----------
    timescales : array of shape (n_groups,)
        Geometric mean of each group's units, rising.
    bins : tuple of str
        Counts of the words in training, with "all" last.
    ratio : array of shape (n_groups, n_bins)
        Perplexity without the group over perplexity with all; NaN where no word has such a count.
    interval : array of shape (2, n_groups, n_bins)
        95 %, over blocks of the text.
    """

    timescales: np.ndarray
    bins: tuple[str, ...]
    ratio: np.ndarray
    interval: np.ndarray


def ablate_units(
    model: LSTM | MultiTimescaleLSTM,
    ids: torch.Tensor,
    timescales: np.ndarray,
    counts: Mapping[int, int] | np.ndarray,
    *,
    layer: int = 2,
    group: int = 50,
    chunk: int = 512,
    block: int = 100,
    edges: Sequence[int] = COUNT_EDGES,
    n_bootstrap: int = 10_000,
    seed: int = 0,
    progress: Progress = silent,
) -> Ablation:
    """Silence units in groups of like timescale and see which words become harder to predict.

    The output of the group is set to zero where the next layer (or the head) reads it; the layer's
    own recurrence goes on.

    Parameters
    ----------
    model : LSTM or MultiTimescaleLSTM
    ids : (T,) int64
        A held-out text; every token but the first is predicted.
    timescales : array of shape (H,)
        Of the layer's units, `unit_timescales(...)[layer - 1]`.
    counts : mapping of token to int, or array of shape (V,)
        How often each token occurs in training.
    layer : int
        From 1.
    group : int
        Units silenced at once.
    block, n_bootstrap, seed
        Tokens in a block; draws.

    References
    ----------
    Mahto, Vo, Turek & Huth (2021), ICLR.
    """
    width = model.config["width"] if layer < model.n_layers or not model.config["tied"] else model.config["embedding_width"]
    if not 1 <= layer <= model.n_layers:
        raise bad("layer", f"lie in 1..{model.n_layers}", layer)
    if np.shape(timescales) != (width,):
        raise bad("timescales", f"be one for each of the {width} units of layer {layer}", np.shape(timescales))
    if len(ids) < 2 * block:
        raise bad("ids", f"hold at least two blocks of {block} tokens", len(ids))
    order = np.argsort(timescales, kind="stable")
    groups = [order[i : i + group] for i in range(0, len(order), group)]
    whole = token_losses(model, ids, chunk=chunk)
    seen = np.array([int(counts[int(i)]) if not isinstance(counts, Mapping) else counts.get(int(i), 0) for i in ids[1:]])
    member, bins = _count_bins(seen, edges)  # (n_bins, T - 1)
    rows, intervals = [], []
    for done, units in enumerate(groups, start=1):
        more = token_losses(model, ids, silenced=(layer, units), chunk=chunk) - whole
        ratio, ends = _perplexity_ratio(more, member, block, n_bootstrap, seed)
        rows.append(ratio)
        intervals.append(ends)
        progress(done, len(groups), "groups")
    middle = np.array([np.exp(np.log(np.asarray(timescales)[units]).mean()) for units in groups])
    return Ablation(middle, bins, np.stack(rows), np.stack(intervals, axis=1))


def token_losses(
    model: LSTM | MultiTimescaleLSTM, ids: torch.Tensor, *, silenced: tuple[int, np.ndarray] | None = None, chunk: int = 512
) -> np.ndarray:
    """-ln p of every token but the first, (T - 1,) float64; `silenced` is a layer from 1 and its units."""
    losses, state = [], None
    handle = None if silenced is None else model.layers[silenced[0] - 1].register_forward_hook(_silence(silenced[1]))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(ids) - 1, chunk):
                part = ids[start : min(start + chunk, len(ids) - 1)].to(model.device)
                output = model.step(part[None], state, ())
                state = output.state
                assert output.logits is not None
                wanted = ids[start + 1 : start + 1 + len(part)].to(model.device)
                losses.append(torch.nn.functional.cross_entropy(output.logits[0].double(), wanted, reduction="none").cpu())
    finally:
        model.train(was_training)
        if handle is not None:
            handle.remove()
    return torch.cat(losses).numpy()


def _silence(units: np.ndarray) -> Callable[..., tuple[torch.Tensor, State]]:
    """A hook that zeroes what a layer hands on, and leaves its state alone."""
    index = torch.from_numpy(np.ascontiguousarray(units))

    def hook(module: torch.nn.Module, inputs: State, output: tuple[torch.Tensor, State]) -> tuple[torch.Tensor, State]:
        h, state = output
        h = h.clone()
        h[..., index] = 0
        return h, state

    return hook


def _count_bins(seen: np.ndarray, edges: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which tokens belong to which bin, (n_bins, n_tokens) bool, the last one all; and the bins' names."""
    ends = [0, *edges]
    which = np.digitize(seen, edges)
    names = [f"{a:,} to {b - 1:,}" for a, b in zip(ends, edges)] + [f"{edges[-1]:,} and more", "all"]
    member = np.stack([*(which == i for i in range(len(ends))), np.ones(len(seen), dtype=bool)])
    return member, tuple(names)


def _perplexity_ratio(
    more: np.ndarray, member: np.ndarray, block: int, n_bootstrap: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """exp of the mean rise of the loss in each bin, (n_bins,), and its interval, (2, n_bins)."""
    starts = np.arange(0, len(more), block)
    total = np.add.reduceat(member * more, starts, axis=1)  # (n_bins, n_blocks)
    n = np.add.reduceat(member.astype(np.float64), starts, axis=1)
    draws = draw_counts(len(starts), n_bootstrap, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.exp(total.sum(1) / n.sum(1))
        drawn = np.exp((draws @ total.T) / (draws @ n.T))
    ends = np.full((2, len(ratio)), np.nan)
    known = np.isfinite(drawn).mean(0) > 0.5
    ends[:, known] = percentile_interval(drawn[:, known])
    return ratio, ends
