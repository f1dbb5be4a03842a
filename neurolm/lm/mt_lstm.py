"""The multi-timescale LSTM: each unit is born to forget at a pace of its own.

A cell that is only kept decays as f^t, so a unit with the forget gate f = e^(-1/T) has the
timescale T (in tokens). The gate's bias is set to that and stays, b_f = -ln(e^(1/T) - 1), and
the input gate's to b_i = -b_f, so that a slow unit also takes in slowly. Language forgets as a power law,
which is a mixture of such exponentials with inverse-gamma timescales: the bank of layer 2.

References
----------
Mahto, Vo, Turek & Huth (2021), Multi-timescale representation learning in LSTM language models,
ICLR. Vo, Jain, Beckage et al. (2023), A unifying computational account of temporal context
effects in language across the human cortex.

Letters: B batch, T time, I inputs, H width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neurolm.checks import bad
from neurolm.lm.dropout import RecurrentDropout
from neurolm.lm.language_model import State
from neurolm.lm.lstm import HC, Gates, LSTMLayer, Weights, blank_state, lstm_fused, lstm_gates, trace_gates
from neurolm.lm.recurrent import RecurrentModel
from neurolm.lm.tokenizer import Tokenizer

SHORTEST = 0.2  # tokens; below that a bias would grow without bound


def forget_bias_of(timescales: torch.Tensor) -> torch.Tensor:
    """b_f = -ln(e^(1/T) - 1), for which sigmoid(b_f) = e^(-1/T)."""
    return -torch.log(torch.expm1(1 / timescales.double())).to(timescales.dtype)


def inverse_gamma_timescales(n_units: int, *, alpha: float = 0.56, scale: float = 1.0, longest: float) -> np.ndarray:
    """Timescales at evenly spaced quantiles of an inverse gamma, within [0.2, longest]; (n_units,) tokens, rising.

    The quantiles 0 and 1 are left out: they would be timescales of 0 and infinity.
    """
    from scipy.stats import invgamma

    quantiles = np.linspace(0, 1, n_units + 2)[1:-1]
    return np.clip(invgamma.ppf(quantiles, alpha, scale=scale), SHORTEST, longest)


def published_timescales(width: int, n_layers: int, *, last_width: int | None = None, longest: float) -> list[np.ndarray | None]:
    """The published scheme: layer 1 half 3 and half 4 tokens, layer 2 the bank, the layers above are free."""
    widths = [*[width] * (n_layers - 1), last_width or width]
    first = np.where(np.arange(widths[0]) < widths[0] // 2, 3.0, 4.0)
    second = [inverse_gamma_timescales(widths[1], longest=longest)] if n_layers > 1 else []
    free: list[np.ndarray | None] = [None] * max(0, n_layers - 2)
    return [first, *second, *free]


class TimescaleLSTMLayer(nn.Module):
    """An LSTM layer whose input and forget biases are set by timescales and never trained.

    Only those biases are fixed (they are buffers, so neither gradients nor weight decay can reach
    them); the biases of g and o are free.

    Parameters
    ----------
    n_inputs : int
    timescales : (H,) float
        In tokens, at least 0.2.
    weight_dropout : float
        Dropout of the recurrent weights U while training.
    """

    timescales: torch.Tensor
    fixed_bias: torch.Tensor
    no_bias: torch.Tensor

    def __init__(self, n_inputs: int, timescales: np.ndarray | Sequence[float], *, weight_dropout: float = 0.0) -> None:
        super().__init__()
        kept = torch.as_tensor(np.asarray(timescales), dtype=torch.float32)
        if not bool(((kept >= SHORTEST) & kept.isfinite()).all()):
            raise bad("timescales", f"be finite and at least {SHORTEST} tokens", f"{float(kept.min())} to {float(kept.max())}")
        self.width, self.weight_dropout = len(kept), weight_dropout
        bound = self.width**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * self.width, n_inputs).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(4 * self.width, self.width).uniform_(-bound, bound))
        self.free_bias = nn.Parameter(torch.empty(2 * self.width).uniform_(-bound, bound))  # of g and o
        b_f = forget_bias_of(kept)
        self.register_buffer("timescales", kept)
        self.register_buffer("fixed_bias", torch.cat([-b_f, b_f]))  # of i and f
        self.register_buffer("no_bias", torch.zeros(4 * self.width), persistent=False)

    def forward(self, x: torch.Tensor, state: HC | None = None) -> tuple[torch.Tensor, HC]:
        """x (B, T, I), (h, c) before or None -> h at all times (B, T, H), (h, c) after."""
        w, u, b, d = self._weights()
        u = F.dropout(u, self.weight_dropout, self.training)
        return lstm_fused(x, state or blank_state(x, self.width), (w, u, b, d))

    def inspect(self, x: torch.Tensor, state: HC | None = None) -> Gates:
        """The same, written out, with every gate at every time."""
        return lstm_gates(x, state or blank_state(x, self.width), self._weights())

    def _weights(self) -> Weights:
        return self.weight_ih, self.weight_hh, torch.cat([self.fixed_bias, self.free_bias]), self.no_bias


class MultiTimescaleLSTM(RecurrentModel):
    """A language model of LSTM layers with timescales. State: (h, c) of each layer, each (B, H).

    Parameters
    ----------
    tokenizer : Tokenizer
    width : int
        Units in each layer; the last has `embedding_width` where weights are tied.
    n_layers : int
    timescales : one entry per layer, optional
        (H,) tokens, or None for a layer that is free (an ordinary LSTM layer). The published
        scheme if not given.
    longest : float
        The longest timescale of the published scheme's bank, in tokens.
    embedding_width, tied, dropout, seed, name
        As in `LSTM`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        width: int = 256,
        n_layers: int = 3,
        *,
        timescales: Sequence[Sequence[float] | np.ndarray | None] | None = None,
        longest: float = 1000.0,
        embedding_width: int | None = None,
        tied: bool = True,
        dropout: RecurrentDropout | None = None,
        seed: int = 0,
        name: str = "mt-lstm",
    ) -> None:
        dropout = dropout or RecurrentDropout()
        last = (embedding_width or width) if tied else width
        scheme = published_timescales(width, n_layers, last_width=last, longest=longest) if timescales is None else timescales
        if len(scheme) != n_layers:
            raise bad("timescales", f"have one entry for each of the {n_layers} layers", len(scheme))

        def make_layer(index: int, n_inputs: int, n_units: int) -> nn.Module:
            given = scheme[index]
            if given is None:
                return LSTMLayer(n_inputs, n_units, weight_dropout=dropout.weights)
            if len(given) != n_units:
                raise bad(f"timescales of layer {index + 1}", f"have one entry for each of its {n_units} units", len(given))
            return TimescaleLSTMLayer(n_inputs, given, weight_dropout=dropout.weights)

        super().__init__(
            tokenizer,
            make_layer,
            kind="MultiTimescaleLSTM",
            width=width,
            n_layers=n_layers,
            embedding_width=embedding_width,
            tied=tied,
            dropout=dropout,
            seed=seed,
            name=name,
            timescales=[None if given is None else np.asarray(given).tolist() for given in scheme],
        )

    def gates(self, ids: torch.Tensor, state: State = None) -> tuple[Gates, ...]:
        """Every gate of every layer while reading ids (B, T); one entry per layer."""
        return trace_gates(self, ids, state)
