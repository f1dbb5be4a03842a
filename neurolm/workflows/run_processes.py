"""The processes and cluster jobs of a run: which they are, and how they are ended.

A run writes down its folder, its machine and its own start. What it starts carries its id in the
environment. Only what agrees with all of these is ended: the folder's record may be a copy (cp, rsync,
a snapshot) of that of a run which is at work elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.checks import bad
from neurolm.processes import ProcessIdentity, machine_name, start_time, this_process
from neurolm.storage import read_json, write_json

if TYPE_CHECKING:
    import psutil

RUN_ID = "NEUROLM_RUN"
GRACE_S = 10.0  # between asking processes to end and ending them


def record_run(home: Path) -> str:
    """Write `run.json` into the folder `.neurolm` of a run that begins; return its id."""
    run_id = uuid.uuid4().hex
    write_json(
        home / "run.json",
        {"id": run_id, "folder": _folder(home), "process": this_process()._asdict(), "started": time.time()},
    )
    return run_id


def own_record(home: Path) -> dict[str, Any] | None:
    """The record of the last run of this very folder; None if there is none, or if it came with a copy."""
    try:
        record = read_json(home / "run.json")
        written, here = record["folder"], _folder(home)
        ProcessIdentity(**record["process"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = written["path"] == here["path"] and written["inode"] == here["inode"]
    if same and record["process"]["machine"] == machine_name():
        same = written["device"] == here["device"]  # other machines give one disk other numbers
    return record if same else None


def run_processes(home: Path) -> list[psutil.Process]:
    """Processes of this machine that the last run of this folder started and that still run."""
    record = own_record(home)
    if record is None or record["process"]["machine"] != machine_name():
        return []
    import psutil

    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if _is_of(record, process) and record["folder"]["path"] in "\n".join(process.cmdline()):
                for one in (process, *process.children(recursive=True)):  # what a step started names no folder
                    if _is_of(record, one):
                        found[one.pid] = one
    found.pop(os.getpid(), None)
    return list(found.values())


def end_processes(home: Path, engine: subprocess.Popen[bytes] | None = None) -> None:
    """End what the last run of this folder left on this machine, and its engine: asked first, killed after `GRACE_S`."""
    import psutil

    with _undisturbed():
        left = run_processes(home)
        if engine is not None:
            with contextlib.suppress(psutil.Error):
                top = psutil.Process(engine.pid)
                left = list({process.pid: process for process in (top, *top.children(recursive=True), *left)}.values())
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(left, timeout=GRACE_S)
        alive = list({process.pid: process for process in (*alive, *run_processes(home))}.values())
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=GRACE_S)
        if engine is not None:
            engine.wait()


def cancel_jobs(home: Path, wait_s: float = 60) -> None:
    """Cancel SLURM jobs of the last run of this folder: the executor gave them the name that its log tells."""
    log = home / "snakemake.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    found = re.search(r"^SLURM run ID: (\S+)", text, re.MULTILINE)
    if not found or not shutil.which("scancel") or own_record(home) is None:
        return
    subprocess.run(["scancel", f"--name={found[1]}"], capture_output=True)
    waited_until = time.monotonic() + wait_s
    while time.monotonic() < waited_until:  # until the last of them has let go of its files
        left = subprocess.run(["squeue", "--noheader", f"--name={found[1]}"], capture_output=True, text=True)
        if left.returncode == 0 and not left.stdout.strip():
            return
        time.sleep(0.5)
    raise bad("output", "have one run at a time", f"jobs of an earlier run, named {found[1]}", "End them with scancel.")


def _folder(home: Path) -> dict[str, Any]:
    """What tells an output folder from every copy of it."""
    place = home.resolve().parent
    status = place.stat()
    return {"path": str(place), "device": status.st_dev, "inode": status.st_ino}


def _is_of(record: dict[str, Any], process: psutil.Process) -> bool:
    if process.environ().get(RUN_ID) != record["id"]:
        return False
    started = start_time(process.pid)
    return started is not None and started >= record["process"]["started"]


@contextlib.contextmanager
def signals_later() -> Iterator[None]:
    """Hold back a signal that ends the command until the block is over: what the block starts is then known, and ended too."""
    held: list[int] = []
    with _handled(lambda number, _: held.append(number)):
        yield
    for number in held[:1]:
        signal.raise_signal(number)


def _undisturbed() -> contextlib.AbstractContextManager[None]:
    """Finish ending a run even if it is asked to end once more."""
    return _handled(signal.SIG_IGN)


@contextlib.contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Have `handler` take the signals that end a command; outside the main thread, where none arrives, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)
