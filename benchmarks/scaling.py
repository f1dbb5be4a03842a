"""How time, memory and disk grow: measured at four sizes or more, beside what the plans count.

Features of a small transformer are extracted into a cache for growing numbers of words, contexts, layers and
models; ridge is fitted for growing numbers of TRs, voxels and features. Each row shows what the plan counted
before (`plan_extraction`, `preflight`) and what was measured; below each table stand the exponents of growth
(1 is linear), counted and measured, by least squares in the logarithms.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py     # about three minutes on one core
    python benchmarks/scaling.py words voxels          # some parts
    python benchmarks/scaling.py --quick               # seconds: only checks that it runs

Seconds are processor seconds of one thread, so that other users of the machine do not matter. Peak memory is
what the process holds at most beyond what it held before. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Numbers = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f}")
    for part in options.parts:
        measure, sizes = PARTS[part]
        if options.quick:
            sizes = [size if size < 100 else size // 4 for size in sizes[:2]]
        measure(sizes[0])  # warms up
        show(part, measure, sizes)


def show(part: str, measure: Callable[[int], tuple[Numbers, Numbers]], sizes: Sequence[int]) -> None:
    """A table, a row for each size as it is measured, and the exponents."""
    print(f"\n## {part}\n\n{(measure.__doc__ or '').strip()}\n")
    print(f"| {part} | GFLOP counted | seconds | GFLOP/s | MB at peak: counted | measured | MB on disk: counted | measured |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for size in sizes:
        counted, measured = measure(size)
        rows.append((counted, measured))
        print(
            f"| {size:,} | {counted['gflop']:.1f} | {measured['seconds']:.2f} | {counted['gflop'] / measured['seconds']:.0f} "
            f"| {counted['peak_mb']:.0f} | {measured['peak_mb']:.0f} | {counted['disk_mb']:.1f} | {measured['disk_mb']:.1f} |",
            flush=True,
        )
    growth = {
        "time": ("gflop", "seconds"),
        "memory": ("peak_mb", "peak_mb"),
        "disk": ("disk_mb", "disk_mb"),
    }
    exponents = [
        f"{name} {exponent(sizes, [row[0][a] for row in rows]):.2f} counted, "
        f"{exponent(sizes, [row[1][b] for row in rows]):.2f} measured"
        for name, (a, b) in growth.items()
    ]
    print(f"\nExponents: {'; '.join(exponents)}.", flush=True)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """By what power of the size the values grow."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def words(n_words: int) -> tuple[Numbers, Numbers]:
    """A sweep of contexts 1 to 16 words, 5 layers of a transformer of 4 blocks and width 128, into a cache."""
    return extraction(n_words, range(1, 17), [4])


def contexts(n_contexts: int) -> tuple[Numbers, Numbers]:
    """A sweep of contexts 1 to so many words of a story of 1,000, 5 layers of the same model, into a cache."""
    return extraction(1000, range(1, n_contexts + 1), [4])


def layers(n_layers: int) -> tuple[Numbers, Numbers]:
    """Context 16 of a story of 1,000 words, all layers of a model with so many blocks."""
    return extraction(1000, [16], [n_layers])


def models(n_models: int) -> tuple[Numbers, Numbers]:
    """Context 16 of a story of 1,000 words, all layers of so many models of 4 blocks, one after the other."""
    return extraction(1000, [16], [4] * n_models)


