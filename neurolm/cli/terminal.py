"""The terminal as the console of an analysis: lines, warnings, and a progress bar with an estimate of the time left.

Where standard error is no terminal, progress is one plain line every few seconds; in a step of `neurolm run` it is a
heartbeat, which the run and `neurolm status` show.
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

from neurolm.progress import QUIET_S, Progress, Rate, line_text, seconds_text, time_left
from neurolm.workflows.heartbeats import HEARTBEATS, Heartbeat

LINE_EVERY_S = 10.0


class Terminal:
    """Results on standard output, everything else on standard error."""

    def say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    @contextlib.contextmanager
    def progress(self, stage: str) -> Iterator[Progress]:
        if os.environ.get(HEARTBEATS):
            yield Heartbeat(stage, Path(os.environ[HEARTBEATS]))
        elif sys.stderr.isatty():
            yield from _bar(stage)
        else:
            yield ProgressLines(stage, self)

    @contextlib.contextmanager
    def plain_warnings(self) -> Iterator[None]:
        """Show warnings of the library as notes, each once, without lines of code."""
        said = set()

        def show(message: Warning | str, *_: Any, **__: Any) -> None:
            if str(message) not in said:
                said.add(str(message))
                self.warn(f"NOTE: {message}")

        with warnings.catch_warnings():
            warnings.showwarning = show
            yield


class ProgressLines(Rate):
    """Progress as plain lines, for logs and pipes."""

    def __init__(self, stage: str, terminal: Terminal) -> None:
        super().__init__(stage)
        self.terminal = terminal

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        used, here, seconds = self.told(done)
        if used >= QUIET_S and self.due(done, total, LINE_EVERY_S):
            left = time_left(total - done, here, seconds)
            self.terminal.warn(line_text(self.stage, done, total, unit, note, used, left))


def _bar(stage: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    rate = Rate(stage)

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
