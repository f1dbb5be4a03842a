"""What recurrent language models have in common: embeddings, a stack of layers, an output head.

A layer is a module `layer(x (B, T, I), state or None) -> (h (B, T, H), state)`; the equations are
in rnn.py, lstm.py and mt_lstm.py.

Letters: B batch, T tokens, V vocabulary, H width of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from neurolm.checks import bad
from neurolm.lm.dropout import RecurrentDropout, embed_with_dropout, locked_dropout
from neurolm.lm.language_model import LMOutput, State, check_layers, check_state_depth, hash_weights
from neurolm.lm.tokenizer import Tokenizer
from neurolm.products import Linear, linear


class RecurrentModel(nn.Module):
    """A `LanguageModel` around a stack of recurrent layers; use `RNN`, `LSTM` or `MultiTimescaleLSTM`."""

    max_context: int | None = None

    def __init__(
        self,
        tokenizer: Tokenizer,
        make_layer: Callable[[int, int, int], nn.Module],  # (index from 0, inputs, units)
        *,
        kind: str,
        width: int,
        n_layers: int,
        embedding_width: int | None,
        tied: bool,
        dropout: RecurrentDropout,
        seed: int,
        name: str,
        **settings: Any,
    ) -> None:
        super().__init__()
        if width < 1 or n_layers < 1:
            raise bad("width and n_layers", "be at least 1", f"{width} and {n_layers}")
        n_embedding = embedding_width or width
        self.name, self.tokenizer, self.n_layers, self.dropout = name, tokenizer, n_layers, dropout
        self.config: dict[str, Any] = {
            "kind": kind,
            "vocab_size": tokenizer.vocab_size,
            "width": width,
            "n_layers": n_layers,
            "embedding_width": n_embedding,
            "tied": tied,
            "dropout": asdict(dropout),
            **settings,
        }
        widths = [n_embedding, *[width] * (n_layers - 1), n_embedding if tied else width]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(tokenizer.vocab_size, n_embedding)
            self.layers = nn.ModuleList(make_layer(index, widths[index], widths[index + 1]) for index in range(n_layers))
            self.head = None if tied else Linear(width, tokenizer.vocab_size, bias=False)
            self.head_bias = nn.Parameter(torch.zeros(tokenizer.vocab_size))
            for matrix in (self.embedding, self.head):
                if matrix is not None:
                    nn.init.uniform_(matrix.weight, -0.1, 0.1)

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
        """See `LanguageModel.step`. State: one entry per layer that was computed."""
        wanted = check_layers(layers, self.n_layers)
        n_run = self.n_layers if logits else max(wanted, default=0)
        check_state_depth(state, n_run)
        x = self.embed(ids)
        hidden: list[torch.Tensor | None] = [x if 0 in wanted else None]
        after = []
        for index, layer in enumerate(self.layers[:n_run]):
            if index > 0:
                x = locked_dropout(x, self.dropout.hidden, self.training)
            x, last = layer(x, None if state is None else state[index])
            after.append(last)
            hidden.append(x if index + 1 in wanted else None)
        hidden += [None] * (self.n_layers - n_run)
        scores = self.predict(x) if logits else None
        return LMOutput(scores, tuple(hidden), tuple(after))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) ids -> (B, T, H), with dropout while training."""
        x = embed_with_dropout(ids, self.embedding.weight, self.dropout.embedding, self.training)
        return locked_dropout(x, self.dropout.inputs, self.training)

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `Predicts.predict`; with dropout while training, where the states are (B, T, H)."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return linear(locked_dropout(hidden, self.dropout.outputs, self.training), weight, self.head_bias)

    def weights_hash(self) -> str:
        return hash_weights(self.state_dict(), self.config)
