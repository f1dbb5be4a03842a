"""Kill a command at random instants, start it again, and compare every byte with an undisturbed run.

    python tests/crash/pull_the_plug.py [--kills 20] [--seed 0] [--table docs/pull-the-plug.md] [stage ...]

Each stage is one `neurolm` command line over small real inputs. A stage passes when, after every
kill -9 of the whole process group and one restart, the result files have the same bytes as those
of a run that nobody disturbed, no temporary file is left, and no child still runs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

TOKEN = "NEUROLM_PLUG_TEST"
UNCOMPARED = (".neurolm", ".snakemake", "timings.json", "log.jsonl")  # time stamps and process ids


@dataclass
class Stage:
    """One thing to interrupt: `prepare(folder)` lays out inputs and returns the command line."""

    name: str
    prepare: Callable[[Path], list[str]]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Row:
    """What came of one stage."""

    name: str
    kills: int = 0
    hit: int = 0  # kills that found the command still at work
    same: int = 0
    leftovers: int = 0
    orphans: int = 0
    undisturbed_s: float = 0.0

    @property
    def passed(self) -> bool:
        return self.same == self.kills and not self.leftovers and not self.orphans


def pull(stage: Stage, kills: int, rng: np.random.Generator) -> Row:
    """Interrupt one stage `kills` times, at instants drawn evenly over its undisturbed time."""
    row = Row(stage.name, kills)
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        reference = _bytes(_finish(stage, Path(place) / "run"))
        row.undisturbed_s = time.monotonic() - began
        for _ in range(kills):
            folder = Path(place) / "run"  # the same path, because results may name their inputs
            shutil.rmtree(folder)
            row.hit += _start_and_kill(stage, folder, rng.uniform(0, row.undisturbed_s))
            _finish(stage, folder, fresh=False)
            found = _bytes(folder)
            row.same += found == reference
            row.leftovers += len(list(folder.rglob("*.part")))
            row.orphans += len(_children())
            if found != reference:
                _explain(stage.name, reference, found)
    return row


def _start_and_kill(stage: Stage, folder: Path, after_s: float) -> bool:
    command = stage.prepare(folder)
    process = subprocess.Popen(command, env=_environment(stage), start_new_session=True, **_quiet())
    try:
        process.wait(after_s)
        return False
    except subprocess.TimeoutExpired:
        # Only the leader dies, as when a terminal closes or a scheduler ends it: children may live on.
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True


def _finish(stage: Stage, folder: Path, *, fresh: bool = True) -> Path:
    command = stage.prepare(folder)
    done = subprocess.run(command, env=_environment(stage), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{stage.name} failed {'undisturbed' if fresh else 'after a restart'}:\n{done.stdout}\n{done.stderr}")
    return folder


def _bytes(folder: Path) -> dict[str, str]:
    """SHA-256 of every result file."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not set(UNCOMPARED) & set(p.relative_to(folder).parts))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.suffix != ".part"}


def _children() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(TOKEN):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _explain(name: str, reference: dict[str, str], found: dict[str, str]) -> None:
    different = sorted(path for path in reference | found if reference.get(path) != found.get(path))
    print(f"{name}: differs in {', '.join(different)}", file=sys.stderr)


def _environment(stage: Stage) -> dict[str, str]:
    return os.environ | {TOKEN: "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"} | stage.environment


def _quiet() -> dict[str, int]:
    return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| stage | kills | still at work when killed | same bytes after restart | temporary files left | children left | undisturbed |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(f"| {r.name} | {r.kills} | {r.hit} | {r.same} | {r.leftovers} | {r.orphans} | {r.undisturbed_s:.1f} s |")
    return "\n".join(lines) + "\n"


def main() -> int:
    from stages import STAGES

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", choices=[[], *[s.name for s in STAGES]])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    rows = []
    for stage in STAGES:
        if not options.stages or stage.name in options.stages:
            rows.append(pull(stage, options.kills, rng))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    if options.table:
        options.table.write_text(table(rows))
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
