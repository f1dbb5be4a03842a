"""Small networks on top of a language model: a class for each token, or one for a whole text.

Letters: B batch, T tokens, C classes, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.checks import bad, check_choice
from neurolm.lm.language_model import check_layers

POOLING = ("last", "mean")


def module_of(lm: Any) -> nn.Module:
    """The nn.Module that holds a language model's weights: itself, or what an adapter wraps."""
    return lm if isinstance(lm, nn.Module) else lm.model


class TokenClassifier(nn.Module):
    """A class for every token (part of speech); read the last token of each word.

    Parameters
    ----------
    lm : LanguageModel
        Its weights belong to this module: freeze those that are to stay.
    n_classes : int
    layer : int
        Hidden layer to read; -1 is the last.
    dropout : float
        Of the hidden states while training.
    seed : int
        Of the head's weights.
    """

    def __init__(self, lm: Any, n_classes: int, *, layer: int = -1, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self._lm = (lm,)  # in a tuple: an adapter is no module, and a module must not be registered twice
        self.trunk = module_of(lm)
        self.layer = check_layers([layer], lm.n_layers)[0]
        self.dropout = nn.Dropout(dropout)
        self.head = _make_head(lm, self.layer, n_classes, seed)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (B, T), padded on the right -> logits (B, T, C)."""
        return self.head(self.dropout(_hidden(self._lm[0], ids, self.layer)))


class SequenceClassifier(nn.Module):
    """One class for a whole text (sentiment).

    Parameters
    ----------
    lm, n_classes, layer, dropout, seed
        As in `TokenClassifier`.
    pooling : {"last", "mean"}
        The state after the last token, or the mean over all tokens.
    """

    def __init__(
        self, lm: Any, n_classes: int, *, layer: int = -1, pooling: str = "last", dropout: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        self._lm = (lm,)
        self.trunk = module_of(lm)
        self.layer = check_layers([layer], lm.n_layers)[0]
        self.pooling = check_choice("pooling", pooling, POOLING)
        self.dropout = nn.Dropout(dropout)
        self.head = _make_head(lm, self.layer, n_classes, seed)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """ids (B, T), padded on the right, and tokens of each row (B,) -> logits (B, C)."""
        if int(lengths.min()) < 1 or int(lengths.max()) > ids.shape[1]:
            raise bad("lengths", f"lie in 1..{ids.shape[1]}", f"{int(lengths.min())} to {int(lengths.max())}")
        h = _hidden(self._lm[0], ids, self.layer)  # (B, T, D)
        if self.pooling == "last":
            pooled = h[torch.arange(len(h), device=h.device), lengths.to(h.device) - 1]
        else:
            real = torch.arange(h.shape[1], device=h.device) < lengths.to(h.device)[:, None]  # (B, T)
            pooled = (h * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        pooled = F.layer_norm(pooled, pooled.shape[1:])  # means of many states are small: a head would learn slowly
        return self.head(self.dropout(pooled))


def _hidden(lm: Any, ids: torch.Tensor, layer: int) -> torch.Tensor:
    return lm.step(ids, None, [layer], logits=False).hidden[layer]


def _make_head(lm: Any, layer: int, n_classes: int, seed: int) -> nn.Linear:
    """A linear map of the layer's width, found by reading one token."""
    with torch.no_grad():
        width = _hidden(lm, torch.zeros(1, 1, dtype=torch.int64, device=lm.device), layer).shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(width, n_classes).to(lm.device)
