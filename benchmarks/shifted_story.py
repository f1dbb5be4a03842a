"""Which shifts of a story against its BOLD does the alignment check find? Alice, one subject and groups, on real data.

    NEUROLM_DATA=... python benchmarks/shifted_story.py

The BOLD of 27 listeners (six regions of 10 mm) is said to have been measured so many seconds later or earlier than it was.
Printed: the share of data sets in which the check fails (`lag`, or `runs` of a group). One subject: each of the 27 alone.
Groups: 20 random halves of 13, and all 27 as the one data set that they are. 0 s is the published alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neurolm.brain import BoldRun
from neurolm.brain.preprocess import detrend_legendre, zscore_run
from neurolm.datasets import load_dataset
from neurolm.datasets.alignment_check import check_alignment
from neurolm.stimuli import Transcript

SHIFTS_S = (
    -30,
    -20,
    -16,
    -12,
    -10,
    -8,
    -6,
    -4,
    -2,
    0,
    2,
    4,
    6,
    8,
    10,
    12,
    16,
    20,
    30,
)  # the BOLD follows its words so much later


def fails(story: Transcript, runs: Sequence[BoldRun], shift_s: float, seed: int) -> bool:
    moved = [replace(run, tr_times=run.tr_times + shift_s) for run in runs]
    check = check_alignment(story, moved, max_gap_s=60, seed=seed)
    return bool({finding.name for finding in check.failed} & {"lag", "runs"})


def main() -> None:
    alice = load_dataset("alice", radius="10mm")
    story = alice.transcript("alice")
    runs = [zscore_run(detrend_legendre(alice.bold(subject, "alice"), 6)) for subject in alice.subjects()]
    rng = np.random.default_rng(0)
    halves = [rng.permutation(len(runs))[: len(runs) // 2] for _ in range(20)]
    print(f"{'shift (s)':>10}{'one subject':>14}{'13 subjects':>14}{f'{len(runs)} subjects':>14}")
    for shift in SHIFTS_S:
        one = np.mean([fails(story, [run], shift, i) for i, run in enumerate(runs)])
        half = np.mean([fails(story, [runs[i] for i in some], shift, k) for k, some in enumerate(halves)])
        everyone = "fails" if fails(story, runs, shift, 0) else "passes"
        print(f"{shift:>10}{one:>14.2f}{half:>14.2f}{everyone:>14}", flush=True)


if __name__ == "__main__":
    main()
