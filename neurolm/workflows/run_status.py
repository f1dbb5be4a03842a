"""Status of a run: which steps are done, at work, failed or waiting, and which results still belong to their inputs."""

from __future__ import annotations

from pathlib import Path

from neurolm.checks import InputError, bad
from neurolm.locks import held_file, is_locked
from neurolm.processes import ProcessIdentity
from neurolm.progress import say
from neurolm.workflows.engine import WorkflowState
from neurolm.workflows.heartbeats import heartbeat_text
from neurolm.workflows.kinds import planned_in
from neurolm.workflows.output_folder import analysis_folders
from neurolm.workflows.run_processes import own_record, run_processes
from neurolm.workflows.stages import Judge


def status(output: Path, *, verify: bool = False) -> None:
    """Say what of a run is done, running, failed or to be made again, with reasons and the time left.

    Parameters
    ----------
    verify : bool
        Hash every input, also those that look unchanged.

    Raises
    ------
    InputError
        If the folder is not the output of a run.
    """
    home = output / ".neurolm"
    if not home.is_dir():
        raise bad("output", "be the output folder of a run", str(output), "Start one with `neurolm run CONFIG`.")
    free = not _is_at_work(home)
    say("no run is at work here" if free else "a run is at work here")
    left = ", ".join(str(process.pid) for process in run_processes(home)) if free else ""
    if left:
        say(f"processes of a run that was killed still are: {left}; `neurolm run` ends them before it begins")
    state = WorkflowState.read(home)
    if free:
        _say_failures(home, state)
        _say_results(output, verify)
    else:
        _say_progress(state)
        _say_failures(home, state)
    for folder in analysis_folders(output.resolve()):
        if folder not in (output.resolve(), output.resolve().parent):
            say(f"another analysis is in {folder}: neurolm status {folder}")


def _say_progress(state: WorkflowState) -> None:
    """What a run that is at work has done, does, and has before it."""
    for rule, (n_done, n) in state.counts().items():
        if n_done:
            say(f"done      {rule}" + (f" {n_done} of {n}" if n > 1 else ""))
    for beat in state.beats:
        say(f"running   {heartbeat_text(beat)}")
    for rule, (n_done, n) in state.counts().items():
        n_started = 0 if rule in state.failed else min(n - n_done, state.started.count(rule) - n_done)
        if n_started > 0 and not state.beats:
            say(f"started   {rule}: no progress told yet, or in the cluster's queue")
        if n - n_done - n_started > 0 and rule not in state.failed:
            say(f"waiting   {rule}" + (f" x {n - n_done - n_started}" if n > 1 else ""))
    if not state.planned:
        say("nothing is planned yet")


def _say_failures(home: Path, state: WorkflowState) -> None:
    for rule in state.failed:
        say(f"failed    {rule}")
    errors = home / "errors.txt"
    for message in errors.read_text(encoding="utf-8", errors="replace").splitlines() if state.failed and errors.exists() else []:
        say(f"          {message}")


def _say_results(output: Path, verify: bool) -> None:
    """Which results are there and belong to the data and the config as they are, and which have to be made."""
    try:
        stages = planned_in(output).stages()
        reasons = Judge(verify=verify).outdated(stages)
    except InputError as error:
        say(f"unknown   whether results belong to their data: {error}")
        return
    for stage in stages:
        reason = reasons.get(stage.record)
        say(f"to make   {stage.name} ({reason})" if reason else f"done      {stage.name}")
    if not reasons:
        say("every result is there and fits the data and the config")


def _is_at_work(home: Path) -> bool:
    if not is_locked(home / "run.lock"):
        return False
    record = own_record(home)  # where the file system has no locks, a killed run may have left a file in place of one
    head = ProcessIdentity(**record["process"]) if record and held_file(home / "run.lock").exists() else None
    return head is None or not head.is_here() or head.is_running()
