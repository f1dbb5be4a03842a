"""The long short-term memory, with its gates in the open.

    i, f, o = sigmoid(W x_t + b + U h_{t-1} + d)      input, forget and output gate
    g       = tanh   (W x_t + b + U h_{t-1} + d)      what could be written
    c_t     = f * c_{t-1} + i * g                     the cell keeps, and takes in
    h_t     = o * tanh(c_t)                           what the layer shows

The rows of W, U, b and d are in the order i, f, g, o, as in `torch.nn.LSTM`.

References
----------
Hochreiter & Schmidhuber (1997), Neural Computation 9:1735-1780. Gers, Schmidhuber & Cummins
(2000), Learning to forget, Neural Computation 12:2451-2471. Tallec & Ollivier (2018), Can
recurrent neural networks warp time?, ICLR (the timescale of a forget gate).

Letters: B batch, T time, I inputs, H width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.lm.dropout import RecurrentDropout
from neurolm.lm.language_model import State, check_state_depth
from neurolm.lm.recurrent import RecurrentModel
from neurolm.lm.tokenizer import Tokenizer
from neurolm.products import linear

HC = tuple[torch.Tensor, torch.Tensor]  # h and c, each (B, H)
Weights = Sequence[torch.Tensor]  # W, U, b, d


@dataclass(frozen=True)
class Gates:
    """All that one LSTM layer computed, each (B, T, H)."""

    i: torch.Tensor
    f: torch.Tensor
    g: torch.Tensor
    o: torch.Tensor
    c: torch.Tensor
    h: torch.Tensor

    def timescales(self) -> torch.Tensor:
        """(H,) tokens after which a unit keeps 1/e of its cell: -1 / ln of its mean forget gate."""
        return -1 / self.f.double().mean(dim=(0, 1)).log()


def lstm_gates(x: torch.Tensor, state: HC, weights: Weights) -> Gates:
    """The equations above, as they stand; x (B, T, I). Gradients flow through."""
    w, u, b, d = weights
    h, c = state
    steps = []
    for from_input in linear(x, w, b + d).unbind(1):  # the input's part for all times at once
        i, f, g, o = (from_input + h @ u.T).chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        h = o * c.tanh()
        steps.append((i, f, g, o, c, h))
    return Gates(*(torch.stack(part, dim=1) for part in zip(*steps)))


def lstm_fused(x: torch.Tensor, state: HC, weights: Weights) -> tuple[torch.Tensor, HC]:
    """The same through torch's kernel: h at all times (B, T, H), and (h, c) after."""
    h, c = state
    out, h_after, c_after = torch.lstm(x, (h[None], c[None]), list(weights), True, 1, 0.0, False, False, True)
    return out, (h_after[0], c_after[0])


def blank_state(x: torch.Tensor, width: int) -> HC:
    """h = c = 0 for every row of x."""
    return x.new_zeros(x.shape[0], width), x.new_zeros(x.shape[0], width)


class LSTMLayer(nn.Module):
    """One layer; its weights are those of `torch.nn.LSTM`.

    Parameters
    ----------
    n_inputs, width : int
    forget_bias : float, optional
        The initial bias of every forget gate; drawn at random like the others if not given.
    weight_dropout : float
        Dropout of the recurrent weights U while training.
    """

    def __init__(self, n_inputs: int, width: int, *, forget_bias: float | None = None, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.cell = nn.LSTM(n_inputs, width, batch_first=True)
        self.width, self.weight_dropout = width, weight_dropout
        if forget_bias is not None:
            with torch.no_grad():
                _, _, b, d = self.cell.all_weights[0]
                b[width : 2 * width], d[width : 2 * width] = forget_bias, 0.0

    def forward(self, x: torch.Tensor, state: HC | None = None) -> tuple[torch.Tensor, HC]:
        """x (B, T, I), (h, c) before or None -> h at all times (B, T, H), (h, c) after."""
        h, c = state or blank_state(x, self.width)
        if self.training and self.weight_dropout > 0:
            w, u, b, d = self.cell.all_weights[0]
            return lstm_fused(x, (h, c), (w, F.dropout(u, self.weight_dropout), b, d))
        out, (h_after, c_after) = self.cell(x, (h[None], c[None]))
        return out, (h_after[0], c_after[0])

    def inspect(self, x: torch.Tensor, state: HC | None = None) -> Gates:
        """The same, written out, with every gate at every time."""
        return lstm_gates(x, state or blank_state(x, self.width), self.cell.all_weights[0])


class LSTM(RecurrentModel):
    """A language model of LSTM layers. State: (h, c) of each layer, each (B, H).

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
    forget_bias : float, optional
        The initial bias of every forget gate.
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
        forget_bias: float | None = None,
        dropout: RecurrentDropout | None = None,
        seed: int = 0,
        name: str = "lstm",
    ) -> None:
        dropout = dropout or RecurrentDropout()
        super().__init__(
            tokenizer,
            lambda index, n_inputs, n_units: LSTMLayer(
                n_inputs, n_units, forget_bias=forget_bias, weight_dropout=dropout.weights
            ),
            kind="LSTM",
            width=width,
            n_layers=n_layers,
            embedding_width=embedding_width,
            tied=tied,
            dropout=dropout,
            seed=seed,
            name=name,
            forget_bias=forget_bias,
        )

    def gates(self, ids: torch.Tensor, state: State = None) -> tuple[Gates, ...]:
        """Every gate of every layer while reading ids (B, T); one entry per layer."""
        return trace_gates(self, ids, state)


def trace_gates(model: RecurrentModel, ids: torch.Tensor, state: State = None) -> tuple[Gates, ...]:
    """Read with the explicit equations, layer by layer; nothing is dropped."""
    check_state_depth(state, model.n_layers)
    x = F.embedding(ids, model.embedding.weight)
    traces = []
    for index, layer in enumerate(model.layers):
        trace: Gates = layer.inspect(x, None if state is None else state[index])  # type: ignore[operator]
        traces.append(trace)
        x = trace.h
    return tuple(traces)
