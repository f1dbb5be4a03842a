"""How long work says how far it is, without knowing what a terminal is.

Library functions take `progress: Progress = silent` and call it as they go; the command line
passes one that draws a bar, or prints plain lines where there is no terminal.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with how much is done, of how much, in which unit, and what is going on now."""

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None: ...


def silent(done: float, total: float, unit: str = "", note: str = "") -> None:
    """Say nothing."""
