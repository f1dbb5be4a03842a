"""What a ridge fit will take, before it starts: gigabytes, operations, time, and voxels at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.crossval import Fold, contiguous_blocks
from neurolm.encoding.ridge.cost_model import Cost, ridge_costs
from neurolm.encoding.ridge.fold_hats import HATS_BYTES, choose_method
from neurolm.encoding.ridge.linear_algebra import CpuAlgebra
from neurolm.encoding.ridge.onednn_algebra import suited_to
from neurolm.encoding.ridge.ridge_search import REFIT_BYTES, bytes_per_target, targets_batch

# Share of the speed of a large product that each part reaches (benchmarks/results/ridge.md).
SETUP_SPEED, SCORING_SPEED = 0.3, 0.85


@dataclass(frozen=True)
class Preflight:
    """Numbers to look at before a long fit; `str` gives a table.

    gigabytes : by what takes them; weights count as nothing when they go to a file
    cost : operations of set-up, scoring and refit, of all draws together
    gflops : speed that `seconds` assumes
    n_targets_batch : voxels at a time that fit into `memory_gb`
    """

    shape: tuple[int, int, int]
    n_alphas: int
    n_folds: int
    cost: Cost
    gigabytes: Mapping[str, float]
    gflops: float
    n_targets_batch: int
    memory_gb: float

    @property
    def total_gb(self) -> float:
        return sum(self.gigabytes.values())

    @property
    def fits(self) -> bool:
        """Whether everything fits into `memory_gb`."""
        return self.total_gb <= self.memory_gb

    @property
    def tflop(self) -> float:
        return self.cost.total / 1e12

    @property
    def seconds(self) -> float:
        slow, fast = self.cost.setup + self.cost.refit, self.cost.scoring
        return (slow / SETUP_SPEED + fast / SCORING_SPEED) / (self.gflops * 1e9)

    def __str__(self) -> str:
        n, p, v = self.shape
        parts = ", ".join(f"{name} {size:.2f}" for name, size in self.gigabytes.items())
        lines = [
            f"{n:,} TRs x {p:,} features x {v:,} voxels, {self.n_alphas} penalties, {self.n_folds} folds: {self.cost.method}",
            f"memory  {self.total_gb:8.2f} GB of {self.memory_gb:.1f} ({parts})",
            f"work    {self.tflop:8.2f} Tflop (set-up {self.cost.setup / 1e12:.2f}, scoring {self.cost.scoring / 1e12:.2f}, "
            f"refit {self.cost.refit / 1e12:.2f})",
            f"time    {self.seconds:8.0f} s at {self.gflops:.0f} Gflop/s",
            f"voxels at a time: {self.n_targets_batch:,}",
        ]
        if not self.fits:
            lines.append("Does not fit: read Y from HDF5, keep weights in a file (coef_file), or use fewer voxels.")
        return "\n".join(lines)


def preflight(
    n_trs: int,
    n_features: int,
    n_targets: int,
    *,
    n_alphas: int,
    cv: int | Sequence[Fold] = 5,
    n_draws: int = 1,
    dtype: str = "float32",
    targets_on_disk: bool = False,
    weights_on_disk: bool = False,
    memory_gb: float | None = None,
    gflops: float | None = None,
    is_gpu: bool = False,
) -> Preflight:
    """Estimate a fit of `RidgeCV`, or with `n_draws` of `BandedRidgeCV`.

    Parameters
    ----------
    cv : int or (train, test) pairs
    targets_on_disk : bool
        Y is an HDF5 dataset; only a batch of it is in memory.
    weights_on_disk : bool
        `coef_file` is given.
    memory_gb : float, optional
        What may be used; 90 % of what is free now by default.
    gflops : float, optional
        Speed of a matrix product in `dtype`; by default measured in a fraction of a second, by the products
        that the fit will be made with.
    """
    if min(n_trs, n_features, n_targets, n_alphas, n_draws) < 1:
        raise bad("sizes", "be >= 1", (n_trs, n_features, n_targets, n_alphas, n_draws))
    folds = contiguous_blocks(n_trs, cv) if isinstance(cv, int) else list(cv)
    one = choose_method(ridge_costs(n_trs, n_features, n_targets, n_alphas, folds), n_features, folds, dtype, banded=n_draws > 1)
    cost = Cost(one.method, one.setup * n_draws, one.scoring * n_draws, one.refit)
    memory_gb = 0.9 * free_memory_gb() if memory_gb is None else memory_gb
    primal = one.method.startswith("primal")
    sizes = _gigabytes(n_trs, n_features, n_targets, n_alphas, folds, primal, np.dtype(dtype).itemsize)
    if targets_on_disk:
        del sizes["Y"]
    if weights_on_disk:
        del sizes["weights"]
    each = bytes_per_target(n_trs, n_features, len(folds), primal, dtype) / 1e9
    room = int((memory_gb - sum(sizes.values())) / each)
    batch = max(1, min(targets_batch(n_trs, n_features, len(folds), primal, dtype, is_gpu), n_targets, room))
    return Preflight(
        (n_trs, n_features, n_targets),
        n_alphas,
        len(folds),
        cost,
        sizes | {"batch": batch * each},
        measure_gflops(dtype, algebra=suited_to(CpuAlgebra(), dtype, cost.total)) if gflops is None else gflops,
        batch,
        memory_gb,
    )


def _gigabytes(n: int, p: int, v: int, A: int, folds: Sequence[Fold], primal: bool, itemsize: int) -> dict[str, float]:
    """Without the batch; X and its Gram matrix count in float32 and float64, as badly conditioned features need.

    That is more than the copies which fast products want take where float32 will do: one of X while its Gram matrix
    is made, three halves of a Gram matrix for the blocks of a factor and its inverse.
    """
    columns = [p if primal else len(train) for train, _ in folds]
    hats = [A * len(test) * q * itemsize for (_, test), q in zip(folds, columns, strict=True)]
    side = p if primal else n
    sizes = {
        "X": n * p * (itemsize + 8),
        "Gram": side**2 * 4 * (itemsize + 8),
        "hats": min(sum(hats), max(HATS_BYTES, max(hats))),
        "Y": n * v * itemsize,
        "weights": p * v * itemsize,
        "refit": min(REFIT_BYTES, max(n, p) * v * itemsize),
        "scores": 2 * A * v * itemsize,
    }
    return {name: size / 1e9 for name, size in sizes.items()}


def measure_gflops(dtype: str = "float32", n: int = 1024, algebra: CpuAlgebra | None = None) -> float:
    """Speed of a matrix product on this CPU now, by numpy or by an algebra: the best of three."""
    a: Any = np.ones((n, n), dtype)
    multiply = np.matmul if algebra is None else algebra.multiply
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        multiply(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def free_memory_gb() -> float:
    """Memory that can be used without swapping, as Linux reports it; what is installed elsewhere."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024 / 1e9
    except (OSError, KeyError):
        import os

        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
