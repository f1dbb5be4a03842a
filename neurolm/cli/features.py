"""`neurolm features`: hidden states of a language model for every word of a story, kept in the cache."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from neurolm import workflows
from neurolm.checks import bad, check_choice
from neurolm.cli.app import ConfigPath, app
from neurolm.progress import bytes_text, progress, say, seconds_text

if TYPE_CHECKING:
    from neurolm.features import CachedFeatures, LMStates, Surprisal

DTYPES = ("float32", "float64", "float16", "bfloat16")
MANY = 10_000  # contexts or layers in a list: more is a slip of the hand

features = typer.Typer(help="Extract, list, verify and prune features.", no_args_is_help=True)
app.add_typer(features, name="features")


@features.command(epilog="Example: neurolm features extract configs/demo.yaml --dry-run")
def extract(
    config: ConfigPath,
    story: Annotated[str | None, typer.Option(help="Only this story.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; left out, as the config says.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens in one batch; left out, from the free memory.")] = None,
    seed: Annotated[int, typer.Option(help="Nothing here is random; taken as every command takes it.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say words, tokens, FLOPs, memory and an estimate of time.")] = False,
) -> None:
    """Compute the hidden states that a config asks for, into the cache; what is there already is reused."""
    workflows.extract(config, story=story, device=device, batch_tokens=batch_tokens, dry_run=dry_run)


@features.command("list", epilog="Example: neurolm features list")
def list_() -> None:
    """List the features in the cache, with their sizes."""
    from neurolm.features import FeatureCache, list_cache

    say(f"in {FeatureCache().folder}")
    _say_files(list_cache())


@features.command(epilog="Example: neurolm features verify")
def verify() -> None:
    """Compare the checksums of everything in the cache; damaged files are named, and made again when next used."""
    from neurolm.features import verify_cache

    with progress("verify") as report:
        files = verify_cache(progress=report)
    _say_files(files)
    if any(file.problem for file in files):
        raise typer.Exit(2)


@features.command(epilog="Example: neurolm features prune --unused-days 90")
def prune(
    unused_days: Annotated[float | None, typer.Option(min=0, help="Also remove whole files unused for so many days.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="Remove all that no process is writing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
) -> None:
    """Remove damaged and interrupted files from the cache; on request also old ones, or all."""
    from neurolm.features import prune_cache

    removed = prune_cache(unused_days=unused_days, everything=everything, dry_run=dry_run)
    _say_files(removed)
    say("nothing was removed" if dry_run else f"removed {len(removed)} files")


def _say_files(files: list[CachedFeatures]) -> None:
    for file in files:
        say(f"{bytes_text(file.n_bytes):>9}  {file.state:<11}{', '.join(file.label)}  {file.problem}".rstrip())
    say(f"{bytes_text(sum(file.n_bytes for file in files)):>9}  in {len(files)} files")


@features.command(epilog="Example: neurolm features sweep story.TextGrid --model smollm2-135m --layers 10,20 --contexts 1-100")
def sweep(
    story: Annotated[str, typer.Argument(help="A transcript: TextGrid, gentle's JSON, BIDS events or CSV.")],
    contexts: Annotated[str, typer.Option(help="Numbers of words: 20, or 1,2,4,8, or 1-100, or 1-20,30,40.")],
    model: Annotated[str, typer.Option(help="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")] = "smollm2-135m",
    layers: Annotated[str, typer.Option(help='"all", or layers as 0,5,10 or 0-12; 0 is the embeddings.')] = "all",
    surprisal: Annotated[bool, typer.Option("--surprisal", help="Surprisal and entropy instead of hidden states.")] = False,
    tier: Annotated[str | None, typer.Option(help="Tier of a TextGrid that holds the words.")] = None,
    words: Annotated[int | None, typer.Option(min=1, help="Only the story's first words.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Number format of the model's weights.")] = "float32",
    batch_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens in one batch; left out, from the free memory.")] = None,
    seed: Annotated[int, typer.Option(help="Nothing here is random; taken as every command takes it.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say words, tokens, FLOPs, memory and an estimate of time.")] = False,
) -> None:
    """Compute features of a story for every context asked for, into the cache, at the price of the longest alone."""
    from neurolm.features import FeatureCache, LMStates, Surprisal, plan_extraction
    from neurolm.lm import load
    from neurolm.stimuli import ContextWindow, read_transcript

    wanted = integers("contexts", contexts)
    which = layers if layers == "all" else integers("layers", layers)
    check_choice("dtype", dtype, DTYPES)
    if surprisal and layers != "all":
        raise bad("--layers", "be left out with --surprisal", repr(layers), "Surprisal comes from the last layer.")
    transcript = read_transcript(story, tier=tier)[:words]
    with progress("model") as report:
        report(0, 1, "", f"loading {model}")
        lm = load(model, device=device, dtype=dtype)
    longest, cache = ContextWindow(max(wanted)), FeatureCache(required=True)
    space: LMStates | Surprisal
    if surprisal:
        space = Surprisal(lm, longest, entropy=True, batch_tokens=batch_tokens, cache=cache)
    else:
        space = LMStates(lm, which, longest, batch_tokens=batch_tokens, cache=cache)
    if dry_run:
        say(f"{transcript.name}: {plan_extraction(space, transcript, wanted)}")
        return
    began = time.monotonic()
    with progress("features") as report:
        space.sweep(transcript, wanted, report)
    took = seconds_text(time.monotonic() - began)
    say(f"{transcript.name}: {len(wanted)} contexts of {len(transcript):,} words in {took}; kept in {cache.folder}")


def integers(name: str, text: str) -> list[int]:
    """`1,2,4` or `1-100` or both as a list of numbers.

    Raises
    ------
    InputError
        If it is neither.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first or last - first > MANY:
            raise bad(f"--{name}", "be numbers such as 1,2,4 or a range such as 1-100", repr(text))
        numbers += range(first, last + 1)
    return numbers
