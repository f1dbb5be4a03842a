"""The log of a training run: one JSON object per line, in step with the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurolm.storage import write_text
from neurolm.training.distributed import process_index, wait_for_all


class RunLog:
    """Lines of a run, in memory and, with a path, in a file that grows as the run goes on.

    `per_s` in a line is targets per second of training (validation does not count); all else is the same in every
    run with the same settings.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []

    def start(self, step: int) -> None:
        """Cut the log back to the checkpoint's step: later lines, or half a line, are from a killed run."""
        if self.path is not None:
            if self.path.exists():
                parsed = map(_parse, self.path.read_text(encoding="utf-8").splitlines())
                self.lines = [line for line in parsed if line and line["step"] <= step]
            wait_for_all()
            if process_index() == 0:
                write_text(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
            wait_for_all()

    def write(self, line: dict[str, Any], per_s: float) -> dict[str, Any]:
        """Add a line, with how fast it went since the one before; return it."""
        line = line | {"per_s": round(per_s)}
        self.lines.append(line)
        if self.path is not None and process_index() == 0:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        return line


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None
