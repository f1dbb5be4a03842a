"""A window of the last n tokens through a feed-forward network: memory of a fixed length.

The baseline that recurrent models are compared with: it sees exactly n tokens and nothing before.

References
----------
Bengio, Ducharme, Vincent & Jauvin (2003), A neural probabilistic language model, JMLR 3:1137-1155.

Letters: B batch, T tokens, V vocabulary, E embedding width, H width of a layer, n window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from neurolm.checks import bad
from neurolm.lm.language_model import LMOutput, State, check_layers, hash_weights
from neurolm.lm.tokenizer import Tokenizer
from neurolm.products import Linear, linear


class FeedForward(nn.Module):
    """A feed-forward language model. State: the last n - 1 tokens (B, n - 1), 1 more than their ids; 0 is no token.

    Parameters
    ----------
    tokenizer : Tokenizer
    width : int
        Of the embeddings and of each layer.
    n_layers : int
        Layers above the embeddings; the first one reads the whole window.
    window : int
        Tokens that a prediction sees, the current one included.
    dropout : float
        Of each layer while training.
    seed : int
        Of the initial weights.
    name : str
    """

    max_context: int | None = None

    def __init__(
        self,
        tokenizer: Tokenizer,
        width: int = 256,
        n_layers: int = 2,
        window: int = 5,
        *,
        dropout: float = 0.0,
        seed: int = 0,
        name: str = "feed-forward",
    ) -> None:
        super().__init__()
        if min(width, n_layers, window) < 1:
            raise bad("width, n_layers and window", "be at least 1", (width, n_layers, window))
        if not 0 <= dropout < 1:
            raise bad("dropout", "lie in [0, 1)", dropout)
        self.name, self.tokenizer, self.n_layers, self.window = name, tokenizer, n_layers, window
        self.config: dict[str, Any] = {
            "kind": "FeedForward",
            "vocab_size": tokenizer.vocab_size,
            "width": width,
            "n_layers": n_layers,
            "window": window,
            "dropout": dropout,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(tokenizer.vocab_size + 1, width, padding_idx=0)  # row 0: no token
            inputs = [window * width, *[width] * (n_layers - 1)]
            self.layers = nn.ModuleList(Linear(n_inputs, width) for n_inputs in inputs)
            self.dropout = nn.Dropout(dropout)
            self.head_bias = nn.Parameter(torch.zeros(tokenizer.vocab_size))
            with torch.no_grad():
                self.embedding.weight[1:].uniform_(-0.1, 0.1)

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def step(
        self,
        ids: torch.Tensor,
        state: State = None,
        layers: Sequence[int] | None = None,
        *,
        logits: bool = True,
    ) -> LMOutput:
        """See `LanguageModel.step`."""
        wanted = check_layers(layers, self.n_layers)
        n_run = self.n_layers if logits else max(wanted, default=0)
        before = ids.new_zeros(ids.shape[0], self.window - 1) if state is None else state
        tokens = torch.cat([before, ids + 1], dim=1)  # (B, n - 1 + T)
        embedded = self.embedding(tokens)  # (B, n - 1 + T, E)
        hidden: list[torch.Tensor | None] = [embedded[:, self.window - 1 :] if 0 in wanted else None]
        x = embedded.unfold(1, self.window, 1).flatten(2)  # (B, T, E * n)
        for index in range(n_run):
            x = torch.tanh(self.layers[index](x))
            hidden.append(x if index + 1 in wanted else None)
            x = self.dropout(x)
        hidden += [None] * (self.n_layers - n_run)
        scores = self.predict(x) if logits else None
        return LMOutput(scores, tuple(hidden), tokens[:, ids.shape[1] :])

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `Predicts.predict`."""
        return linear(hidden, self.embedding.weight[1:], self.head_bias)

    def weights_hash(self) -> str:
        return hash_weights(self.state_dict(), self.config)
