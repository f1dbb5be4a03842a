"""Training of a language model: its config, and the plan with one stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neurolm.checks import InputError
from neurolm.progress import progress, say
from neurolm.workflows.config import Source, read_values
from neurolm.workflows.engine import shipped
from neurolm.workflows.output_folder import own_folder, write_if_new, write_workflow
from neurolm.workflows.stages import Stage

if TYPE_CHECKING:
    from neurolm.training.config import TrainConfig

TRAINING_CONFIG = Path(".neurolm") / "training.json"  # a model's own config.json has its place in the folder
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
                function=partial(train, self),
                estimate=self.estimate,
            )
        ]

    def estimate(self) -> Iterator[str]:
        """Model and number of tokens, for a dry run."""
        config, batches = self.config, self.config.batches
        n_tokens = config.trainer.n_steps * batches.batch_size * batches.length
        yield f"{config.name}: {config.model.kind} {dict(config.model.settings)}"
        steps = f"{config.trainer.n_steps:,} steps x {batches.batch_size} x {batches.length}"
        yield f"{steps} = {n_tokens:,} tokens -> {self.output}"

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / TRAINING_CONFIG, self.config.to_dict())
        write_workflow(self.output, self.machine)


def make_training_plan(
    source: Source, *, output: str | Path | None = None, device: str | None = None, seed: int | None = None
) -> TrainingPlan:
    """Read the config of a training and settle where its model goes: models/<name> by default."""
    config = read_train_config(source, seed=seed)
    folder = own_folder(Path(output or Path("models") / config.name).resolve(), "training")
    return TrainingPlan(config, folder, Machine(device or "auto"))


def train(plan: TrainingPlan, *, give_up: bool = False) -> None:
    """Train the model of a plan, on several processes under torchrun; the first of them says what was measured."""
    from neurolm.training.recipe import train as train_model

    with progress("train") as report:
        trained = train_model(plan.config, plan.output, report, device=plan.machine.device, give_up=give_up)
    if trained is not None:
        say(f"{trained.n_parameters:,} parameters; held-out perplexity {trained.test.per_word:.1f} a word -> {plan.output}")


def read_train_config(source: Source, *, seed: int | None = None) -> TrainConfig:
    """Read and check the config of a training; errors name the file."""
    from neurolm.training.config import TrainConfig

    values, _, path = read_values(source if isinstance(source, Mapping) else find_training_config(source))
    values = {**values, "trainer": dict(values.get("trainer", {}))} if seed is not None else values
    for name in ("version", "analysis"):  # what every config may say
        values.pop(name, None)
    if seed is not None:
        values.setdefault("trainer", {})["seed"] = seed
    try:
        return TrainConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def find_training_config(config: str | Path) -> Path:
    """A path as it is, or a training config that comes with neurolm by its name."""
    path = Path(config)
    named = shipped("configs") / "train" / f"{config}.yaml"
    return named if not path.exists() and named.is_file() else path
