"""How long a person waits for `import neurolm` and `neurolm --help`, beside `import numpy`.

Each command runs in a process of its own, in turns, so that a busy machine slows all of them alike. Printed:
the least and the median of the wall seconds, of the processor seconds, and the ratio of the least wall seconds
to those of `import numpy`; an empty Python is the floor of all. Wall seconds count what a person waits for;
on a busy machine look at the processor seconds.

    python benchmarks/import_time.py
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import neurolm": ["-c", "import neurolm"],
    "neurolm --help": ["-m", "neurolm", "--help"],
    "neurolm features extract --help": ["-m", "neurolm", "features", "extract", "--help"],
}
LIMITS = {"import neurolm": 0.5, "neurolm --help": 1.0}  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    wall: dict[str, list[float]] = {name: [] for name in COMMANDS}
    processor: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(options.rounds + 1):
        for name, arguments in COMMANDS.items():
            seconds, used = timed([sys.executable, *arguments])
            if turn:  # the first fills the disk's cache
                wall[name].append(seconds)
                processor[name].append(used)
    floor = min(wall["import numpy"])
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds\n")
    print("| command | wall s: least | median | processor s: least | times `import numpy` | at most | |")
    print("|---|---|---|---|---|---|---|")
    for name, times in wall.items():
        least, limit = min(times), LIMITS.get(name)
        verdict = "" if limit is None else "holds" if statistics.median(times) < limit else "missed"
        print(
            f"| `{name}` | {least:.3f} | {statistics.median(times):.3f} | {min(processor[name]):.3f} "
            f"| {least / floor:.2f} | {'' if limit is None else f'{limit} s'} | {verdict} |"
        )


def timed(command: list[str]) -> tuple[float, float]:
    """(wall seconds, processor seconds) of a process."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
