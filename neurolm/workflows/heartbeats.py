"""Heartbeats: small JSON files in which the steps of a run report their progress to `neurolm run` and `neurolm status`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from neurolm.processes import ProcessIdentity, this_process
from neurolm.progress import Rate, line_text, time_left
from neurolm.storage import read_json, write_json

HEARTBEATS = "NEUROLM_HEARTBEATS"  # the folder for them, set by `neurolm run` for its steps
EVERY_S = 0.5


class Heartbeat(Rate):
    """A `Progress` that writes a file of this process."""

    def __init__(self, stage: str, folder: Path) -> None:
        super().__init__(stage)
        self.process = this_process()
        self.path = folder / f"{self.process.machine}-{self.process.pid}.json"

    def __call__(self, done: float, total: float, unit: str = "", note: str = "") -> None:
        used, here, seconds = self.told(done)
        if self.due(done, total, EVERY_S):
            beat = {"stage": self.stage, "done": done, "total": total, "unit": unit, "note": note, "used_s": used}
            beat |= {"here": here, "here_s": seconds}
            with contextlib.suppress(ValueError):  # a full disk must not stop the work itself
                write_json(self.path, beat | {"process": self.process, "time": time.time()})


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """The progress of a step at work; None if it is over, or if its process is gone."""
    try:
        beat: dict[str, Any] = read_json(path)
        writer = ProcessIdentity(*beat["process"])
        if writer.is_here() and not writer.is_running():
            return None
        worked_s = beat["here_s"] + max(0.0, time.time() - beat["time"])
        beat["left_s"] = time_left(beat["total"] - beat["done"], beat["here"], worked_s)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if beat["done"] >= beat["total"] else beat


def heartbeat_text(beat: dict[str, Any]) -> str:
    """A heartbeat as one line."""
    keys = ("stage", "done", "total", "unit", "note", "used_s", "left_s")
    return line_text(*(beat[key] for key in keys))
