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
    """Time used and time left. What the first call, if it comes at once, says is done was done earlier, by a run that was stopped."""

    def __init__(self, stage: str) -> None:
        self.stage, self.last = stage, -1e9
        self.began = self.since = time.monotonic()
        self.at_first: float | None = None

    def told(self, done: float) -> tuple[float, float, float]:
        """Seconds used; and how much was done here, in how many seconds."""
        now = time.monotonic()
        if self.at_first is None:
            self.at_first, self.since = (done, now) if now - self.began < QUIET_S else (0.0, self.began)
        return now - self.began, done - self.at_first, now - self.since

    def due(self, done: float, total: float, every: float) -> bool:
        now = time.monotonic()
        if now - self.last < every and done < total:
            return False
        self.last = now
        return True


class _Lines(_Rate):
    """Plain lines, for logs and pipes."""

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        used, here, seconds = self.told(done)
        if used >= QUIET_S and self.due(done, total, LINE_EVERY_S):
            warn(line_text(self.stage, done, total, unit, note, used, time_left(total - done, here, seconds)))


class _Heartbeat(_Rate):
    """How far this process is, as a file beside those of its siblings."""

    def __init__(self, stage: str, folder: Path) -> None:
        super().__init__(stage)
        self.process = this_process()
        self.path = folder / f"{self.process.machine}-{self.process.pid}.json"

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        used, here, seconds = self.told(done)
        if self.due(done, total, 0.5):
            beat = {"stage": self.stage, "done": done, "total": total, "unit": unit, "note": note, "used_s": used}
            beat |= {"here": here, "here_s": seconds}
            with contextlib.suppress(ValueError):  # a full disk must not stop the work itself
                write_json(self.path, beat | {"process": self.process, "time": time.time()})


def time_left(rest: float, done: float, seconds: float) -> float | None:
    """Seconds that the rest takes if it goes as fast as what was done in `seconds`; it grows while nothing is completed."""
    return rest * seconds / done if done > 0 else None


def line_text(stage: str, done: float, total: float, unit: str, note: str, used: float, left: float | None) -> str:
    """One line that says how far a stage is."""
    share = f"{100 * done / total:3.0f} %" if total else "     "
    counts = f"{done:,.0f} of {total:,.0f} {unit}".strip()
    ending = f"{seconds_text(used)} used" if done >= total else f"{seconds_text(left)} left" if left is not None else ""
    return "  ".join(part for part in (f"{stage:<12}", share, counts, ending, note) if part)


def _bar(stage: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    rate = _Rate(stage)

    class Left(ProgressColumn):
        """The time left as it is at each refresh: rich's own stands still between two calls."""

        def render(self, task: Task) -> Text:
            if task.finished:
                return Text()
            here, seconds = task.fields["here"], time.monotonic() - task.fields["since"]
            left = time_left((task.total or 0) - task.completed, here, seconds)
            return Text("" if left is None else f"{seconds_text(left)} left")

    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        Left(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(stage, total=None, unit="", note="", here=0.0, since=rate.since)

        def advance(done: float, total: float, unit: str = "", note: str = "") -> None:
            here = rate.told(done)[1]
            bars.update(task, completed=done, total=total, unit=unit, note=note, here=here, since=rate.since)

        yield advance
