"""Cross-validated ridge, side by side: neurolm, himalaya, scikit-learn and a laboratory's own.

Every system fits the same data with the same folds, penalties and score in a process of its own, in
turns, so that a busy machine slows all of them alike. Printed: wall and processor seconds (least and
median over rounds), peak memory beyond the data, ratios to neurolm, and whether the same penalties were
chosen; a system that chooses others fails the run.

    python benchmarks/ridge.py                                       # p = 1024 and 3072; half an hour on 2 cores
    python benchmarks/ridge.py --sizes 9000,3072,20000,15,10 --rounds 1    # n, p, v, penalties, folds; hours
    python benchmarks/ridge.py --lab path/to/checkout                # a folder that holds ridge_utils/ridge.py
    python benchmarks/ridge.py --threads 1                           # processor seconds: for a busy machine
    python benchmarks/ridge.py --quick                               # seconds: only checks that it runs

Features are autocorrelated with a power-law spectrum and FIR delays 1 to 4, as features of language models
are; the largest eigenvalue of X'X is 3.4e5 at
p = 1024 and 8.8e5 at p = 3072; penalties go from 1e2 to 1e6.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = ("3000,1024,5000,10,5", "3000,3072,5000,10,5")
HIMALAYA = tuple(f"himalaya.{kind}/{backend}" for kind in ("RidgeCV", "KernelRidgeCV") for backend in ("numpy", "torch"))
SYSTEMS = ("neurolm", *HIMALAYA, "sklearn.RidgeCV")
OTHER_CRITERION = ("sklearn.RidgeCV",)  # leave-one-out: other penalties are no error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="n,p,v,penalties,folds")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lab", help="checkout of a laboratory's code: the folder that holds ridge_utils/ridge.py")
    parser.add_argument("--first-folds", type=int, help="only so many of the folds: what one more costs, of a fit of hours")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(json.loads(options.worker), fit)
        return
    if options.quick:
        options.sizes, options.rounds = ["300,60,200,5,3"], 1
    systems = [*options.systems, *(["laboratory"] if options.lab else [])]
    results: dict[str, Any] = {"machine": machine(options.threads)}
    print(json.dumps(results["machine"]))
    for size in options.sizes:
        shape = dict(zip(("n", "p", "v", "n_alphas", "n_folds"), map(int, size.split(",")), strict=True))
        settings = {**shape, "device": options.device, "lab": options.lab, "first_folds": options.first_folds}
        rows = side_by_side(__file__, systems, settings, options.rounds, options.threads)
        results[size] = report(shape, rows, results["machine"], work=operations(shape))
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n")


# -- what is measured -------------------------------------------------------------------------


def make_data(n: int, p: int, v: int, **_: Any) -> tuple[np.ndarray, np.ndarray]:
    """z-scored delayed features and responses, float32."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    width = p // 4
    states = lfilter([1], [1, -0.5], rng.standard_normal((n + 4, width)), axis=0) * np.arange(1, width + 1) ** -0.6
    states = states @ np.linalg.qr(rng.standard_normal((width, width)))[0]
    X = np.concatenate([states[4 - d : n + 4 - d] for d in (1, 2, 3, 4)], axis=1)
    X = ((X - X.mean(0)) / X.std(0)).astype(np.float32)
    W = rng.standard_normal((p, v), dtype=np.float32) * (rng.gamma(1, 0.3, v) / np.sqrt(p)).astype(np.float32)
    Y = X @ W
    Y += rng.standard_normal((n, v), dtype=np.float32)
    Y -= Y.mean(0)
    Y /= Y.std(0)
    return X, Y


