"""How long and how to train: the settings of a `Trainer`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from neurolm.checks import bad, check_seed
from neurolm.training.optim import OptimizerSettings


@dataclass(frozen=True)
class TrainerSettings:
    """How long and how to train.

    Parameters
    ----------
    n_steps : int
        Changes of the weights.
    optimizer : OptimizerSettings
    accumulate : int
        Parts that a batch is cut into, one after the other, to save memory; same result.
    clip : float or None
        Longest gradient (norm over all weights).
    precision : {"float32", "bf16"}
    compile : bool
        torch.compile; on GPUs only.
    validate_every, checkpoint_every, log_every : int
        In steps; 0 is never (a checkpoint and a log line are always written at the end).
    patience : int or None
        Stop after so many validations without a new best one.
    seed : int
        For dropout. The data have their own.
    """

    n_steps: int
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    accumulate: int = 1
    clip: float | None = 1.0
    precision: str = "float32"
    compile: bool = False
    validate_every: int = 0
    checkpoint_every: int = 0
    log_every: int = 50
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise bad("n_steps", "be at least 1", self.n_steps)
        check_seed("seed", self.seed)
        if self.patience is not None and self.patience < 1:
            raise bad("patience", "be at least 1, or null to train to the end", self.patience)
        if self.clip is not None and not self.clip > 0:
            raise bad("clip", "be above 0, or none for no clipping", self.clip)
        if min(self.validate_every, self.checkpoint_every, self.log_every) < 0:
            raise bad("validate_every, checkpoint_every and log_every", "be at least 0", "a negative one")

    def decisive(self) -> dict[str, Any]:
        """What may not change when a run goes on, because the weights depend on it."""
        free: dict[str, Any] = {"checkpoint_every": 0, "log_every": 0, "patience": None}
        if self.optimizer.schedule == "constant":
            free["n_steps"] = 1
        return json.loads(json.dumps(asdict(replace(self, **free))))
