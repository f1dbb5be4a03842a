"""A tiny language model whose every number is known: the double that tests use.

Layer l is a leaky average of the layer below, `h_l <- d_l h_l + (1 - d_l) tanh(W_l h_{l-1})`,
with the timescale -1/ln d_l given; embeddings are drawn from a hash of each token's text. So it
remembers exactly as long as it is set to, has state like the real models, and needs no training.

Letters: B batch, T tokens, V vocabulary, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from neurolm.checks import bad
from neurolm.lm.language_model import LMOutput, State, check_layers
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.storage import content_hash


class ToyModel:
    """A deterministic `LanguageModel` over any tokenizer.

    Parameters
    ----------
    tokenizer : Tokenizer
    timescales : sequence of float
        One per layer, in tokens: after t tokens a layer keeps e^(-t / timescale) of what it held.
    width : int
        Width of every layer.
    seed : int
    max_context : int or None
        What it claims to hold; a state that grew longer is an error, as with a transformer.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        timescales: Sequence[float] = (2.0, 8.0),
        *,
        width: int = 16,
        seed: int = 0,
        max_context: int | None = None,
    ) -> None:
        self.name = "toy"
        self.tokenizer = tokenizer
        self.n_layers = len(timescales)
        self.max_context = max_context
        self.decays = [math.exp(-1 / timescale) for timescale in timescales]
        rng = np.random.default_rng(seed)
        self.embeddings = torch.from_numpy(_embed_by_text(tokenizer, width, seed))  # (V, D)
        mixing = rng.normal(scale=1.5 / math.sqrt(width), size=(self.n_layers, width, width))
        self.mixing = torch.from_numpy(mixing.astype(np.float32))  # (L, D, D)

    @classmethod
    def for_words(cls, words: Iterable[str], timescales: Sequence[float] = (2.0, 8.0), **settings: int) -> ToyModel:
        """A toy whose vocabulary is these words (and <unk>, <eos>)."""
        return cls(WordTokenizer.from_words(words), timescales, **settings)

    @property
    def device(self) -> torch.device:
        return self.embeddings.device

    def step(
        self,
        ids: torch.Tensor,
        state: State = None,
        layers: Sequence[int] | None = None,
        *,
        logits: bool = True,
    ) -> LMOutput:
        """See `LanguageModel.step`. State: (tokens read (B,), one (B, D) per layer)."""
        wanted = check_layers(layers, self.n_layers)
        n_run = self.n_layers if logits else max(wanted, default=0)
        seen, memory = state if state is not None else self._blank(ids.shape[0])
        if self.max_context is not None and int(seen.max()) + ids.shape[1] > self.max_context:
            raise bad("ids", f"fit in {self.max_context} tokens with what was read", int(seen.max()) + ids.shape[1])
        below = self.embeddings[ids]  # (B, T, D)
        hidden: list[torch.Tensor | None] = [below if 0 in wanted else None]
        after = []
        for layer in range(self.n_layers):
            if layer < n_run:
                below, last = self._leak(below, memory[layer], layer)
                after.append(last)
            hidden.append(below if layer + 1 in wanted else None)
        scores = below @ self.embeddings.T if logits else None  # (B, T, V)
        return LMOutput(scores, tuple(hidden), (seen + ids.shape[1], tuple(after)))

    def weights_hash(self) -> str:
        return content_hash(self.embeddings, self.mixing, self.decays)

    def _blank(self, n_rows: int) -> State:
        width = self.embeddings.shape[1]
        seen = torch.zeros(n_rows, dtype=torch.int64, device=self.device)
        return seen, tuple(torch.zeros(n_rows, width, device=self.device) for _ in range(self.n_layers))

    def _leak(self, below: torch.Tensor, h: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        decay = self.decays[layer]
        states = []
        for x in torch.tanh(below @ self.mixing[layer]).unbind(1):
            h = decay * h + (1 - decay) * x
            states.append(h)
        return torch.stack(states, dim=1), h


def _embed_by_text(tokenizer: Tokenizer, width: int, seed: int) -> np.ndarray:
    """(V, width) float32: the same text has the same vector in every vocabulary."""
    rows = []
    for token in range(tokenizer.vocab_size):
        rng = np.random.default_rng(int(content_hash(tokenizer.decode([token]), seed)[:16], 16))
        rows.append(rng.normal(size=width))
    return np.array(rows, dtype=np.float32)
