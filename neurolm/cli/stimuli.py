"""`neurolm stimuli`: look at a transcript, and check words against BOLD before anything is fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurolm import workflows
from neurolm.cli.app import ConfigPath, DryRun, app
from neurolm.progress import say

if TYPE_CHECKING:
    from neurolm.stimuli.text_marks import Mismatch

stimuli = typer.Typer(help="Read transcripts; check that words and BOLD belong together.", no_args_is_help=True)
app.add_typer(stimuli, name="stimuli")


@stimuli.command(epilog="Example: neurolm stimuli show story.TextGrid --tier word")
def show(
    path: Annotated[Path, typer.Argument(help="TextGrid, BIDS events, CSV or gentle JSON.")],
    tier: Annotated[str | None, typer.Option(help="Tier of a TextGrid.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="Plain text of the story: its punctuation gives sentences and paragraphs.")
    ] = None,
) -> None:
    """Read a transcript and say what was understood."""
    from neurolm.stimuli import mark_sentences, read_textgrid, read_transcript
    from neurolm.stimuli.text_file import read_annotation

    story = read_textgrid(path, tier) if tier else read_transcript(path)
    differ: tuple[Mismatch, ...] = ()
    if text is not None:
        marked = mark_sentences(story, read_annotation(text))
        story, differ = marked.transcript, marked.mismatches
        say(f"{text}: {marked.n_matched:,} of {len(story):,} words stand in the text; {len(differ)} places differ")
    seconds = float(story.offsets[-1] - story.onsets[0])
    rate = f", {len(story) / seconds:.2f} words/s" if seconds > 0 else ""
    say(f"{path}: {len(story)} words from {story.onsets[0]:.2f} to {story.offsets[-1]:.2f} s{rate}")
    if story.left_out:
        say(f"left out: {', '.join(f'{label!r} {n} times' for label, n in story.left_out.items())}")
    for name, marks in (("sentences", story.sentences), ("paragraphs", story.paragraphs)):
        say(f"{name}: {'not marked' if marks is None else marks[-1] - marks[0] + 1}")
    say(f"begins: {' '.join(story.words[:20])}")
    for one in differ:
        say(f"  {one}")


@stimuli.command(epilog="Example: neurolm stimuli check configs/demo.yaml")
def check(config: ConfigPath, dry_run: DryRun = False) -> None:
    """Check words against BOLD before anything is fitted; a failed check stops, unless the config overrides it by name."""
    workflows.check(config, dry_run=dry_run)
