"""`neurolm run CONFIG`: plan an analysis and carry it out, going on where an earlier run stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from neurolm.cli.analysis_folder import write_index
from neurolm.cli.kinds import Runnable, plan_of
from neurolm.cli.leftovers import earlier_folders, leftovers_text
from neurolm.cli.main import app
from neurolm.cli.preflight import preflight
from neurolm.cli.stages import Judge, Stage, read_record, say_states, set_aside_unplanned, stage_path
from neurolm.cli.terminal import LINE_EVERY_S, line_text, say, seconds_text
from neurolm.cli.workflow import WorkflowState, run_workflow, shipped


@app.command(epilog="Example: neurolm run configs/demo.yaml    (again after a kill: the same command)")
def run(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a config that comes with neurolm (demo).")] = "",
    output: Annotated[Path | None, typer.Option(help="Folder for the results, instead of the config's.")] = None,
    cores: Annotated[int, typer.Option(min=1, help="Cores to use at once.")] = os.cpu_count() or 1,
    profile: Annotated[str | None, typer.Option(help="slurm, or a folder with a Snakemake profile.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda, instead of the config's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be computed, with sizes; compute nothing.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every input, also those that look unchanged.")] = False,
    list_configs: Annotated[bool, typer.Option("--list", help="List the configs that come with neurolm.")] = False,
) -> None:
    """Plan an analysis and carry it out; what is finished already is reused."""
    if list_configs or not config:
        for path in sorted(shipped("configs").glob("*.yaml")):
            say(f"{path.stem:<20}{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")
        return
    settings, plan = plan_of(find_config(config), output=output, look=not dry_run, device=device, seed=seed)
    asked = getattr(settings, "dataset", None)
    if asked and asked.fallback and plan.config.dataset.name == asked.fallback:
        say(f"NOTE: {asked.name!r} could not be had here. This run analyses SIMULATED data with a planted truth instead;")
        say("      its numbers say nothing about any brain.")
    stages = plan.stages()
    reasons = Judge(verify=verify).outdated(stages)
    if dry_run:
        say_states(plan.output, stages, reasons)
    if any(stage.record in reasons and stage.rule != "report" for stage in stages):
        preflight(plan, is_dry=dry_run, is_elsewhere=profile is not None)
    if dry_run:
        return
    plan.write()
    set_aside_unplanned(plan.output, stages)
    if reasons:
        _carry_out(plan, stages, reasons, cores=cores, profile=profile)
    else:
        say("Nothing to do: every result is there and fits the data and the config. All of it was reused.")
    index = write_index(plan.output)
    say(f"Result: {plan.result}" + (f"; all analyses of this folder: {index}" if index else ""))


def _carry_out(plan: Runnable, stages: Sequence[Stage], reasons: Mapping[Path, str], *, cores: int, profile: str | None) -> None:
    """Have Snakemake make what is outdated; say what was computed, and what was left over."""
    before, began = earlier_folders(plan.output), time.monotonic()
    make = [stage_path(plan.output, stage) for stage in stages if stage.record in reasons]
    for stage in stages:
        if stage.record in reasons and read_record(stage) is not None:
            say(f"{stage.name}: to be made again, {reasons[stage.record]}")
    finished = run_workflow(plan.workflow, plan.output, cores=cores, profile=profile, make=make, watch=_Screen(plan))
    say(f"Done in {seconds_text(time.monotonic() - began)}: {', '.join(dict.fromkeys(finished.done))} computed.")
    for folder in earlier_folders(plan.output):
        if folder not in before:
            names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
            say(f"NOTE: {leftovers_text(folder, names)}")


def find_config(name: str) -> Path:
    """A path as it is, or a config that comes with neurolm by its name or its path in a checkout."""
    path = Path(name)
    if not path.exists():
        folder = shipped("configs")
        for candidate in (folder / f"{name}.yaml", folder / path.name, folder / "train" / f"{path.stem}.yaml"):
            if candidate.is_file():
                return candidate
    return path


class _Screen:
    """Says what is reused and what is done, and draws the stages at work."""

    def __init__(self, plan: Runnable) -> None:
        self.steps = [rule for rule, _, _ in plan.steps()]
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
        lines = [beat_text(beat) for beat in state.beats]
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


def beat_text(beat: dict[str, Any]) -> str:
    """A heartbeat as one line."""
    keys = ("stage", "done", "total", "unit", "note", "used_s", "left_s")
    return line_text(*(beat[key] for key in keys))