def extraction(n_words: int, contexts: Sequence[int], depths: Sequence[int]) -> tuple[Numbers, Numbers]:
    """Features of a story of random words from one transformer for each depth."""
    from neurolm.features import FeatureCache, LMStates, plan_extraction
    from neurolm.lm import Transformer, WordTokenizer
    from neurolm.stimuli import ContextWindow, Transcript

    drawn = [f"w{i}" for i in np.random.default_rng(0).integers(0, 500, n_words)]
    onsets = np.arange(float(n_words))
    story = Transcript(drawn, onsets, onsets + 0.5)
    tokenizer = WordTokenizer.from_words([f"w{i}" for i in range(500)])
    with tempfile.TemporaryDirectory() as folder:
        cache, whole = FeatureCache(folder), ContextWindow(max(contexts))
        spaces = [
            LMStates(Transformer(tokenizer, 128, depth, 4, 512, seed=seed).eval(), "all", whole, cache=cache)
            for seed, depth in enumerate(depths)
        ]
        plans = [plan_extraction(space, story, contexts, measure_s=0.0) for space in spaces]
        measured = timed(lambda: [space.sweep(story, contexts) for space in spaces])
        measured["disk_mb"] = sum(path.stat().st_size for path in Path(folder).glob("*.h5")) / 1e6
    counted = {
        "gflop": sum(plan.flops for plan in plans) / 1e9,
        "peak_mb": max(plan.memory_bytes for plan in plans) / 1e6,
        "disk_mb": sum(plan.output_bytes for plan in plans) / 1e6,
    }
    return counted, measured


def trs(n_trs: int) -> tuple[Numbers, Numbers]:
    """Ridge of 512 features on 2,000 voxels, 10 penalties, 5 folds, weights into a file."""
    return fit(n_trs, 512, 2000)


def voxels(n_voxels: int) -> tuple[Numbers, Numbers]:
    """Ridge of 2,000 TRs and 512 features on so many voxels, 10 penalties, 5 folds, weights into a file."""
    return fit(2000, 512, n_voxels)


def columns(n_features: int) -> tuple[Numbers, Numbers]:
    """Ridge of 2,000 TRs and so many features (width times delays) on 2,000 voxels, 10 penalties, 5 folds."""
    return fit(2000, n_features, 2000)


def fit(n_trs: int, n_features: int, n_voxels: int) -> tuple[Numbers, Numbers]:
    """Cross-validated ridge on planted weights."""
    from neurolm.encoding import RidgeCV
    from neurolm.encoding.ridge.preflight import preflight

    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_trs, n_features), dtype=np.float32)
    Y = X[:, :50] @ rng.standard_normal((50, n_voxels), dtype=np.float32)
    Y += 10 * rng.standard_normal(Y.shape, dtype=np.float32)
    plan = preflight(n_trs, n_features, n_voxels, n_alphas=10, cv=5, memory_gb=8, gflops=1, weights_on_disk=True)
    model = RidgeCV(np.logspace(0, 4, 10), cv=5)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a penalty at the edge of the grid
        weights = Path(folder) / "weights.npy"
        measured = timed(lambda: model.fit(X, Y, coef_file=weights))
        measured["disk_mb"] = weights.stat().st_size / 1e6
    counted = {
        "gflop": plan.tflop * 1e3,
        "peak_mb": 1e3 * sum(size for name, size in plan.gigabytes.items() if name not in ("X", "Y")),
        "disk_mb": 4 * n_features * n_voxels / 1e6,
    }
    return counted, measured


def timed(run: Callable[[], Any]) -> Numbers:
    """Processor seconds, and MB at the peak beyond what was held before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before, begun = resident("VmRSS"), time.process_time()
    run()
    return {"seconds": time.process_time() - begun, "peak_mb": max(resident("VmHWM") - before, 0.0)}


def resident(which: str) -> float:
    """Memory of this process now (VmRSS) or at its peak (VmHWM), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(which))


PARTS: dict[str, tuple[Callable[[int], tuple[Numbers, Numbers]], Sequence[int]]] = {
    "words": (words, (500, 1000, 2000, 4000)),
    "contexts": (contexts, (4, 8, 16, 32, 64)),
    "layers": (layers, (2, 4, 8, 16)),
    "models": (models, (1, 2, 4, 8)),
    "trs": (trs, (1000, 2000, 4000, 8000)),
    "voxels": (voxels, (2000, 4000, 8000, 16000)),
    "columns": (columns, (256, 512, 1024, 2048)),
}


if __name__ == "__main__":
    main()
