"""`neurolm train` and `generate`: language models from a config, experiments on memory and gradients, and text from a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from neurolm import workflows
from neurolm.checks import check_choice
from neurolm.cli.app import app
from neurolm.progress import progress, say

train = typer.Typer(help="Train language models; measure what they remember and how gradients vanish.", no_args_is_help=True)
app.add_typer(train, name="train")


@train.command(epilog="Example: neurolm train model configs/train/lstm-small.yaml --output models/lstm-small")
def model(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a training config that comes with neurolm.")],
    output: Annotated[Path, typer.Option(help="Folder for weights, checkpoints, log and card.")] = Path("models/new"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")] = None,
    give_up: Annotated[bool, typer.Option("--give-up", help="Train no further: save the best weights so far.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check texts and settings; say what would be trained, with sizes.")
    ] = False,
) -> None:
    """Train a model; after a kill the same command goes on and ends with the same bytes. Under torchrun, on several processes."""
    workflows.train(config, output=output, device=device, seed=seed, give_up=give_up, dry_run=dry_run)


@train.command(epilog="Example: neurolm train recall --output figures")
def recall(
    output: Annotated[Path, typer.Option(help="Folder for the figure and the table.")] = Path("figures"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each model at each lag.")] = 800,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained.")] = False,
) -> None:
    """Who remembers Bilbo? Recall of a name after 5 to 90 other words: RNN, LSTM, MT-LSTM, transformer."""
    from neurolm.report.language_model_figures import attention_from_one, recall_by_lag
    from neurolm.training.experiments.recall import MODELS, NAMES, recall_at_lag

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


@train.command(epilog="Example: neurolm train gradients --output figures")
def gradients(
    output: Annotated[Path, typer.Option(help="Folder for the figure and its table.")] = Path("figures"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    width: Annotated[int, typer.Option(min=4, help="Units of each model.")] = 128,
    tokens: Annotated[int, typer.Option(min=32, help="Words in a row.")] = 62,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be measured.")] = False,
) -> None:
    """How gradients vanish or explode on their way back: RNN, LSTMs, MT-LSTM and transformer before training."""
    from neurolm.report.language_model_figures import gradient_norm_by_lag as draw
    from neurolm.training.experiments.gradients import fresh_gradients

    if dry_run:
        say(f"6 models of {width} units x {seeds} seeds, rows of {tokens} words -> {output}")
        return
    found = fresh_gradients(width=width, n_tokens=tokens, seeds=range(seeds))
    norms = {name: np.exp(np.mean([np.log(np.maximum(g.norms, 1e-300)) for g in each], 0)) for name, each in found.items()}
    draw(next(iter(found.values()))[0].lags, norms).save(output, "gradients")
    say(f"{'log10 of the gradient, per step back (lags 5 to 30)':<54}{'mean':>8}{'lowest':>8}{'highest':>8}")
    for name, each in found.items():
        slopes = [one.decades_per_step() for one in each]
        say(f"{name:<54}{np.mean(slopes):8.3f}{min(slopes):8.3f}{max(slopes):8.3f}")
    say(f"{seeds} seeds -> {output / 'gradients.svg'}")


@train.command(epilog="Example: neurolm train forecast --series sunspots --seeds 3")
def forecast(
    series: Annotated[str, typer.Option(help="sunspots (yearly, from statsmodels) or ar2 (noise floor 1).")] = "sunspots",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds for each network.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = 300,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fitted.")] = False,
) -> None:
    """Forecast a series: networks beside persistence and AR(p), one step ahead and running freely."""
    from neurolm.training.experiments.forecast_study import NETWORKS, ar2_series, forecast_study, sunspots

    known = {"sunspots": (sunspots, 40, 59, 1), "ar2": (ar2_series, 500, 1000, 16)}
    make, n_validation, n_test, batch_size = known[check_choice("series", series, known)]
    if dry_run:
        say(f"{series}: persistence, AR(2), AR(9) and {len(NETWORKS)} networks x {seeds} seeds, {steps} steps each")
        return
    with progress("forecast") as report:
        rows = forecast_study(
            make(), n_validation, n_test, seeds=range(seeds), n_steps=steps, batch_size=batch_size, progress=report
        )
    say(f"{series}: mean squared error of the last {n_test} values, {seeds} seeds")
    say(f"{'':<22}{'1 step':>10}{'lowest':>10}{'highest':>10}{'free, 2':>10}{'free, 5':>10}{'free, 10':>10}")
    for row in rows:
        ahead = "".join(f"{row.running[k - 1]:10.2f}" for k in (2, 5, 10))
        say(f"{row.name:<22}{row.one_step.mean():10.2f}{row.one_step.min():10.2f}{row.one_step.max():10.2f}{ahead}")


@train.command(epilog="Example: neurolm train transfer neurolm/lstm-small parts-of-speech --corpora $NEUROLM_DATA/corpora")
def transfer(
    model: Annotated[str, typer.Argument(help="neurolm/lstm-small ..., a folder, or a model of transformers.")],
    task: Annotated[str, typer.Argument(help="parts-of-speech (MASC) or sentiment (movie reviews).")],
    corpora: Annotated[Path, typer.Option(help="Folder with masc_tagged.zip and movie_reviews.zip of NLTK.")],
    seeds: Annotated[int, typer.Option(min=2, help="How many seeds.")] = 5,
    documents: Annotated[tuple[int, int], typer.Option(help="Training and test documents.")] = (40, 30),
    validation: Annotated[int, typer.Option(min=0, help="Documents on which learning rates are chosen.")] = 0,
    lr: Annotated[list[float] | None, typer.Option(help="Learning rate, 0.001 by default; give several to choose.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 150,
    max_tokens: Annotated[int, typer.Option(min=2, help="Longest example.")] = 128,
    how: Annotated[str, typer.Option(help="full, head or lora.")] = "full",
    remember: Annotated[
        Path | None, typer.Option(help="A text file, read as speech: how much worse is it predicted afterwards?")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained.")] = False,
) -> None:
    """Fine-tune pretrained and fresh weights with the same data, steps and seeds, and compare.

    Of several learning rates each of the two gets its best on the validation documents.
    """
    from neurolm.lm import load
    from neurolm.training.corpus import read_documents
    from neurolm.training.experiments.transfer_study import ARCHIVES, transfer_study

    check_choice("task", task, ARCHIVES)
    lrs = tuple(lr or [1e-3])
    if dry_run:
        n_runs = f"2 x {seeds} runs" if len(lrs) == 1 else f"2 x {len(lrs)} learning rates x {seeds} runs"
        say(f"{model}, {task}: {n_runs} of {steps} steps, {documents[0]} documents to learn, {documents[1]} to test")
        return
    text = None if remember is None else read_documents([str(remember)], form="spoken")
    with progress("transfer") as report:
        study = transfer_study(
            load(model, device=device), task, corpora, n_train=documents[0], n_test=documents[1], n_validation=validation,
            seeds=range(seeds), lr=lrs, remember=text, progress=report, how=how, n_steps=steps, max_tokens=max_tokens,
        )  # fmt: skip
    gain, (low, high) = study.gain, study.gain.interval()
    say(f"{task}: {study.n_train:,} examples to learn from, {study.n_test:,} to test, {seeds} seeds, {steps} steps, {how}")
    say(f"commonest class  {study.baseline:.3f}")
    for name, accuracy, rate in (("from scratch", gain.scratch, gain.lrs[1]), ("pretrained", gain.pretrained, gain.lrs[0])):
        say(f"{name:<15}  {accuracy.mean():.3f}   {accuracy.min():.3f} to {accuracy.max():.3f}   learning rate {rate:g}")
    say(f"gain             {gain.gain:.3f}   95 % interval {low:.3f} to {high:.3f}")
    if gain.forgetting:
        before = gain.forgetting[0].before.per_word
        after = [each.after.per_word for each in gain.forgetting]
        say(
            f"perplexity of {remember}: {before:.0f} a word before, {np.mean(after):.0f} after ({min(after):.0f} to {max(after):.0f})"
        )


@app.command(epilog='Example: neurolm generate neurolm/lstm-small --prompt "once upon a time" --top-p 0.9 --seed 1')
def generate(
    model: Annotated[str, typer.Argument(help="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")],
    prompt: Annotated[str, typer.Option(help="The text to go on with.")] = "Once upon a time",
    max_tokens: Annotated[int, typer.Option(min=1, help="At most so many tokens.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Draw from the likeliest tokens that hold this probability.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Search with so many beams instead of drawing.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    special_tokens: Annotated[
        bool, typer.Option("--special-tokens", help="Read special tokens spelled in the prompt (<|im_start|>) as such.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Continue a text with a language model; the same seed gives the same text."""
    if dry_run:
        say(f"{model}: up to {max_tokens} tokens after {len(prompt.split())} words, seed {seed}")
        return
    from neurolm.lm import generate as continue_text
    from neurolm.lm import load

    def show(piece: str) -> None:
        sys.stdout.write(piece)
        sys.stdout.flush()

    show(prompt)
    continue_text(
        load(model, device=device),
        prompt,
        max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        beam_width=beam,
        seed=seed,
        special_tokens=special_tokens,
        on_token=show,
    )
    say()
