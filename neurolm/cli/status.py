"""`neurolm status FOLDER`: what of a run is done, running, failed, and how long it still takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurolm.checks import bad
from neurolm.cli.main import app
from neurolm.cli.run import beat_text
from neurolm.cli.terminal import say
from neurolm.cli.workflow import WorkflowState
from neurolm.storage import exclusive_lock


@app.command(epilog="Example: neurolm status derivatives/neurolm")
def status(output: Annotated[Path, typer.Argument(help="The output folder of a run.")] = Path("derivatives/neurolm")) -> None:
    """Show what of a run is done, running or failed, with reasons and the time left."""
    home = output / ".neurolm"
    if not home.is_dir():
        raise bad("output", "be the output folder of a run", str(output), "Start one with `neurolm run CONFIG`.")
    with exclusive_lock(home / "run.lock", wait=False) as free:
        say("no run is at work here" if free else "a run is at work here")
    state = WorkflowState.read(home)
    waiting = dict(state.planned)
    for rule in state.started:
        waiting[rule] = waiting.get(rule, 1) - 1
    for rule in state.done:
        say(f"done      {rule}")
    for beat in state.beats:
        say(f"running   {beat_text(beat)}")
    for rule in state.failed:
        say(f"failed    {rule}")
    errors = home / "errors.txt"
    for message in errors.read_text(encoding="utf-8").splitlines() if errors.exists() else []:
        say(f"          {message}")
    for rule, count in waiting.items():
        if count > 0:
            say(f"waiting   {rule}" + (f" x {count}" if count > 1 else ""))
    if not state.planned and not state.failed:
        say("every result is there and fits the config")
