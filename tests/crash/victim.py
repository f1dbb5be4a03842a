"""Victims that start in milliseconds: this process imports everything once, then forks.

A forked victim is its own session, as a command started from a shell is its own process group. The
parent runs no thread and computes nothing before it forks, so a child begins as a fresh process would.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

MODULES = [
    "torch",
    "h5py",
    "scipy.stats",
    "sklearn.linear_model",
    "matplotlib.pyplot",
    "psutil",
    "pooch",
    "requests",
    "neurolm.cli.main",
    "neurolm.workflows.encoding",
    "neurolm.workflows.encoding_files",
    "neurolm.workflows.snakemake_run",
    "neurolm.encoding.evaluate",
    "neurolm.features",
    "neurolm.datasets",
    "neurolm.lm",
    "neurolm.report",
    "neurolm.training.recipe",
    "neurolm.training.config",
    "neurolm.decoding",
    "neurolm.timescales",
    "neurolm.datasets.alignment_check",
    "neurolm.datasets.fetch",
    "neurolm.stimuli",
    "neurolm.report.alignment_figures",
]


def import_everything() -> None:
    """What victims would spend seconds on, were each a fresh process."""
    for name in MODULES:
        importlib.import_module(name)


class Victim:
    """`work` in a forked process, with its own environment and its output in a file."""

    def __init__(self, work: Callable[[], None], environment: dict[str, str], output: Path) -> None:
        self.output = output
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _become(work, environment, output)

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code; None if it still works after so many seconds."""
        if seconds is None:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        until = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                return None
            time.sleep(min(0.001, max(0.0, until - time.monotonic())))

    def kill(self) -> None:
        """kill -9 of its whole process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # killed before it had a group of its own, and so before it could have a child
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")


def command_line(*arguments: str) -> Callable[[], None]:
    """`neurolm ARGUMENTS` as something that a victim does."""

    def work() -> None:
        from neurolm.cli.main import main

        sys.argv = ["neurolm", *arguments]
        main()

    return work


def _become(work: Callable[[], None], environment: dict[str, str], output: Path) -> None:
    """The child's whole life; it never returns."""
    code = 1
    try:
        os.setsid()
        os.environ.update(environment)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(file, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
