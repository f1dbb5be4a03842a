"""Run a Snakemake workflow in an output folder, so that nothing of a killed run gets in its way.

One lock of ours (flock: it dies with its holder). Children carry the run's id in their
environment: those that outlived a killed run are found by it and ended before the next begins, as
are the jobs that it left on a cluster.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neurolm.checks import InputError, bad
from neurolm.cli.terminal import HEARTBEATS
from neurolm.locks import exclusive_lock
from neurolm.storage import read_json, remove_parts, write_json

RUN_ID = "NEUROLM_RUN"
ERRORS = "NEUROLM_ERRORS"
MAKE = Path(".neurolm") / "make.json"  # files that the run at work makes, for the workflow


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
            raise bad("output", "have one run at a time", str(output), "Another run is at work there: wait for it, or stop it.")
        _end_orphans(home)
        _cancel_jobs(home / "snakemake.log")
        for folder in {output, *(p.parent for p in output.rglob(".*.part"))}:
            remove_parts(folder)
        write_json(output / MAKE, {"make": list(make)})
        command = snakemake_command(name, output, cores=cores, profile=profile, make=make)
        return _start(command, home, watch)


def _start(command: Sequence[str], home: Path, watch: Any) -> WorkflowState:
    beats = home / "heartbeats"
    beats.mkdir(parents=True, exist_ok=True)
    for old in beats.glob("*.json"):
        old.unlink()
    log, errors = home / "snakemake.log", home / "errors.txt"
    errors.write_text("")
    run_id = uuid.uuid4().hex
    write_json(home / "run.json", {"id": run_id, "pid": os.getpid(), "started": time.time()})
    environment = os.environ | {RUN_ID: run_id, HEARTBEATS: str(beats), ERRORS: str(errors), "OMP_WAIT_POLICY": "PASSIVE"}
    with open(log, "w") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        try:
            while process.poll() is None:
                watch(WorkflowState.read(home))
                time.sleep(0.5)
        except BaseException:
            process.terminate()
            process.wait()
            _end_orphans(home)
            _cancel_jobs(log)
            raise
    state = WorkflowState.read(home)
    watch(state)
    if process.returncode:
        raise _failure(errors, log)
    return state


def snakemake_command(name: str, output: Path, *, cores: int, profile: str | None = None, make: Sequence[str] = ()) -> list[str]:
    """The command line that `neurolm run` gives to Snakemake: what is made again is told, time stamps have no say."""
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
        return cls(planned, done, started, failed, [beat for beat in map(_beat, sorted(home.glob("heartbeats/*.json"))) if beat])

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many of a rule's steps are done, of how many, for each rule of the plan."""
        return {rule: (self.done.count(rule), n) for rule, n in self.planned.items()}


def _beat(path: Path) -> dict[str, Any] | None:
    """A heartbeat of a living process; one on another machine of the cluster is taken at its word."""
    try:
        beat = json.loads(path.read_text())
        if beat["host"] == socket.gethostname():
            os.kill(beat["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return beat if beat["done"] < beat["total"] else None


def _failure(errors: Path, log: Path) -> InputError:
    messages = list(dict.fromkeys(errors.read_text(encoding="utf-8").splitlines()))
    if messages:
        return InputError("\n".join(messages))
    return InputError(f"A step ended without a message of its own. Look at the end of {log}.")


def _end_orphans(home: Path) -> None:
    """End processes of an earlier run of this folder that outlived it."""
    try:
        run_id = read_json(home / "run.json")["id"]
    except (ValueError, KeyError):
        return
    import psutil

    orphans = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(RUN_ID) == run_id:
                process.kill()
                orphans.append(process)
        except (psutil.Error, OSError):
            continue
    psutil.wait_procs(orphans, timeout=10)


def _cancel_jobs(log: Path, wait_s: float = 60) -> None:
    """Cancel SLURM jobs of an earlier run that outlived it: the executor gave them the name that its log tells."""
    found = re.search(r"^SLURM run ID: (\S+)", log.read_text(errors="replace") if log.exists() else "", re.MULTILINE)
    if not found or not shutil.which("scancel"):
        return
    subprocess.run(["scancel", f"--name={found[1]}"], capture_output=True)
    waited_until = time.monotonic() + wait_s
    while time.monotonic() < waited_until:  # until the last of them has let go of its files
        left = subprocess.run(["squeue", "--noheader", f"--name={found[1]}"], capture_output=True, text=True)
        if left.returncode == 0 and not left.stdout.strip():
            return
        time.sleep(0.5)
    raise bad("output", "have one run at a time", f"jobs of an earlier run, named {found[1]}", "End them with scancel.")
