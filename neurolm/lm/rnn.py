"""The vanilla recurrent network: h_t = tanh(W x_t + b + U h_{t-1} + d).

References
----------
Elman (1990), Finding structure in time, Cognitive Science 14:179-211.

Letters: B batch, T time, I inputs, H width.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.lm.dropout import RecurrentDropout
from neurolm.lm.recurrent import RecurrentModel
from neurolm.lm.tokenizer import Tokenizer
from neurolm.products import linear


class RNNLayer(nn.Module):
    """One layer; its weights are those of `torch.nn.RNN`, whose kernel computes it.

    Parameters
    ----------
    n_inputs, width : int
    weight_dropout : float
        Dropout of the recurrent weights U while training.
    """

    def __init__(self, n_inputs: int, width: int, *, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.cell = nn.RNN(n_inputs, width, batch_first=True)
        self.width, self.weight_dropout = width, weight_dropout

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """x (B, T, I), h before (B, H) or None -> h at all times (B, T, H), h after (B, H)."""
        before = (x.new_zeros(x.shape[0], self.width) if state is None else state)[None]
        if self.training and self.weight_dropout > 0:
            w, u, b, d = self.cell.all_weights[0]
            weights = [w, F.dropout(u, self.weight_dropout), b, d]
            h, after = torch.rnn_tanh(x, before, weights, True, 1, 0.0, True, False, True)
        else:
            h, after = self.cell(x, before)
        return h, after[0]

    def inspect(self, x: torch.Tensor, state: torch.Tensor | None = None) -> torch.Tensor:
        """The same, written out: h at all times (B, T, H)."""
        w, u, b, d = self.cell.all_weights[0]
        h = x.new_zeros(x.shape[0], self.width) if state is None else state
        states = []
        for from_input in linear(x, w, b + d).unbind(1):  # the input's part for all times at once
            h = torch.tanh(from_input + h @ u.T)
            states.append(h)
        return torch.stack(states, dim=1)


class RNN(RecurrentModel):
    """A language model of vanilla recurrent layers. State: h (B, H) of each layer.

    Parameters
    ----------
    tokenizer : Tokenizer
    width : int
        Units in each layer; the last has `embedding_width` where weights are tied.
    n_layers : int
    embedding_width : int, optional
        `width` if not given.
    tied : bool
        The output weights are the embeddings (Press & Wolf 2017).
    dropout : RecurrentDropout
    seed : int
        Of the initial weights.
    name : str
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        width: int = 256,
        n_layers: int = 2,
        *,
        embedding_width: int | None = None,
        tied: bool = True,
        dropout: RecurrentDropout | None = None,
        seed: int = 0,
        name: str = "rnn",
    ) -> None:
        dropout = dropout or RecurrentDropout()
        super().__init__(
            tokenizer,
            lambda index, n_inputs, n_units: RNNLayer(n_inputs, n_units, weight_dropout=dropout.weights),
            kind="RNN",
            width=width,
            n_layers=n_layers,
            embedding_width=embedding_width,
            tied=tied,
            dropout=dropout,
            seed=seed,
            name=name,
        )
