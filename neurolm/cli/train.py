"""`neurolm train`: train a language model from a config, and the experiments on memory and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from neurolm.checks import InputError
from neurolm.cli.config import read_yaml
from neurolm.cli.main import app
from neurolm.cli.terminal import progress, say
from neurolm.cli.workflow import shipped

train = typer.Typer(help="Train language models; measure what they remember and how gradients vanish.", no_args_is_help=True)
app.add_typer(train, name="train")


@train.command(epilog="Example: neurolm train model configs/train/lstm-small.yaml --output models/lstm-small")
def model(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a training config that comes with neurolm.")],
    output: Annotated[Path, typer.Option(help="Folder for weights, checkpoints, log and card.")] = Path("models/new"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, with sizes.")] = False,
) -> None:
    """Train a model; after a kill the same command goes on and ends with the same bytes. Under torchrun, on several processes."""
    from neurolm.training.config import TrainConfig
    from neurolm.training.recipe import train as train_model

    path = find_training_config(config)
    values, _ = read_yaml(path)
    if seed is not None:
        values.setdefault("trainer", {})["seed"] = seed
    try:
        settings = TrainConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if dry_run:
        batches = settings.batches
        n_tokens = settings.trainer.n_steps * batches.batch_size * batches.length
        say(f"{settings.name}: {settings.model.kind} {dict(settings.model.settings)}")
        say(f"{settings.trainer.n_steps:,} steps x {batches.batch_size} x {batches.length} = {n_tokens:,} tokens -> {output}")
        return
    with progress("train") as report:
        trained = train_model(settings, output, report, device=device)
    if trained is not None:
        say(f"{trained.n_parameters:,} parameters; held-out perplexity {trained.test.per_word:.1f} a word -> {output}")


@train.command(epilog="Example: neurolm train recall --output figures")
def recall(
    output: Annotated[Path, typer.Option(help="Folder for the figure and the table.")] = Path("figures"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each model at each lag.")] = 800,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained.")] = False,
) -> None:
    """Who remembers Bilbo? Recall of a name after 5 to 90 other words: RNN, LSTM, MT-LSTM, transformer."""
    from neurolm.report.language_model_figures import attention_from_one, recall_by_lag
    from neurolm.training.recall import MODELS, NAMES, recall_at_lag

    lags = (5, 10, 14, 20, 50, 90)
    if dry_run:
        say(f"{len(MODELS)} models x {len(lags)} lags x {seeds} seeds, {steps} steps each -> {output}")
        return
    with progress("recall") as report:
        result = recall_at_lag(lags=lags, seeds=range(seeds), n_steps=steps, progress=report)
    chance, lags_run = 1 / len(NAMES), np.array(result.lags)
    curves = {name: accuracy.mean(1) for name, accuracy in zip(result.models, result.accuracy)}
    spread = {name: np.stack([a.min(1), a.max(1)]) for name, a in zip(result.models, result.accuracy)}
    recall_by_lag(lags_run, curves, chance=chance, interval=spread).save(output, "recall")
    if result.attention is not None:
        attention_from_one(result.attention, result.tokens).save(output, "recall_attention")
    say(f"{'words between':<22}" + "".join(f"{lag:>7}" for lag in result.lags))
    for name, accuracy in curves.items():
        say(f"{name:<22}" + "".join(f"{mean:7.2f}" for mean in accuracy))
    say(f"chance {chance:.2f}, {seeds} seeds -> {output / 'recall.svg'}")


def find_training_config(config: str) -> Path:
    """A path as it is, or a training config that comes with neurolm by its name."""
    path = Path(config)
    named = shipped("configs") / "train" / f"{config}.yaml"
    return named if not path.exists() and named.is_file() else path
