"""A checked training as a workflow of one step, so that `neurolm run` and a cluster carry it out too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neurolm.cli.analysis_folder import own_folder
from neurolm.cli.kinds import TRAINING_CONFIG
from neurolm.cli.plan import write_if_new, write_workflow
from neurolm.cli.stages import Stage
from neurolm.cli.train import read_train_config

if TYPE_CHECKING:
    from neurolm.training.config import TrainConfig

THREADS = 2  # of a training: its bytes are the same at the same number


@dataclass(frozen=True)
class Machine:
    """How a training runs; what it trains is in the config alone."""

    device: str = "auto"
    threads: int = THREADS


@dataclass(frozen=True)
class TrainingPlan:
    """What `neurolm run` carries out for a training: `Plan`, for a language model."""

    config: TrainConfig
    output: Path
    machine: Machine
    workflow: str = "training"

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "README.md"

    def stages(self) -> list[Stage]:
        """The training: its config and its text decide."""
        from neurolm.training.corpus import corpus_files

        batches, model, corpus = self.config.batches, self.config.model, self.config.corpus
        n_tokens = self.config.trainer.n_steps * batches.batch_size * batches.length
        patterns = (*corpus.files, *corpus.validation_files, *corpus.test_files)
        return [
            Stage(
                name="train",
                rule="train",
                folder=self.output,
                makes=("report.json", "model.safetensors", "config.json", "tokenizer.json"),
                what=f"{model.kind} {dict(model.settings)}, {n_tokens:,} tokens",
                settings=self.config.to_dict(),
                inputs=lambda: {str(path): path for path in corpus_files(patterns)},
            )
        ]

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        return [(stage.rule, stage.makes[0], stage.what) for stage in self.stages()]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / TRAINING_CONFIG, self.config.to_dict())
        write_workflow(self.output, self.machine)


def make_training_plan(
    path: Path, *, output: Path | None = None, device: str | None = None, seed: int | None = None
) -> TrainingPlan:
    """Read the config of a training and settle where its model goes: models/<name> by default."""
    config = read_train_config(path, seed=seed)
    folder = own_folder(Path(output or Path("models") / config.name).resolve(), "training")
    return TrainingPlan(config, folder, Machine(device or "auto"))
