"""Messages and progress of an analysis, without knowing what a terminal is.

A function of the library takes `progress: Progress = silent` and calls it as it works. An analysis of `neurolm.workflows`
calls `say`, `warn` and `progress(stage)`, which go to the console of `shown_on`: by default nowhere, on the command line to the
terminal.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol

QUIET_S = 2.0  # no progress is shown of work that ends sooner


class Progress(Protocol):
    """Called with how much is done, of how much, in which unit, and what is going on now."""

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None: ...


def silent(done: float, total: float, unit: str = "", note: str = "") -> None:
    """Show nothing."""


class Console(Protocol):
    """Where the messages of an analysis go: results, warnings, and the progress of one stage of work."""

    def say(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def progress(self, stage: str) -> contextlib.AbstractContextManager[Progress]: ...


class SilentConsole:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def progress(self, stage: str) -> contextlib.AbstractContextManager[Progress]:
        return contextlib.nullcontext(silent)


_SILENT = SilentConsole()
_console: ContextVar[Console] = ContextVar("console")


@contextlib.contextmanager
def shown_on(console: Console) -> Iterator[None]:
    """Send the messages of every analysis in this block to a console."""
    token = _console.set(console)
    try:
        yield
    finally:
        _console.reset(token)


def say(text: str = "") -> None:
    """One line of results."""
    _console.get(_SILENT).say(text)


def warn(text: str) -> None:
    """One line that is not a result."""
    _console.get(_SILENT).warn(text)


def progress(stage: str) -> contextlib.AbstractContextManager[Progress]:
    """The `Progress` of one stage of work."""
    return _console.get(_SILENT).progress(stage)


class Rate:
    """Time used and work done. What the first call, if it comes at once, reports as done was done earlier, by an interrupted run."""

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
        """Whether to report now: at the end, or `every` seconds after the last time."""
        now = time.monotonic()
        if now - self.last < every and done < total:
            return False
        self.last = now
        return True


def time_left(rest: float, done: float, seconds: float) -> float | None:
    """Seconds that the rest takes if it goes as fast as what was done in `seconds`; it grows while nothing is completed."""
    return rest * seconds / done if done > 0 else None


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


def line_text(stage: str, done: float, total: float, unit: str, note: str, used: float, left: float | None) -> str:
    """One line that reports how far a stage is."""
    share = f"{100 * done / total:3.0f} %" if total else "     "
    counts = f"{done:,.0f} of {total:,.0f} {unit}".strip()
    ending = f"{seconds_text(used)} used" if done >= total else f"{seconds_text(left)} left" if left is not None else ""
    return "  ".join(part for part in (f"{stage:<12}", share, counts, ending, note) if part)
