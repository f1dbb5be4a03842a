"""Banded ridge, side by side with himalaya: the same draws of band weights, folds and penalties.

Fit times are for `--draws` draws of two bands; every draw costs the same, so fewer of them
(`--draws 5`) give the same ratios sooner. Printed as by `ridge.py`; the same band weights and penalties
must be chosen (where two pairs score alike to 1e-4 either will do).

    python benchmarks/banded_ridge.py                     # n=3000, two bands of 512, v=5000, 50 draws: two hours
    python benchmarks/banded_ridge.py --draws 5           # a quarter of an hour on 2 cores
    python benchmarks/banded_ridge.py --sizes 3000,3072,5000,10,5 --draws 5
    python benchmarks/banded_ridge.py --quick
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from ridge import machine, nearest, report, run_worker, side_by_side

SIZES = ("3000,1024,5000,10,5",)
SYSTEMS = ("neurolm", "himalaya.GroupRidgeCV/torch", "himalaya.MultipleKernelRidgeCV/torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="n,p,v,penalties,folds; p is shared by two equal bands")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--systems", nargs="+", default=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(json.loads(options.worker), fit)
        return
    if options.quick:
        options.sizes, options.draws = ["300,60,200,5,3"], 3
    results: dict[str, Any] = {"machine": machine(options.threads), "draws": options.draws}
    print(json.dumps(results["machine"]))
    for size in options.sizes:
        shape = dict(zip(("n", "p", "v", "n_alphas", "n_folds"), map(int, size.split(",")), strict=True))
        settings = {**shape, "draws": options.draws, "device": options.device}
        rows = side_by_side(__file__, options.systems, settings, options.rounds, options.threads)
        results[size] = report({**shape, "draws": options.draws}, rows, results["machine"], work={})
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n")


def fit(system: str, X: np.ndarray, Y: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(chosen penalty and band weight as one number, its score), each (n_targets,)."""
    alphas, half = np.logspace(2, 6, settings["n_alphas"]), X.shape[1] // 2
    bands = [slice(0, half), slice(half, X.shape[1])]
    if system == "neurolm":
        from neurolm.encoding import BandedRidgeCV

        model = BandedRidgeCV(
            bands, alphas, n_iter=settings["draws"], cv=settings["n_folds"], scoring="correlation", device=settings["device"]
        ).fit(X, Y)
        return chosen_pair(alphas, model.best_alphas_, model.deltas_), np.asarray(model.cv_scores_).max(0)
    return fit_himalaya(system, X, Y, bands, alphas, settings)


def fit_himalaya(
    system: str, X: Any, Y: Any, bands: list[slice], alphas: np.ndarray, settings: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from himalaya.ridge import GroupRidgeCV
    from himalaya.scoring import correlation_score
    from sklearn.model_selection import KFold

    name, _, backend = system.partition("/")
    module = set_backend(backend)
    params = {"score_func": correlation_score, "n_iter": settings["draws"], "progress_bar": False}
    params["alphas"] = module.asarray(alphas.astype(np.float32))
    shared: dict[str, Any] = {"cv": KFold(settings["n_folds"]), "random_state": 0}
    Y = module.asarray(Y)
    if "Group" in name:
        groups = np.repeat([0, 1], [band.stop - band.start for band in bands])
        model = GroupRidgeCV(groups, solver_params={**params, "warn": False}, **shared).fit(module.asarray(X), Y)
    else:
        kernels = module.asarray(np.stack([X[:, band] @ X[:, band].T for band in bands]))
        model = MultipleKernelRidgeCV("precomputed", solver_params=params, **shared).fit(kernels, Y)
    deltas, scores = module.to_numpy(model.deltas_), module.to_numpy(model.cv_scores_)
    return chosen_pair(alphas, 1 / np.exp(deltas).sum(0), deltas), scores.max(0)


def chosen_pair(alphas: np.ndarray, best: Any, deltas: Any) -> np.ndarray:
    """Penalty and weight of the first band, to one part in a thousand, as one number."""
    weight = np.exp(np.asarray(deltas, dtype=np.float64)[0]) * np.asarray(best, dtype=np.float64)
    return nearest(alphas, best) + np.round(weight, 3)


if __name__ == "__main__":
    main()
