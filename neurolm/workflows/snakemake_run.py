"""Carry out an analysis by Snakemake, resuming where an earlier run stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from neurolm.progress import say, seconds_text
from neurolm.workflows.analysis import open_plan
from neurolm.workflows.config import Source
from neurolm.workflows.engine import WorkflowState, run_workflow
from neurolm.workflows.kinds import Runnable
from neurolm.workflows.output_folder import earlier_folders, leftovers_text, write_index
from neurolm.workflows.preflight import preflight
from neurolm.workflows.stages import Judge, Stage, read_record, say_states, set_aside_unplanned, stage_path

Watch = Callable[[WorkflowState], None]


def _unwatched(plan: Runnable) -> Watch:
    return lambda state: None


def run(
    config: Source,
    *,
    output: str | Path | None = None,
    cores: int = os.cpu_count() or 1,
    profile: str | None = None,
    device: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
    verify: bool = False,
    watch: Callable[[Runnable], Watch] = _unwatched,
) -> Path:
    """Carry out an analysis of any kind; what is finished already, and belongs to its inputs, is reused.

    Parameters
    ----------
    config : path, name or mapping
        A YAML file, the name of a config that comes with neurolm, or the content of a config.
    output : path, optional
        Folder for the results, instead of the config's.
    cores : int
        Cores to use at once.
    profile : str, optional
        "slurm", or a folder with a Snakemake profile.
    verify : bool
        Hash every input, also those that look unchanged.
    watch : function
        Gives for a plan a function that is called with the state of the run twice a second.

    Returns
    -------
    path
        What to look at: the report, or the table of results.

    Raises
    ------
    InputError
        If the config, its data or its settings cannot be analysed, or a step failed.

    Examples
    --------
    >>> from neurolm import workflows
    >>> workflows.run("demo", output="results")  # doctest: +SKIP
    """
    plan: Runnable = open_plan(config, output=output, look=not dry_run, device=device, seed=seed)
    stages = plan.stages()
    reasons = Judge(verify=verify).outdated(stages)
    if dry_run:
        say_states(plan.output, stages, reasons)
    if any(stage.record in reasons and stage.rule != "report" for stage in stages):
        preflight(plan, is_dry=dry_run, is_elsewhere=profile is not None)
    if dry_run:
        return plan.result
    plan.write()
    set_aside_unplanned(plan.output, stages)
    if reasons:
        _carry_out(plan, stages, reasons, cores=cores, profile=profile, watch=watch(plan))
    else:
        say("Nothing to do: every result is there and fits the data and the config. All of it was reused.")
    index = write_index(plan.output)
    say(f"Result: {plan.result}" + (f"; all analyses of this folder: {index}" if index else ""))
    return plan.result


def _carry_out(
    plan: Runnable, stages: Sequence[Stage], reasons: Mapping[Path, str], *, cores: int, profile: str | None, watch: Watch
) -> None:
    """Have Snakemake make what is outdated; say what was computed, and what was left over."""
    before, began = earlier_folders(plan.output), time.monotonic()
    make = [stage_path(plan.output, stage) for stage in stages if stage.record in reasons]
    for stage in stages:
        if stage.record in reasons and read_record(stage) is not None:
            say(f"{stage.name}: to be made again, {reasons[stage.record]}")
    finished = run_workflow(plan.workflow, plan.output, cores=cores, profile=profile, make=make, watch=watch)
    say(f"Done in {seconds_text(time.monotonic() - began)}: {', '.join(dict.fromkeys(finished.done))} computed.")
    for folder in earlier_folders(plan.output):
        if folder not in before:
            names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
            say(f"NOTE: {leftovers_text(folder, names)}")
