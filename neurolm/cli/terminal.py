"""What a person sees while work goes on: a bar, plain lines, or heartbeats for a parent.

On a terminal a bar with an estimate; elsewhere one plain line every few seconds; under
`neurolm run` a small JSON file that the parent (and `neurolm status`) reads.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurolm.processes import this_process
from neurolm.progress import Progress
from neurolm.storage import write_json

HEARTBEATS = "NEUROLM_HEARTBEATS"  # folder, set by `neurolm run` for its children
QUIET_S = 2.0  # nothing is said about work that is over sooner
LINE_EVERY_S = 10.0


def say(text: str = "") -> None:
    """One line for a person, on standard output."""
    print(text, flush=True)  # noqa: T201


def warn(text: str) -> None:
    """One line for a person, on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings of the library as notes for a person, each once, without lines of code."""
    said = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            warn(f"NOTE: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def seconds_text(seconds: float) -> str:
    """`42 s`, `3 min 10 s`, `2 h 5 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def bytes_text(n_bytes: float) -> str:
    """`12 kB`, `3.4 MB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


@contextlib.contextmanager
def progress(stage: str) -> Iterator[Progress]:
    """A `Progress` for one stage of work, drawn wherever it is looked at."""
    if os.environ.get(HEARTBEATS):
        yield _Heartbeat(stage, Path(os.environ[HEARTBEATS]))
    elif sys.stderr.isatty():
        yield from _bar(stage)
    else:
        yield _Lines(stage)


class _Rate:
    """Time used and time left, from when the first call came."""

    def __init__(self, stage: str) -> None:
        self.stage, self.began, self.first, self.last = stage, time.monotonic(), 0.0, -1e9

    def left(self, done: float, total: float) -> tuple[float, float | None]:
        used = time.monotonic() - self.began
        return used, (total - done) * used / done if done > 0 else None

    def due(self, done: float, total: float, every: float) -> bool:
        now = time.monotonic()
        if now - self.last < every and done < total:
            return False
        self.last = now
        return True


class _Lines(_Rate):
    """Plain lines, for logs and pipes."""

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        used, left = self.left(done, total)
        if used >= QUIET_S and self.due(done, total, LINE_EVERY_S):
            warn(line_text(self.stage, done, total, unit, note, used, left))


class _Heartbeat(_Rate):
    """How far this process is, as a file beside those of its siblings."""

    def __init__(self, stage: str, folder: Path) -> None:
        super().__init__(stage)
        self.process = this_process()
        self.path = folder / f"{self.process.machine}-{self.process.pid}.json"

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        used, left = self.left(done, total)
        if self.due(done, total, 0.5):
            beat = {"stage": self.stage, "done": done, "total": total, "unit": unit, "note": note, "used_s": used, "left_s": left}
            with contextlib.suppress(ValueError):  # a full disk must not stop the work itself
                write_json(self.path, beat | {"process": self.process, "time": time.time()})


def line_text(stage: str, done: float, total: float, unit: str, note: str, used: float, left: float | None) -> str:
    """One line that says how far a stage is."""
    share = f"{100 * done / total:3.0f} %" if total else "     "
    counts = f"{done:,.0f} of {total:,.0f} {unit}".strip()
    ending = f"{seconds_text(used)} used" if done >= total else f"{seconds_text(left)} left" if left is not None else ""
    return "  ".join(part for part in (f"{stage:<12}", share, counts, ending, note) if part)


def _bar(stage: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(stage, total=None, unit="", note="")

        def advance(done: float, total: float, unit: str = "", note: str = "") -> None:
            bars.update(task, completed=done, total=total, unit=unit, note=note)

        yield advance
