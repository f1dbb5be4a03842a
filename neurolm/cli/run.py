"""`neurolm run CONFIG`: carry out an analysis, resuming where an earlier run stopped; `neurolm status FOLDER`: how far it is."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from neurolm import workflows
from neurolm.cli.app import Device, DryRun, Output, Seed, app
from neurolm.cli.terminal import LINE_EVERY_S
from neurolm.progress import say
from neurolm.workflows.engine import WorkflowState, shipped
from neurolm.workflows.heartbeats import heartbeat_text
from neurolm.workflows.kinds import Runnable


@app.command(epilog="Example: neurolm run configs/demo.yaml    (again after a kill: the same command)")
def run(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a config that comes with neurolm (demo).")] = "",
    output: Output = None,
    cores: Annotated[int, typer.Option(min=1, help="Cores to use at once.")] = os.cpu_count() or 1,
    profile: Annotated[str | None, typer.Option(help="slurm, or a folder with a Snakemake profile.")] = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every input, also those that look unchanged.")] = False,
    list_configs: Annotated[bool, typer.Option("--list", help="List the configs that come with neurolm.")] = False,
) -> None:
    """Plan an analysis and carry it out; what is finished already is reused."""
    if list_configs or not config:
        for path in sorted(shipped("configs").glob("*.yaml")):
            say(f"{path.stem:<20}{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    workflows.run(
        config,
        output=output,
        cores=cores,
        profile=profile,
        device=device,
        seed=seed,
        dry_run=dry_run,
        verify=verify,
        watch=_Screen,
    )


@app.command(epilog="Example: neurolm status derivatives/neurolm")
def status(
    output: Annotated[Path, typer.Argument(help="The output folder of a run.")] = Path("derivatives/neurolm"),
    verify: Annotated[bool, typer.Option("--verify", help="Hash every input, also those that look unchanged.")] = False,
) -> None:
    """Show what of a run is done, running, failed or to be made again, with reasons and the time left."""
    workflows.status(output, verify=verify)


class _Screen:
    """Says what is reused and what is done, and draws the stages at work."""

    def __init__(self, plan: Runnable) -> None:
        self.steps = [stage.rule for stage in plan.stages()]
        self.said_plan, self.n_done, self.last = False, 0, time.monotonic()
        self.live, self.lines = sys.stderr.isatty(), list[str]()

    def __call__(self, state: WorkflowState) -> None:
        if state.planned and not self.said_plan:
            self.said_plan = True
            reused = [rule for rule in dict.fromkeys(self.steps) if rule not in state.planned]
            say(f"To compute: {', '.join(r for r in dict.fromkeys(self.steps) if r in state.planned)}.")
            if reused:
                say(f"Reused, finished earlier: {', '.join(reused)}.")
        for rule in state.done[self.n_done :]:
            self._clear()
            say(f"  {rule} done")
        self.n_done = len(state.done)
        lines = [heartbeat_text(beat) for beat in state.beats]
        if lines and (self.live or (lines != self.lines and time.monotonic() - self.last > LINE_EVERY_S)):
            self.last, self.lines = time.monotonic(), lines
            self._draw(lines)

    def _draw(self, lines: list[str]) -> None:
        if self.live:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write("\r\x1b[K" + " | ".join(lines)[: width - 1])
        else:
            sys.stderr.write("".join(line + "\n" for line in lines))
        sys.stderr.flush()

    def _clear(self) -> None:
        if self.live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
