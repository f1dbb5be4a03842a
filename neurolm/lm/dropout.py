"""Dropout as recurrent language models need it (AWD-LSTM).

References
----------
Merity, Keskar & Socher (2018), Regularizing and optimizing LSTM language models, ICLR.
Gal & Ghahramani (2016), A theoretically grounded application of dropout in RNNs, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch.nn import functional as F

from neurolm.checks import bad


@dataclass(frozen=True)
class RecurrentDropout:
    """How much is dropped where, while training; 0 is nothing.

    embedding : whole words of the vocabulary
    inputs : features of the embedded text, the same at all times
    hidden : features between layers, the same at all times
    outputs : features of the last layer, the same at all times
    weights : recurrent weights, the same at all times
    """

    embedding: float = 0.0
    inputs: float = 0.0
    hidden: float = 0.0
    outputs: float = 0.0
    weights: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) < 1:
                raise bad(f"dropout of {field.name}", "lie in [0, 1)", getattr(self, field.name))


def locked_dropout(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    """Drop features of (B, T, D) with one mask for all times of a row."""
    if not training or p == 0:
        return x
    return x * _mask(x.new_empty(x.shape[0], 1, x.shape[2]), p)


def embed_with_dropout(ids: torch.Tensor, weight: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    """Look up ids (B, T) with whole words of the vocabulary dropped."""
    if training and p > 0:
        weight = weight * _mask(weight.new_empty(weight.shape[0], 1), p)
    return F.embedding(ids, weight)


def _mask(empty: torch.Tensor, p: float) -> torch.Tensor:
    """Zero with probability p, else 1 / (1 - p)."""
    return empty.bernoulli_(1 - p).div_(1 - p)
