"""Edge transients: false alarms of the rule on noise without any, and its power on planted ones.

    python benchmarks/transients.py [--n 2000]

Noise is AR(1); the drift is that of the default config (Legendre, degree 6). A planted transient adds `size` standard deviations to
two rows at the beginning in every column, of random sign over columns.
"""

from __future__ import annotations

import argparse

import numpy as np

from neurolm.brain import BoldRun, Unplaced
from neurolm.brain.transients import edge_transients, mean_deviation
from neurolm.encoding.crossval import run_folds
from neurolm.statistics import ar1_noise

SIZES = (1, 2, 3, 4, 6)


def deviation(rng: np.random.Generator, n_trs: int, n_columns: int, n_subjects: int, ar1: float, isc: float, size: float):
    """Deviation of one simulated story."""
    shared, signs = ar1_noise(rng.standard_normal((n_trs, n_columns)), ar1), rng.choice([-1, 1], n_columns)
    runs = []
    for _ in range(n_subjects):
        own = ar1_noise(rng.standard_normal((n_trs, n_columns)), ar1)
        data = np.sqrt(isc) * shared + np.sqrt(1 - isc) * own
        data[:2] += size * signs
        runs.append(BoldRun(data, 2.0 * np.arange(n_trs), Unplaced("noise", n_columns)))
    return mean_deviation(runs, 6)


def found(rng: np.random.Generator, n_runs: int, size: float, **shape) -> tuple[int, int]:
    deviations = [deviation(rng, size=size, **shape) for _ in range(n_runs)]
    onsets = np.cumsum([0, *[len(d) for d in deviations]])
    training = [train for train, _ in run_folds(onsets[:-1], onsets[-1], 5, 5)]
    edges = edge_transients(deviations, 2.0, training)
    return edges.start, edges.end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="studies without transients; a tenth for each size of planted ones")
    n = parser.parse_args().n
    print("| Study | False alarms | " + " | ".join(f"{size} SD found" for size in SIZES) + " |")
    print("|---|---|" + "---|" * len(SIZES))
    for n_runs, n_subjects, n_columns, ar1, isc in (
        (1, 1, 1, 0.5, 0.0),
        (1, 1, 6, 0.3, 0.0),
        (1, 1, 6, 0.7, 0.0),
        (1, 1, 300, 0.5, 0.0),
        (1, 10, 6, 0.5, 0.15),
        (4, 1, 6, 0.5, 0.0),
        (4, 3, 50, 0.5, 0.15),
    ):
        shape = {"n_trs": 300, "n_columns": n_columns, "n_subjects": n_subjects, "ar1": ar1, "isc": isc}
        rng = np.random.default_rng(0)
        alarms = np.mean([any(found(rng, n_runs, 0, **shape)) for _ in range(n if n_columns < 50 else n // 4)])
        power = [np.mean([found(rng, n_runs, size, **shape)[0] == 2 for _ in range(n // 10)]) for size in SIZES]
        what = f"{n_runs} x {n_subjects} subjects x {n_columns} columns, AR {ar1:g}, ISC {isc:g}"
        print(f"| {what} | {alarms:.4f} | " + " | ".join(f"{p:.2f}" for p in power) + " |", flush=True)


if __name__ == "__main__":
    main()
