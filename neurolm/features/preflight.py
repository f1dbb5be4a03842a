"""What an extraction will take, before it begins: words, tokens, FLOPs, memory, time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from neurolm.features.lm_states import LMStates
from neurolm.features.memory import layer_widths
from neurolm.features.reading_plan import check_contexts
from neurolm.features.surprisal import Surprisal
from neurolm.lm.language_model import LanguageModel, Predicts
from neurolm.products import matmul, without_onednn
from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.transcript import Transcript

SHARE_OF_PEAK = 0.8  # of a large product's rate that batches of windows reach
SHARE_STREAMING = 0.3  # and that one long stream of a recurrent model reaches


@dataclass(frozen=True)
class ExtractionPlan:
    """What is to be done, and what it will take.

    n_words, n_tokens : of the story
    n_windows : words times contexts: how many rows of each layer there will be
    n_passes : stretches of tokens that the model reads for them, after sharing and without repeats
    n_pass_tokens : tokens in all passes, padding not counted
    batch_tokens : tokens in one batch
    flops : floating-point operations, attention counted as if it were dense
    output_bytes : size of the features, on disk if there is a cache, else in memory
    memory_bytes : what a batch takes beside the model, roughly
    seconds : an estimate from this machine's rate for a large matrix product
    flops_per_second : that rate
    """

    n_words: int
    n_tokens: int
    n_windows: int
    n_passes: int
    n_pass_tokens: int
    batch_tokens: int
    flops: float
    output_bytes: int
    memory_bytes: int
    seconds: float
    flops_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.n_words:,} words in {self.n_tokens:,} tokens; {self.n_passes:,} passes of {self.n_pass_tokens:,} tokens, "
            f"{self.flops / 1e12:,.1f} TFLOP; {self.output_bytes / 1e6:,.1f} MB of features, "
            f"about {self.memory_bytes / 1e6:,.0f} MB of memory a batch and {_duration(self.seconds)} "
            f"at {SHARE_OF_PEAK:.0%} of {self.flops_per_second / 1e9:,.0f} GFLOP/s"
        )


def plan_extraction(
    space: LMStates | Surprisal, transcript: Transcript, contexts: Iterable[int] | None = None, *, measure_s: float = 0.3
) -> ExtractionPlan:
    """Plan an extraction, or with `contexts` a sweep, without running it.

    Parameters
    ----------
    space : LMStates or Surprisal
    transcript : Transcript
    contexts : iterable of int, optional
        Numbers of words, as for `space.sweep`.
    measure_s : float
        Seconds spent on measuring this machine's rate.
    """
    windows = [space.context] if contexts is None else [ContextWindow(n) for n in check_contexts(contexts)]
    story, plan, _ = space.prepare(transcript, windows)
    depth, with_scores, width = _what_is_read(space)
    budget = space.choose_batch(plan)
    rate = matmul_rate(space.lm.device, measure_s)
    flops = _flops(space.lm, plan.lengths, depth, with_scores)
    if isinstance(space, Surprisal) and not with_scores:  # the head at the places only
        flops += 2.0 * space.lm.tokenizer.vocab_size * layer_widths(space.lm)[-1] * float((plan.lasts - plan.firsts).sum())
    is_stream = len(plan.starts) == 1 and plan.lengths[0] > budget and space.lm.max_context is None
    return ExtractionPlan(
        n_words=len(transcript),
        n_tokens=len(story.tokens.ids),
        n_windows=plan.seen.size,
        n_passes=len(plan.starts),
        n_pass_tokens=int(plan.lengths.sum()),
        batch_tokens=budget,
        flops=flops,
        output_bytes=4 * plan.seen.size * width,
        memory_bytes=budget * space.bytes_per_token(),
        seconds=flops / (rate * (SHARE_STREAMING if is_stream else SHARE_OF_PEAK)),
        flops_per_second=rate,
    )


def matmul_rate(device: torch.device, seconds: float = 0.3) -> float:
    """Floating-point operations a second of a float32 product, the best of those that fit in `seconds`."""
    n = 1024 if device.type == "cpu" else 4096
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    with torch.inference_mode():
        while best == 0 or time.perf_counter() < end:
            begun = time.perf_counter()
            c = matmul(a, b)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = max(best, 2 * n**3 / (time.perf_counter() - begun))
            del c
    return best


def count_flops(lm: LanguageModel, n_tokens: int, layers: Sequence[int], *, scores: bool = False) -> float:
    """Floating-point operations of one pass, counted while it is made."""
    ids = torch.zeros(1, n_tokens, dtype=torch.int64, device=lm.device)
    attention, lstm = torch.ops.aten.scaled_dot_product_attention, torch.ops.aten.lstm
    formulas: dict[Any, Any] = {attention: _attention_flops, lstm: _lstm_flops}
    formulas[attention.default], formulas[lstm.input] = _attention_flops, _lstm_flops  # or they are taken apart uncounted
    with torch.inference_mode(), without_onednn(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        lm.step(ids, layers=list(layers), logits=scores)
    return float(counter.get_total_flops())


def _flops(lm: LanguageModel, lengths: np.ndarray, depth: int, scores: bool) -> float:
    """Of all passes: a part that grows with the tokens and, for attention, one with their square."""
    short, long = min(8, int(lengths.max())), min(16, int(lengths.max()))
    of_short, of_long = (count_flops(lm, n, [depth], scores=scores) for n in (short, long))
    square = max(0.0, (of_long / long - of_short / short) / (long - short)) if long > short else 0.0
    per_token = of_long / long - square * long
    total = lengths.astype(np.float64)
    return float(per_token * total.sum() + square * (total**2).sum())


def _attention_flops(q: Any, k: Any, v: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    heads = q[1]
    return int(sdpa_flop(q, (k[0], heads, *k[2:]), (v[0], heads, *v[2:])))


def _lstm_flops(x: Any, state: Any, weights: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Every weight matrix once per token."""
    return int(2 * x[0] * x[1] * sum(w[0] * w[1] for w in weights if len(w) == 2))


def _what_is_read(space: LMStates | Surprisal) -> tuple[int, bool, int]:
    """(deepest layer, whether the output head is computed for every token, columns of a row)."""
    if isinstance(space, Surprisal):
        return space.lm.n_layers, not isinstance(space.lm, Predicts), 2
    widths = layer_widths(space.lm)
    return max(space.layers), False, sum(widths[layer] for layer in space.layers)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