def fit(system: str, X: np.ndarray, Y: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(index of the chosen penalty, its score), each (n_targets,)."""
    alphas = np.logspace(2, 6, settings["n_alphas"])
    name, _, backend = system.partition("/")
    folds = some_folds(len(X), settings)
    if name == "neurolm":
        from neurolm.encoding import RidgeCV

        model = RidgeCV(alphas, cv=folds, scoring="correlation", device=settings["device"]).fit(X, Y)
        return nearest(alphas, model.best_alphas_), np.asarray(model.cv_scores_).max(0)
    if name.startswith("himalaya"):
        timed = TimedFolds(folds)
        began = time.perf_counter()
        result = fit_himalaya(name, backend, X, Y, alphas, timed)
        if settings["first_folds"]:
            in_folds = sum(timed.seconds)
            rest = time.perf_counter() - began - in_folds
            print(f"  {system}: {in_folds / len(folds):.1f} s a fold, {rest:.1f} s for everything else")
        return result
    if name == "sklearn.RidgeCV":
        from sklearn.linear_model import RidgeCV as LeaveOneOut

        loo = LeaveOneOut(alphas, fit_intercept=False, alpha_per_target=True).fit(X, Y)
        return nearest(alphas, loo.alpha_), np.full(Y.shape[1], np.nan)
    return fit_laboratory(X, Y, alphas, settings)


def some_folds(n: int, settings: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """All folds, or the first few of them: every fold costs a system that refits the same."""
    from neurolm.encoding import contiguous_blocks

    return contiguous_blocks(n, settings["n_folds"])[: settings["first_folds"]]


class TimedFolds:
    """Folds as a splitter that measures what is done with each."""

    def __init__(self, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.folds, self.seconds = folds, list[float]()

    def get_n_splits(self, *_: Any) -> int:
        return len(self.folds)

    def split(self, *_: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for fold in self.folds:
            start = time.perf_counter()
            yield fold
            self.seconds.append(time.perf_counter() - start)


def fit_himalaya(name: str, backend: str, X: Any, Y: Any, alphas: Any, folds: Any) -> tuple[np.ndarray, np.ndarray]:
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import correlation_score

    module = set_backend(backend)
    params: dict[str, Any] = {"score_func": correlation_score}
    if name.endswith(".RidgeCV"):
        params["warn"] = False
    kind = KernelRidgeCV if "Kernel" in name else RidgeCV
    model = kind(alphas=alphas.astype(np.float32), cv=folds, solver_params=params)
    model.fit(module.asarray(X), module.asarray(Y))
    return nearest(alphas, module.to_numpy(model.best_alphas_)), module.to_numpy(model.cv_scores_).reshape(-1)


def fit_laboratory(X: np.ndarray, Y: np.ndarray, alphas: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """SVD per fold, the same contiguous folds, then a fit of all rows; its penalty is the square root of ours."""
    import logging

    sys.path.insert(0, settings["lab"])
    from ridge_utils.ridge import ridge, ridge_corr  # type: ignore[import-not-found]

    logging.disable(logging.CRITICAL)
    scores = np.zeros((len(alphas), Y.shape[1]))
    for train, test in some_folds(len(X), settings):
        scores += ridge_corr(X[train], X[test], Y[train], Y[test], np.sqrt(alphas))
    ridge(X, Y, np.sqrt(alphas)[scores.argmax(0)])
    return scores.argmax(0), scores.max(0) / settings["n_folds"]


def nearest(alphas: np.ndarray, chosen: Any) -> np.ndarray:
    return np.abs(np.log(np.asarray(chosen, dtype=np.float64)[None] / alphas[:, None])).argmin(0)


def operations(shape: dict[str, int]) -> dict[str, float]:
    """Tflop by the cost model, of the method that neurolm chooses."""
    from neurolm.encoding.crossval import contiguous_blocks
    from neurolm.encoding.ridge.cost_model import ridge_costs
    from neurolm.encoding.ridge.fold_hats import choose_method

    folds = contiguous_blocks(shape["n"], shape["n_folds"])
    costs = ridge_costs(shape["n"], shape["p"], shape["v"], shape["n_alphas"], folds)
    cost = choose_method(costs, shape["p"], folds, "float32")
    return {"method": cost.method, "total": cost.total / 1e12, "scoring": cost.scoring / 1e12}  # type: ignore[dict-item]


# -- how it is measured -----------------------------------------------------------------------


def side_by_side(script: str, systems: Any, settings: dict[str, Any], rounds: int, threads: int) -> dict[str, dict[str, Any]]:
    """One fresh process per system and round, in turns."""
    rows: dict[str, dict[str, Any]] = {system: {"wall": [], "cpu": [], "mib": []} for system in systems}
    for round_number in range(rounds):
        for system in systems:
            measured = in_own_process(script, {**settings, "system": system}, threads)
            for key in ("wall", "cpu", "mib"):
                rows[system][key].append(measured[key])
            rows[system].update(chosen=measured["chosen"], score=measured["score"])
            print(
                f"  round {round_number + 1}: {system:32s} {measured['wall']:8.1f} s wall {measured['cpu']:8.1f} s cpu",
                flush=True,
            )
    return rows


def in_own_process(script: str, settings: dict[str, Any], threads: int) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.npz")
        subprocess.run(
            [sys.executable, script, "--worker", json.dumps({**settings, "out": out})],
            env={**os.environ, **dict.fromkeys(names, str(threads))},
            check=True,
        )
        with np.load(out) as arrays:
            return {**{k: float(arrays[k]) for k in ("wall", "cpu", "mib")}, "chosen": arrays["chosen"], "score": arrays["score"]}


def run_worker(settings: dict[str, Any], fit: Any) -> None:
    """In the process of one system: a small fit to warm up, then the measured one."""
    warnings.simplefilter("ignore")
    X, Y = make_data(**settings)
    fit(settings["system"], X[:120, :64].copy(), Y[:120, :50].copy(), settings | {"p": 64})
    gc.collect()
    stop, peak, start = threading.Event(), [0.0], resident_mib()
    watcher = threading.Thread(target=watch, args=(stop, peak))
    watcher.start()
    scoring = watch_scoring() if settings["system"] == "neurolm" else {"s": 0.0, "flop": 0.0}
    wall, cpu = time.perf_counter(), time.process_time()
    chosen, score = fit(settings["system"], X, Y, settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stop.set()
    watcher.join()
    if scoring["s"]:
        speed = scoring["flop"] / scoring["s"] / 1e9
        shares = ", ".join(f"{speed / peak:.0%} of {name}'s {peak:.0f}" for name, peak in peaks().items())
        print(f"  scoring: {scoring['flop'] / 1e12:.3f} Tflop in {scoring['s']:.2f} s, {speed:.0f} Gflop/s: {shares}")
    np.savez(settings["out"], wall=wall, cpu=cpu, mib=max(0.0, peak[0] - start), chosen=chosen, score=score)


def peaks(n: int = 3000) -> dict[str, float]:
    """Gflop/s of products of n x n in float32, by library."""
    import torch

    from neurolm import products

    a = torch.ones(n, n)
    ways = {"OpenBLAS": lambda: a.numpy() @ a.numpy(), "torch.mm": lambda: torch.mm(a, a)}
    if products.has_onednn():
        ways["oneDNN"] = lambda: products.matmul(a, a)
    found = {}
    for name, multiply in ways.items():
        best = np.inf
        for _ in range(4):
            start = time.perf_counter()
            multiply()
            best = min(best, time.perf_counter() - start)
        found[name] = 2 * n**3 / best / 1e9
    return found


def watch_scoring() -> dict[str, float]:
    """Seconds and floating point operations of scoring in neurolm, reductions included, as they add up."""
    from neurolm.encoding.ridge import fold_scores

    total, score_fold = {"s": 0.0, "flop": 0.0}, fold_scores.score_fold

    def timed(algebra: Any, fold: Any, statistic: Any, y_test: Any, scoring: str) -> Any:
        began = time.perf_counter()
        scores = score_fold(algebra, fold, statistic, y_test, scoring)
        total["s"] += time.perf_counter() - began
        total["flop"] += 2.0 * len(y_test) * np.prod(fold.hats.shape)
        return scores

    fold_scores.score_fold = timed
    return total


def watch(stop: threading.Event, peak: list[float]) -> None:
    while not stop.wait(0.02):
        peak[0] = max(peak[0], resident_mib())


def resident_mib() -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0]) / 1024


def machine(threads: int) -> dict[str, Any]:
    from threadpoolctl import threadpool_info

    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    kernels = sorted({pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"})
    return {"cpu": model, "cores": os.cpu_count(), "threads": threads, "load": os.getloadavg()[0],
            "sgemm_gflops": {name: round(peak) for name, peak in peaks().items()}, "openblas": kernels,
            "python": platform.python_version(), "numpy": np.__version__}  # fmt: skip


def report(shape: dict[str, Any], rows: dict[str, dict[str, Any]], about: dict[str, Any], work: dict[str, Any]) -> dict[str, Any]:
    """Print a table; fail if a system chose other penalties."""
    ours = rows["neurolm"]
    title = ", ".join(f"{k}={v}" for k, v in shape.items())
    print(f"\n{title}; {about['threads']} threads; {work}")
    print(
        "| system | wall s (min, median) | cpu s (min, median) | x wall | x cpu | peak MiB | same penalties | best score differs by |"
    )
    print("|---|---|---|---|---|---|---|---|")
    table = {}
    for system, row in rows.items():
        same = float((row["chosen"] == ours["chosen"]).mean())
        off = float(np.nanmax(np.abs(row["score"] - ours["score"]))) if np.isfinite(row["score"]).any() else float("nan")
        wall, cpu = ([min(row[k]), float(np.median(row[k]))] for k in ("wall", "cpu"))
        ratios = [wall[0] / min(ours["wall"]), cpu[0] / min(ours["cpu"])]
        table[system] = {"wall": row["wall"], "cpu": row["cpu"], "mib": row["mib"], "same": same, "score_off": off}
        print(f"| {system} | {wall[0]:.1f}, {wall[1]:.1f} | {cpu[0]:.1f}, {cpu[1]:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} "
              f"| {max(row['mib']):.0f} | {same:.2%} | {off:.1e} |", flush=True)  # fmt: skip
    for system, row in table.items():
        if system.split("/")[0] not in OTHER_CRITERION and row["same"] < 1 and row["score_off"] > 1e-4:
            raise SystemExit(f"{system} chose other penalties for {1 - row['same']:.2%} of the targets")
    return table


if __name__ == "__main__":
    main()
