"""Writing with a language model: greedy, sampling, beam search; token by token, state kept.

Logits are divided by the temperature, cut to the top k, then to the top p of what is left, and
renormalised; the best token always stays. Randomness comes from a generator of its own, so equal
seeds give equal texts whatever else draws numbers.

References
----------
Holtzman et al. (2020), The curious case of neural text degeneration, ICLR (top-p).

Letters: W beams, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from neurolm.checks import bad, check_seed
from neurolm.lm.language_model import LanguageModel, State, fit_to_tokenizer, reorder_state


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from logits; temperature 0 takes the best one."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise bad("temperature", "be at least 0", self.temperature, "0 is greedy, 1 the model's own distribution.")
        if self.top_k is not None and self.top_k < 1:
            raise bad("top_k", "be at least 1", self.top_k)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise bad("top_p", "lie in (0, 1]", self.top_p)


def generate(
    lm: LanguageModel,
    prompt: str,
    max_tokens: int = 100,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    beam_width: int | None = None,
    seed: int = 0,
    stop_at_eos: bool = True,
    special_tokens: bool = False,
    on_token: Callable[[str], None] | None = None,
) -> str:
    """Continue a text.

    Parameters
    ----------
    lm : LanguageModel
    prompt : str
        May be empty where the tokenizer has a beginning-of-text token. Models whose own tokenizer begins
        every text with that token (Llama, Gemma) read it first.
    max_tokens : int
    temperature, top_k, top_p
        Sampling; temperature 0 is greedy.
    beam_width : int, optional
        Search for the continuation with the highest probability instead of drawing one.
    seed : int
    stop_at_eos : bool
        End where the model ends its text.
    special_tokens : bool
        Read special tokens that are spelled in the prompt as such (a chat template's marks, for example);
        else they are the signs that they are written with.
    on_token : callable, optional
        Called with each piece of text as it is made; a beam search gives it all at the end. The
        pieces together are what is returned.

    Returns
    -------
    continuation : str
        Without the prompt.

    Examples
    --------
    >>> from neurolm.lm import load
    >>> text = generate(load("neurolm/lstm-small"), "once upon a", max_tokens=5, temperature=0)
    >>> text == generate(load("neurolm/lstm-small"), "once upon a", max_tokens=5, temperature=0)
    True
    """
    check_seed("seed", seed)
    if max_tokens < 0:
        raise bad("max_tokens", "be at least 0", max_tokens)
    ids = _read_prompt(lm, prompt, special_tokens)
    eos = lm.tokenizer.eos_id if stop_at_eos else None
    if beam_width is None:
        sampling = Sampling(temperature, top_k, top_p)
        stream = generate_ids(lm, ids, max_tokens, sampling=sampling, seed=seed, eos_id=eos)
    elif (temperature, top_k, top_p) != (1.0, None, None):
        raise bad("beam_width", "stand without temperature, top_k and top_p", beam_width, "A beam search draws nothing.")
    else:
        stream = iter(beam_search(lm, ids, max_tokens, beam_width, eos_id=eos)[0])
    written = _Writer(lm, ids, on_token)
    for token in stream:
        if token == eos:
            break
        written.add(token)
    return written.finish()


def generate_ids(
    lm: LanguageModel,
    ids: Sequence[int],
    max_tokens: int,
    *,
    sampling: Sampling = Sampling(),
    seed: int = 0,
    eos_id: int | None = None,
) -> Iterator[int]:
    """Token ids as they are made; `eos_id`, where it is made, is the last one.

    A model that is full (a transformer at its longest context) goes on from the last half of it.
    """
    generator = torch.Generator().manual_seed(seed)
    seen = _begin(lm, ids)
    state: State = None
    unread = list(seen)
    n_read = 0
    for _ in range(max_tokens):
        with torch.inference_mode():
            if lm.max_context is not None and n_read + len(unread) > lm.max_context:
                unread, state, n_read = seen[-max(1, lm.max_context // 2) :], None, 0
            out = lm.step(torch.tensor([unread], device=lm.device), state, [])
            assert out.logits is not None
            token = draw(fit_to_tokenizer(out.logits[0, -1], lm.tokenizer), sampling, generator)
        state, n_read = out.state, n_read + len(unread)
        seen.append(token)
        unread = [token]
        yield token
        if token == eos_id:
            return


def draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One token id from logits (V,)."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    kept, indices = restrict(logits.float().cpu(), sampling)
    return int(indices[torch.multinomial(kept, 1, generator=generator)])


def restrict(logits: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """The probabilities that sampling leaves, falling, and the ids they belong to.

    Temperature, then top-k, then top-p: the smallest set of best tokens whose probability
    (among the top k) reaches p. They sum to 1.
    """
    n_kept = min(sampling.top_k or len(logits), len(logits))
    temperature = max(sampling.temperature, torch.finfo(torch.float32).tiny)  # less is 0 in float32
    best, indices = ((logits - logits.max()) / temperature).topk(n_kept)
    probabilities = best.softmax(-1)
    if sampling.top_p is not None:
        before = probabilities.cumsum(-1) - probabilities  # what better tokens hold
        n_kept = max(1, int((before < sampling.top_p).sum()))
        probabilities, indices = probabilities[:n_kept], indices[:n_kept]
        probabilities = probabilities / probabilities.sum()
    return probabilities, indices


@torch.inference_mode()
def beam_search(
    lm: LanguageModel, ids: Sequence[int], max_tokens: int, beam_width: int, *, eos_id: int | None = None
) -> tuple[list[int], float]:
    """The continuation with the highest probability that a beam finds.

    A continuation that ends with `eos_id` is complete and competes with its own probability;
    nothing is corrected for length. `beam_width` of at least V^(max_tokens - 1) finds the true best one;
    width 1 is greedy.

    Returns
    -------
    ids : list of int
    log_probability : float
        Nats, of the whole continuation.
    """
    if beam_width < 1:
        raise bad("beam_width", "be at least 1", beam_width)
    start = _begin(lm, ids)
    if lm.max_context is not None and len(start) + max_tokens > lm.max_context + 1:
        raise bad("prompt and max_tokens", f"fit in the model's {lm.max_context} tokens", len(start) + max_tokens)
    unread = torch.tensor([start], device=lm.device)
    state: State = None
    beams: list[list[int]] = [[]]
    scores = torch.zeros(1, dtype=torch.float64)
    finished: list[tuple[float, list[int]]] = []
    for _ in range(max_tokens):
        out = lm.step(unread, state, [])
        assert out.logits is not None
        log_p = fit_to_tokenizer(out.logits[:, -1].double().log_softmax(-1).cpu(), lm.tokenizer)
        totals = scores[:, None] + log_p  # (W, V)
        top, flat = totals.flatten().topk(min(beam_width, totals.numel()))
        rows, tokens = flat // totals.shape[1], flat % totals.shape[1]
        finished += [(float(top[i]), [*beams[rows[i]], int(tokens[i])]) for i in range(len(top)) if tokens[i] == eos_id]
        going = tokens != eos_id if eos_id is not None else torch.ones_like(tokens, dtype=torch.bool)
        scores, rows, tokens = top[going], rows[going], tokens[going]
        beams = [[*beams[row], int(token)] for row, token in zip(rows, tokens)]
        if not beams or (finished and max(finished)[0] >= float(scores[0])):
            break  # no open beam can still win: probabilities only fall
        state = reorder_state(out.state, rows)
        unread = tokens[:, None].to(lm.device)
    score, best = max([*finished, *zip(scores.tolist(), beams)])
    return best, score


def _read_prompt(lm: LanguageModel, prompt: str, special_tokens: bool) -> list[int]:
    """Ids of a prompt, begun as the model's own tokenizer begins a text."""
    ids, bos = lm.tokenizer.encode(prompt, special_tokens=special_tokens), lm.tokenizer.bos_id
    return [bos, *ids] if lm.tokenizer.texts_begin_with_bos and bos is not None and ids[:1] != [bos] else ids


def _begin(lm: LanguageModel, ids: Sequence[int]) -> list[int]:
    """The prompt, or what stands before a text where there is none."""
    if ids:
        return [int(i) for i in ids]
    if lm.tokenizer.bos_id is None:
        raise bad("prompt", "hold a token, as this tokenizer has none that begins a text", "nothing")
    return [lm.tokenizer.bos_id]


class _Writer:
    """Turns token ids into text as they come; half a character waits for its other half."""

    def __init__(self, lm: LanguageModel, prompt: Sequence[int], on_token: Callable[[str], None] | None) -> None:
        self._decode = lm.tokenizer.decode
        self._ids = [int(i) for i in prompt]
        self._before = len(self._decode(self._ids))
        self._on_token = on_token
        self._n_shown = self._before

    def add(self, token: int) -> None:
        self._ids.append(token)
        if self._on_token is None:
            return
        text = self._decode(self._ids)
        whole = text.rstrip("\N{REPLACEMENT CHARACTER}")
        if len(whole) > self._n_shown:
            self._on_token(whole[self._n_shown :])
            self._n_shown = len(whole)

    def finish(self) -> str:
        text = self._decode(self._ids)
        if self._on_token is not None and len(text) > self._n_shown:
            self._on_token(text[self._n_shown :])
        return text[self._before :]
