"""Back-propagation through time, in the open: how much of the gradient arrives from how far back.

    h_t = tanh(W x_t + b + U h_{t-1} + d)          d L / d U = sum over lags of lag terms

`bptt` is the algorithm written out for a vanilla layer, full or truncated; `gradient_norm_by_lag`
measures, in any language model, how the error at one token shrinks or grows on its way back.

References
----------
Werbos (1990), Backpropagation through time, Proc. IEEE 78:1550-1560. Williams & Peng (1990), An
efficient gradient-based algorithm for on-line training of recurrent network trajectories, Neural
Computation 2:490-501 (truncation). Bengio, Simard & Frasconi (1994), Learning long-term
dependencies with gradient descent is difficult, IEEE Trans. Neural Networks 5:157-166.

Letters: B batch, T time, I inputs, H width, K lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from neurolm.checks import bad
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.lstm import LSTM
from neurolm.lm.mt_lstm import MultiTimescaleLSTM
from neurolm.lm.rnn import RNN, RNNLayer
from neurolm.lm.transformer import Transformer
from neurolm.lm.word_tokenizer import WordTokenizer


@dataclass(frozen=True)
class BPTTGradients:
    """Gradients of a loss for the weights of a vanilla layer, lag by lag.

    w : (K, H, I), u : (K, H, H), b : (K, H); entry k is what errors bring that travelled back k
    steps. The gradient is the sum over lags. b and d share theirs.
    """

    w: torch.Tensor
    u: torch.Tensor
    b: torch.Tensor

    def total(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients for W (H, I), U (H, H) and b (H,), all lags together."""
        return self.w.sum(0), self.u.sum(0), self.b.sum(0)


def bptt(layer: RNNLayer, x: torch.Tensor, upstream: torch.Tensor, *, window: int | None = None) -> BPTTGradients:
    """Back-propagation through time by hand, from a blank state.

    Parameters
    ----------
    layer : RNNLayer
    x : (B, T, I)
        Inputs.
    upstream : (B, T, H)
        dL/dh_t as it arrives at each time from above, not through time.
    window : int, optional
        Truncated BPTT: each error travels back less than so many steps. Left out, to the start.

    Returns
    -------
    BPTTGradients
        With K = min(window, T) lags.
    """
    _, n_times, _ = x.shape
    n_lags = n_times if window is None else min(window, n_times)
    if n_lags < 1:
        raise bad("window", "be at least 1", window)
    w, u, _, _ = layer.cell.all_weights[0]
    with torch.no_grad():
        h = layer.inspect(x)  # (B, T, H)
        before = F.pad(h, (0, 0, 1, 0))[:, :-1]  # h_{t-1}
        terms = BPTTGradients(x.new_zeros(n_lags, *w.shape), x.new_zeros(n_lags, *u.shape), x.new_zeros(n_lags, len(u)))
        error = upstream
        for lag in range(n_lags):  # error[:, t] has come back to t from t + lag
            inside = error * (1 - h[:, : n_times - lag] ** 2)  # through tanh
            terms.w[lag] = torch.einsum("bth,bti->hi", inside, x[:, : n_times - lag])
            terms.u[lag] = torch.einsum("bth,btg->hg", inside, before[:, : n_times - lag])
            terms.b[lag] = inside.sum((0, 1))
            error = (inside @ u)[:, 1:]  # one step further back; what reaches the start is gone
    return terms


@dataclass(frozen=True)
class GradientByLag:
    """How large the error of one prediction is after travelling back in time.

    lags : (K,) tokens before the one that predicts
    norms : (K,) root mean square over rows of |dL / d input|
    """

    lags: np.ndarray
    norms: np.ndarray

    def decades_per_step(self, first: int = 5, last: int = 30) -> float:
        """Slope of log10 norm per token over lags first..last: below 0 it vanishes, above 0 it explodes.

        -inf where it has vanished altogether.
        """
        chosen = (self.lags >= first) & (self.lags <= last)
        if chosen.sum() < 2:
            raise bad("first and last", f"hold two of the lags 0..{int(self.lags.max())}", (first, last))
        if (self.norms[chosen] == 0).any():
            return -np.inf
        return float(np.polyfit(self.lags[chosen], np.log10(self.norms[chosen]), 1)[0])


def gradient_norm_by_lag(lm: LanguageModel, ids: torch.Tensor, *, layer: int = 0) -> GradientByLag:
    """Measure vanishing and exploding gradients.

    The loss is the cross-entropy of the last token of each row; what is measured is its gradient
    for the hidden states of `layer` at every earlier token (0: the embeddings), by how far back
    they lie. Weights and modes are left as they are: measure in evaluation mode to leave dropout out.

    Parameters
    ----------
    lm : LanguageModel
    ids : (B, T) int64
        Rows of at least 3 tokens; the last is only predicted.
    layer : int

    Returns
    -------
    GradientByLag
        For lags 0..T - 2.
    """
    if ids.ndim != 2 or ids.shape[1] < 3:
        raise bad("ids", "be (n_rows, n_tokens) with at least 3 tokens", tuple(ids.shape))
    ids = ids.to(lm.device)
    with torch.enable_grad():
        output = lm.step(ids[:, :-1], None, [layer])
        states = output.hidden[layer]
        if states is None or output.logits is None or not states.requires_grad:
            raise bad("lm", "keep gradients", lm.name, "Load it with trainable=True.")
        loss = F.cross_entropy(output.logits[:, -1], ids[:, -1], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, states)  # (B, T - 1, D)
    norms = gradient.double().square().sum(-1).mean(0).sqrt().flip(0)
    return GradientByLag(np.arange(len(norms)), norms.cpu().numpy())


def fresh_gradients(
    *, width: int = 128, n_tokens: int = 62, n_rows: int = 16, seeds: Sequence[int] = (0,)
) -> dict[str, list[GradientByLag]]:
    """`gradient_norm_by_lag` of every architecture before it has learned anything, on random words.

    One layer each (the transformer two), embeddings of unit variance; the MT-LSTM's timescales run from 50 to
    1,000 tokens.

    Returns
    -------
    dict of model name to one GradientByLag for each seed
    """
    tokenizer = WordTokenizer([f"w{i}" for i in range(48)])
    slow = [np.geomspace(50, 1000, width)]
    found: dict[str, list[GradientByLag]] = {}
    for seed in seeds:
        ids = torch.from_numpy(np.random.default_rng(seed).integers(0, tokenizer.vocab_size, (n_rows, n_tokens)))
        models: dict[str, Any] = {
            "RNN": RNN(tokenizer, width, 1, seed=seed),
            "LSTM": LSTM(tokenizer, width, 1, seed=seed),
            "LSTM, forget bias 1": LSTM(tokenizer, width, 1, forget_bias=1.0, seed=seed),
            "LSTM, forget bias 5": LSTM(tokenizer, width, 1, forget_bias=5.0, seed=seed),
            "MT-LSTM": MultiTimescaleLSTM(tokenizer, width, 1, timescales=slow, seed=seed),
            "transformer": Transformer(tokenizer, width, 2, 4, n_tokens, seed=seed),
        }
        for name, lm in models.items():
            with torch.no_grad():
                lm.embedding.weight.normal_(generator=torch.Generator().manual_seed(seed))
            found.setdefault(name, []).append(gradient_norm_by_lag(lm, ids))
    return found
