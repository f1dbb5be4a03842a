"""Run a Snakemake workflow in an output folder, so that nothing of a killed run gets in its way.

One lock of ours, which ends with its holder. Processes and cluster jobs that outlived a killed run
are found (see `run_processes`) and ended before the next begins.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurolm.checks import InputError, bad
from neurolm.locks import exclusive_lock, held_file
from neurolm.storage import remove_parts, write_json
from neurolm.workflows.heartbeats import HEARTBEATS, read_heartbeat
from neurolm.workflows.run_processes import RUN_ID, cancel_jobs, end_processes, own_record, record_run, signals_later

ERRORS = "NEUROLM_ERRORS"
CACHE_BEFORE = "NEUROLM_XDG_CACHE_HOME"  # what XDG_CACHE_HOME was before it was set for Snakemake
MAKE = Path(".neurolm") / "make.json"  # files that the run at work makes, for the workflow
LOG_LINES = 20  # of the engine's log, where no step left a message


def run_workflow(
    name: str,
    output: Path,
    *,
    cores: int,
    profile: str | None = None,
    make: Sequence[str] = (),
    watch: Callable[[WorkflowState], None],
) -> WorkflowState:
    """Run pipelines/<name>.smk in `output`, calling `watch` twice a second; `make`: files that are made again.

    Raises
    ------
    InputError
        If another run is at work there, or a step failed: with that step's own message.
    """
    home = output / ".neurolm"
    with exclusive_lock(home / "run.lock", wait=False) as held:
        if not held:
            hint = "Another run is at work there: wait for it, or stop it."
            if held_file(home / "run.lock").exists():
                hint += f" If its process is gone, delete {held_file(home / 'run.lock')}."
            raise bad("output", "have one run at a time", str(output), hint)
        end_processes(home)
        cancel_jobs(home)
        for folder in {output, *(p.parent for p in output.rglob(".*.part"))}:
            remove_parts(folder)
        _date_back(output)
        write_json(output / MAKE, {"make": list(make)})
        command = snakemake_command(name, output, cores=cores, profile=profile, make=make)
        return _start(command, home, watch)


def _date_back(output: Path) -> None:
    """Results from the future, written while a clock was ahead, are dated now: the engine throws away what is older than them."""
    now = time.time()
    for path in output.rglob("*"):
        with contextlib.suppress(OSError):  # of another person, or gone meanwhile
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime > now:
                os.utime(path, (now, now))


def _start(command: Sequence[str], home: Path, watch: Any) -> WorkflowState:
    beats = home / "heartbeats"
    beats.mkdir(parents=True, exist_ok=True)
    for old in beats.glob("*.json"):
        old.unlink()
    log, errors = home / "snakemake.log", home / "errors.txt"
    errors.write_text("")
    environment = _environment(home) | {RUN_ID: record_run(home), HEARTBEATS: str(beats), ERRORS: str(errors)}
    process = None
    with open(log, "wb") as file:
        try:
            with signals_later():  # or a signal could come after the engine has started and before it is known here
                process = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
                )
            while process.poll() is None:
                watch(WorkflowState.read(home))
                time.sleep(0.5)
        except BaseException:
            end_processes(home, process)
            cancel_jobs(home)
            raise
    state = WorkflowState.read(home)
    watch(state)
    if process.returncode:
        raise _failure(errors, log)
    return state


def _environment(home: Path) -> dict[str, str]:
    """What Snakemake and the steps see: settings of the user that would stop an engine which is not ours are put right.

    Its cache lies in the output folder, since a home may be read-only; the steps look for models where they
    always do (see `cli.main`). Warnings of the engine are no errors, and every name of a file is UTF-8.
    """
    changed = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUTF8": "1",
        CACHE_BEFORE: os.environ.get("XDG_CACHE_HOME", ""),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    return {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"} | changed


def snakemake_command(name: str, output: Path, *, cores: int, profile: str | None = None, make: Sequence[str] = ()) -> list[str]:
    """The command line that `neurolm run` gives to Snakemake: what is made again is named; time stamps do not matter."""
    command = [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(shipped("pipelines") / f"{name}.smk")),
        *("--directory", str(output)),
        *("--configfile", str(output / ".neurolm" / "plan.json"), *([str(output / MAKE)] if make else [])),
        *("--cores", str(cores)),
        *("--rerun-triggers", "software-env"),  # which never changes here
        *("--ignore-incomplete", "--nolock", "--nocolor"),
        *(("--forcerun", *make) if make else ()),
    ]
    if profile is None:
        return [*command, "--resources", "gpu=1"]  # steps that ask for the GPU take it in turn
    folder = shipped("pipelines") / "profiles" / profile
    return [*command, "--profile", str(folder if folder.is_dir() else profile)]


def shipped(kind: str) -> Path:
    """The folder `pipelines` or `configs`, in the wheel or beside the package in a checkout."""
    from importlib.resources import files

    package = Path(str(files("neurolm")))
    installed = package / f"_{kind}"
    return installed if installed.is_dir() else package.parent / kind


class WorkflowState:
    """What the log and the heartbeats of a run say: steps planned, done, running, failed."""

    def __init__(
        self, planned: dict[str, int], done: list[str], started: list[str], failed: list[str], beats: list[dict[str, Any]]
    ):
        self.planned, self.done, self.started, self.failed, self.beats = planned, done, started, failed, beats

    @classmethod
    def read(cls, home: Path) -> WorkflowState:
        log = home / "snakemake.log"
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\w+ +\d+\n)+)", text, re.MULTILINE)
        planned = {row.split()[0]: int(row.split()[1]) for row in table[1].splitlines()} if table else {}
        planned.pop("total", None)
        planned.pop("all", None)
        done = [rule for rule in re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", text, re.MULTILINE) if rule != "all"]
        started = [rule for rule in re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE) if rule != "all"]
        errors = dict.fromkeys(re.findall(r"^Error in rule (\w+):", text, re.MULTILINE))
        failed = [rule for rule in errors if done.count(rule) < planned.get(rule, 1)]  # else a retry went well
        is_copy = own_record(home) is None  # heartbeats are then those of the folder that it copies
        files = [] if is_copy else sorted(home.glob("heartbeats/*.json"))
        return cls(planned, done, started, failed, [beat for beat in map(read_heartbeat, files) if beat])

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many of a rule's steps are done, of how many, for each rule of the plan."""
        return {rule: (self.done.count(rule), n) for rule, n in self.planned.items()}


def _failure(errors: Path, log: Path) -> InputError:
    messages = list(dict.fromkeys(errors.read_text(encoding="utf-8", errors="replace").splitlines()))
    if messages:
        return InputError("\n".join(messages))
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    ending = "\n".join(f"  {line}" for line in lines[-LOG_LINES:]) or "  (it is empty)"
    return InputError(f"The workflow stopped, and no step said why. The end of {log}:\n{ending}")
