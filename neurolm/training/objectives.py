"""What training makes small: a sum over targets, so that parts of a batch add up exactly.

Every objective reads a batch and a state and gives the sum of its losses; `count` says over how
many targets. The trainer divides by the count of the whole batch, whatever processes and
micro-batches it was cut into.

Letters: B rows, T tokens, V vocabulary, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.lm.heads import SequenceClassifier, TokenClassifier, module_of
from neurolm.lm.language_model import LanguageModel, State
from neurolm.lm.time_series import TimeSeriesModel
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


class TokenClasses:
    """Cross-entropy of a class for each token, in nats; IGNORED where a token has none."""

    def __init__(self, classifier: TokenClassifier) -> None:
        self.classifier = classifier
        self.module: nn.Module = classifier

    def count(self, batch: Batch) -> int:
        return int((batch.targets != IGNORED).sum())

    def __call__(self, batch: Batch, state: State) -> Loss:
        error = summed_cross_entropy(self.classifier(batch.inputs), batch.targets)
        return Loss(error, error.detach(), None)


class SequenceClasses:
    """Cross-entropy of one class for each row, in nats."""

    def __init__(self, classifier: SequenceClassifier) -> None:
        self.classifier = classifier
        self.module: nn.Module = classifier

    def count(self, batch: Batch) -> int:
        return len(batch.targets)

    def __call__(self, batch: Batch, state: State) -> Loss:
        error = summed_cross_entropy(self.classifier(batch.inputs, batch.lengths), batch.targets)
        return Loss(error, error.detach(), None)


class SquaredError:
    """Squared error of a continuous prediction, in units of the training data's variance.

    Parameters
    ----------
    model : TimeSeriesModel
        With its scale fitted.
    """

    def __init__(self, model: TimeSeriesModel) -> None:
        self.model = model
        self.module: nn.Module = model

    def count(self, batch: Batch) -> int:
        return batch.targets.numel()

    def __call__(self, batch: Batch, state: State) -> Loss:
        output = self.model.step(batch.inputs, state)
        error = ((output.prediction - batch.targets) / self.model.output_std).square().sum()
        return Loss(error, error.detach(), output.state)


def summed_cross_entropy(logits: torch.Tensor | None, targets: torch.Tensor) -> torch.Tensor:
    """Nats over all targets that count; logits (..., C), targets (...)."""
    assert logits is not None
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")
