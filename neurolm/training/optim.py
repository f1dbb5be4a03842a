"""Optimisers and learning rates: AdamW with decay groups, SGD, averaged SGD, warm-up and cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from neurolm.checks import bad, check_choice

KINDS = ("adamw", "sgd", "asgd")


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights are changed.

    Parameters
    ----------
    kind : {"adamw", "sgd", "asgd"}
        "asgd" is plain SGD whose weights are averaged from the moment at which the validation
        loss stops falling (NT-ASGD, Merity et al. 2018).
    lr : float
        The highest learning rate.
    warmup : int
        Steps over which it rises from lr / warmup to lr.
    schedule : {"constant", "cosine"}
        What follows the warm-up; cosine falls to `min_lr` at the last step.
    min_lr : float
    weight_decay : float
        AdamW: decoupled, on matrices and embeddings only, not on biases and norms. SGD: an L2
        penalty on every weight, as in AWD-LSTM.
    betas : pair of float
        AdamW's.
    momentum : float
        SGD's.
    patience : int
        "asgd": averaging starts when the loss is above the best of all but the last `patience`
        validations.
    """

    kind: str = "adamw"
    lr: float = 1e-3
    warmup: int = 0
    schedule: str = "constant"
    min_lr: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    momentum: float = 0.0
    patience: int = 5

    def __post_init__(self) -> None:
        check_choice("optimizer kind", self.kind, KINDS)
        check_choice("schedule", self.schedule, ("constant", "cosine"))
        object.__setattr__(self, "betas", tuple(self.betas))
        if not 0 < self.lr < math.inf:
            raise bad("lr", "be above 0 and finite", self.lr)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise bad("betas", "be two numbers in [0, 1)", self.betas)
        if not 0 <= self.momentum < math.inf or self.patience < 0:
            raise bad("momentum and patience", "be at least 0", (self.momentum, self.patience))
        if self.warmup < 0 or not 0 <= self.weight_decay < math.inf or not 0 <= self.min_lr <= self.lr:
            raise bad(
                "warmup, weight_decay and min_lr",
                "be at least 0, min_lr at most lr",
                (self.warmup, self.weight_decay, self.min_lr),
            )


def build_optimizer(module: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser for the parameters of `module` that are to be trained."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise bad("module", "have a parameter to train", "none that requires a gradient", "Unfreeze a part of it.")
    if settings.kind == "adamw":
        groups = decay_groups(parameters, settings.weight_decay)
        fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)
    return torch.optim.SGD(parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)


def decay_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Two groups: matrices and embeddings decay, vectors (biases, norms) do not."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def learning_rate(step: int, n_steps: int, settings: OptimizerSettings) -> float:
    """The learning rate of step `step` (0 is the first) of a run of `n_steps`."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.lr
    done = (step - settings.warmup) / max(1, n_steps - settings.warmup)  # 0 to 1
    return settings.min_lr + (settings.lr - settings.min_lr) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def should_average(losses: Sequence[float], patience: int) -> bool:
    """The NT-ASGD trigger: is the newest validation loss above the best of those long past?

    `losses` are all validation losses so far, the newest last.
    """
    *earlier, newest = losses
    return len(earlier) > patience and newest > min(earlier[: len(earlier) - patience])


class WeightAverage:
    """The running mean of a module's trainable weights since it was made: averaged SGD's result."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.n = 0
        self.means = {name: torch.zeros_like(p.detach()) for name, p in module.named_parameters() if p.requires_grad}

    def update(self) -> None:
        """Count the weights as they are now."""
        self.n += 1
        with torch.no_grad():
            for name, parameter in self._module.named_parameters():
                if name in self.means:
                    self.means[name].lerp_(parameter, 1 / self.n)

    def swap(self) -> None:
        """Exchange the module's weights and the means; twice is nothing at all."""
        with torch.no_grad():
            for name, parameter in self._module.named_parameters():
                if name in self.means:
                    kept = parameter.clone()
                    parameter.copy_(self.means[name])
                    self.means[name].copy_(kept)

    def restore(self, tensors: Mapping[str, torch.Tensor], n: int) -> None:
        """Go on from saved means."""
        self.n = n
        for name, mean in self.means.items():
            mean.copy_(tensors[name])
