"""What training makes small: a sum over targets, so that parts of a batch add up exactly.

Every objective reads a batch and a state and gives the sum of its losses; `count` says over how
many targets. The trainer divides by the count of the whole batch, whatever processes and
micro-batches it was cut into.

Letters: B rows, T tokens, V vocabulary, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.lm.language_model import LanguageModel, State
from neurolm.training.batches import IGNORED, Batch


@dataclass(frozen=True)
class Loss:
    """What an objective gives for one batch.

    total : scalar tensor to differentiate, a sum over targets, penalties included
    error : scalar tensor, the same sum without penalties: nats, or squared error
    state : the model's state after the batch, or None
    """

    total: torch.Tensor
    error: torch.Tensor
    state: State


class Objective(Protocol):
    """What the trainer needs to know of a task."""

    module: nn.Module  # whose parameters are trained

    def __call__(self, batch: Batch, state: State) -> Loss: ...

    def count(self, batch: Batch) -> int: ...


def module_of(lm: Any) -> nn.Module:
    """The nn.Module that holds a language model's weights: itself, or what an adapter wraps."""
    return lm if isinstance(lm, nn.Module) else lm.model


class NextToken:
    """Cross-entropy of the next token, in nats. Targets of IGNORED count for nothing, so the same
    objective trains on completions only.

    Parameters
    ----------
    lm : LanguageModel
    activation, temporal_activation : float
        AR and TAR of AWD-LSTM: penalties on the mean square of the last layer's states and of
        their change from token to token (Merity et al. 2018).
    """

    def __init__(self, lm: LanguageModel, *, activation: float = 0.0, temporal_activation: float = 0.0) -> None:
        self.lm, self.module = lm, module_of(lm)
        self.activation, self.temporal_activation = activation, temporal_activation

    def count(self, batch: Batch) -> int:
        return int((batch.targets != IGNORED).sum())

    def __call__(self, batch: Batch, state: State) -> Loss:
        penalised = self.activation > 0 or self.temporal_activation > 0
        output = self.lm.step(batch.inputs, state, [self.lm.n_layers] if penalised else [])
        error = summed_cross_entropy(output.logits, batch.targets)
        total = error
        if penalised:
            total = total + self.count(batch) * self._penalty(output.hidden[-1])
        return Loss(total, error.detach(), output.state)

    def _penalty(self, h: torch.Tensor | None) -> torch.Tensor:
        assert h is not None
        change = (h[:, 1:] - h[:, :-1]).square().mean() if h.shape[1] > 1 else h.new_zeros(())
        return self.activation * h.square().mean() + self.temporal_activation * change


def summed_cross_entropy(logits: torch.Tensor | None, targets: torch.Tensor) -> torch.Tensor:
    """Nats over all targets that count; logits (..., C), targets (...)."""
    assert logits is not None
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")
