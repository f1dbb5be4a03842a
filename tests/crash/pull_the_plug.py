"""Kill work at random instants, start it again, and compare every byte with work that nobody disturbed.

    python tests/crash/pull_the_plug.py [--kills 20] [--seed 0] [--table FILE] [stage ...]

Four trials for each stage:

    kills       kill -9 at instants drawn evenly over the undisturbed time, then one restart
    full disk   a tmpfs too small for the results: one message and exit code 2; then room, and again
    read-only   the same on a folder that cannot be written to
    two at once the same command twice: one of them, or both, finish

A trial passes when the folder then holds the files of undisturbed work, byte for byte, and no other:
no temporary file is left, nothing waits for a lock of a dead process, and no process lives on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from stages import STAGES, Stage, serve, write_inputs
from victim import Victim, import_everything

TOKEN = "NEUROLM_PLUG_TEST"
UNCOMPARED = (".neurolm", ".snakemake", "timings.json")  # time stamps and process ids
TOO_LONG_S = 300


@dataclass
class Row:
    """What came of one stage."""

    name: str
    kills: int = 0
    hit: int = 0  # kills that found the work unfinished
    same: int = 0
    full: int = 0
    full_same: int = 0
    read_only: str = "-"
    two_at_once: str = "-"
    orphans: int = 0
    undisturbed_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        full = f"{self.full_same} of {self.full}" if self.full else "-"
        cells = (self.name, self.kills, self.hit, self.same, full, self.read_only, self.two_at_once, self.orphans)
        return "| " + " | ".join(map(str, cells)) + f" | {self.undisturbed_s:.1f} s |"


HEAD = """\
| what | kills | unfinished when killed | same files and bytes after the restart | full disk, then room: same bytes \
| read-only, then writable | two at once | processes that lived on | undisturbed |
|---|---|---|---|---|---|---|---|---|
"""


class Trial:
    """One stage in one folder `place`; results are in `place/run`, what they are made from lies beside it."""

    def __init__(self, stage: Stage, place: Path, server: str) -> None:
        self.stage, self.place, self.run = stage, place, place / "run"
        self.environment = {
            TOKEN: "1",
            "NEUROLM_DATA": str(place / "no-data"),
            "NEUROLM_CACHE": str(self.run / "cache"),
            "PLUG_SERVER": server,
        }
        self.row = Row(stage.name)
        write_inputs(stage, place)
        self.run.mkdir()
        for step in stage.before:
            self._finish(step(place))
        shutil.copytree(self.run, place / "before")
        began = self._start()
        self._wait(began)
        self.row.undisturbed_s = time.monotonic() - began.began
        self.reference = self._bytes()
        self.size = sum(path.stat().st_size for path in self.run.rglob("*") if path.is_file())

    def pull(self, kills: int, rng: np.random.Generator) -> None:
        for after_s in rng.uniform(0, self.row.undisturbed_s, kills):
            self._reset()
            victim = self._start()
            if victim.wait(after_s) is None:
                victim.kill()
                self.row.hit += 1
            self._finish(self.stage.work(self.place))
            self.row.kills += 1
            self.row.same += self._is_same(f"killed after {after_s:.3f} s")
            self.row.orphans += len(survivors())

    def fill_the_disk(self, shares: tuple[float, ...] = (0.3, 0.8)) -> None:
        before = sum(path.stat().st_size for path in (self.place / "before").rglob("*") if path.is_file())
        for share in shares:
            self._clear()
            with tmpfs(self.run, before + share * (self.size - before) + (64 << 10)) as disk:
                self._fill()
                victim = self._start()
                code = victim.wait(TOO_LONG_S)
                if code not in (0, 2) or "Traceback" in victim.said:
                    self.row.problems.append(f"full disk at {share}: exit code {code}: {victim.said[-600:]}")
                disk.resize(4 * self.size + (16 << 20))
                self._finish(self.stage.work(self.place))
                self.row.full += 1
                self.row.full_same += self._is_same(f"full disk at {share}")

    def forbid_writing(self) -> None:
        self._clear()
        with tmpfs(self.run, 4 * self.size + (16 << 20)) as disk:
            self._fill()
            disk.remount("ro")
            victim = self._start()
            code = victim.wait(TOO_LONG_S)
            told = code == 2 and "Traceback" not in victim.said
            if not told:
                self.row.problems.append(f"read-only: exit code {code}: {victim.said[-600:]}")
            disk.remount("rw")
            self._finish(self.stage.work(self.place))
            self.row.read_only = "message, then same bytes" if told and self._is_same("read-only") else "FAILED"

    def run_two(self) -> None:
        self._reset()
        first, second = self._start(), self._start("second.out")
        codes = [victim.wait(TOO_LONG_S) for victim in (first, second)]
        clean = 0 in codes and set(codes) <= {0, 2} and "Traceback" not in first.said + second.said
        if not clean:
            self.row.problems.append(f"two at once: exit codes {codes}: {first.said[-400:]} {second.said[-400:]}")
        told = "both finish" if codes == [0, 0] else "one finishes, one is refused"
        self.row.two_at_once = f"{told}, same bytes" if clean and self._is_same("two at once") else "FAILED"

    def _start(self, output: str = "said.out") -> Victim:
        return Victim(self.stage.work(self.place), self.environment, self.place / output)

    def _finish(self, work) -> None:
        self._wait(Victim(work, self.environment, self.place / "said.out"))

    def _wait(self, victim: Victim) -> None:
        code = victim.wait(TOO_LONG_S)
        if code is None:
            victim.kill()
        if code:
            self.row.problems.append(f"ended with {code}: {victim.said[-600:]}")

    def _clear(self) -> None:
        shutil.rmtree(self.run)
        self.run.mkdir()

    def _fill(self) -> None:
        shutil.copytree(self.place / "before", self.run, dirs_exist_ok=True)

    def _reset(self) -> None:
        self._clear()
        self._fill()

    def _bytes(self) -> dict[str, str]:
        """SHA-256 of every file, hidden ones too."""
        skipped = {*UNCOMPARED, *self.stage.uncompared}
        files = (p for p in sorted(self.run.rglob("*")) if p.is_file() and not skipped & set(p.relative_to(self.run).parts))
        return {str(p.relative_to(self.run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    def _is_same(self, what: str) -> bool:
        found = self._bytes()
        different = sorted(path for path in self.reference | found if self.reference.get(path) != found.get(path))
        if different:
            self.row.problems.append(f"{what}: differs in {', '.join(different)}")
        return not different


class tmpfs:
    """A small file system in memory, mounted on a folder; root only."""

    def __init__(self, folder: Path, n_bytes: float) -> None:
        self.folder, self.n_bytes = folder, n_bytes

    def __enter__(self) -> tmpfs:
        size = f"size={int(self.n_bytes) // 1024}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.folder)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)

    def resize(self, n_bytes: float) -> None:
        self.remount(f"size={int(n_bytes) // 1024}k")

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.folder)], check=True)


def survivors() -> list[psutil.Process]:
    """Processes of victims that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(TOKEN) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def can_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tmpfs(Path(folder), 1 << 16):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", choices=[[], *[s.name for s in STAGES]])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    import_everything()
    server, address = serve()
    failed = False
    try:
        for stage in STAGES:
            if options.stages and stage.name not in options.stages:
                continue
            with tempfile.TemporaryDirectory() as place:
                trial = Trial(stage, Path(place), address)
                trial.pull(options.kills, np.random.default_rng(options.seed))
                trial.run_two()
                if can_mount():
                    trial.fill_the_disk()
                    trial.forbid_writing()
            print(trial.row, *trial.row.problems, sep="\n", flush=True)
            failed = failed or bool(trial.row.problems or trial.row.orphans)
            if options.table:
                old = options.table.read_text() if options.table.exists() else HEAD
                options.table.write_text(old + f"{trial.row}\n")
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
