"""Factor and inverse of a large positive matrix from products of blocks.

LAPACK's potrf and potri hardly gain from a second thread (measured with OpenBLAS at n = 3000: 60 and 50
Gflop/s of 250). The same steps over contiguous blocks are matrix products almost everywhere.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

BLOCK = 768  # rows of a block; smaller matrices are better left to LAPACK

Blocks = dict[tuple[int, int], np.ndarray]


def cholesky_factor(a: np.ndarray) -> np.ndarray | None:
    """Lower factor L of a = L L', Fortran-ordered, nothing above its diagonal blocks; None if `a` is not positive definite."""
    rows = _rows(len(a))
    blocks = _cholesky(_lower_blocks(a, rows), len(rows))
    if blocks is None:
        return None
    factor = np.empty_like(a, order="F")
    for (i, j), block in blocks.items():
        factor[rows[i], rows[j]] = block
    return factor


def inverse_of_positive(a: np.ndarray) -> np.ndarray | None:
    """a^-1 of a symmetric matrix, both triangles, C-ordered; None if `a` is not positive definite.

    Cholesky factor L, its inverse, and L^-T L^-1: as stable as LAPACK's way.
    """
    rows = _rows(len(a))
    n_blocks = len(rows)
    factor = _cholesky(_lower_blocks(a, rows), n_blocks)
    if factor is None:
        return None
    half = _triangular_inverse(factor, n_blocks)
    inverse = np.empty_like(a, order="C")
    for i in range(n_blocks):
        for j in range(i + 1):
            block = _product_of_columns(half, i, j, n_blocks)
            inverse[rows[j], rows[i]] = block.T
            inverse[rows[i], rows[j]] = (block + block.T) / 2 if i == j else block  # rounding is not symmetric
    return inverse


def _rows(n: int) -> list[slice]:
    """Blocks of about the same size."""
    edges = np.linspace(0, n, -(-n // BLOCK) + 1).astype(int)
    return [slice(int(start), int(stop)) for start, stop in itertools.pairwise(edges)]


def _lower_blocks(a: np.ndarray, rows: list[slice]) -> Blocks:
    return {(i, j): np.array(a[rows[i], rows[j]], order="F") for i in range(len(rows)) for j in range(i + 1)}


def _cholesky(a: Blocks, n: int) -> Blocks | None:
    """Lower factor, in the place of a; None where a pivot is not positive."""
    potrf, gemm, trsm = _routines(a[0, 0])
    for k in range(n):
        a[k, k], info = potrf(a[k, k], lower=1, clean=1, overwrite_a=1)
        if info != 0:
            return None
        for i in range(k + 1, n):
            a[i, k] = trsm(1.0, a[k, k], a[i, k], side=1, lower=1, trans_a=1, overwrite_b=1)
        for i in range(k + 1, n):
            for j in range(k + 1, i + 1):
                a[i, j] = gemm(-1.0, a[i, k], a[j, k], trans_b=1, beta=1.0, c=a[i, j], overwrite_c=1)
    return a


def _triangular_inverse(factor: Blocks, n: int) -> Blocks:
    """L^-1, column of blocks by column of blocks."""
    _, gemm, trsm = _routines(factor[0, 0])
    inverse: Blocks = {}
    for j in range(n):
        identity = np.eye(len(factor[j, j]), dtype=factor[j, j].dtype, order="F")
        inverse[j, j] = trsm(1.0, factor[j, j], identity, lower=1, overwrite_b=1)
        for i in range(j + 1, n):
            total = gemm(-1.0, factor[i, j], inverse[j, j])
            for k in range(j + 1, i):
                total = gemm(-1.0, factor[i, k], inverse[k, j], beta=1.0, c=total, overwrite_c=1)
            inverse[i, j] = trsm(1.0, factor[i, i], total, lower=1, overwrite_b=1)
    return inverse


def _product_of_columns(half: Blocks, i: int, j: int, n: int) -> np.ndarray:
    """Block (i, j) of half' half, i >= j."""
    _, gemm, _ = _routines(half[i, i])
    total = gemm(1.0, half[i, i], half[i, j], trans_a=1)
    for k in range(i + 1, n):
        total = gemm(1.0, half[k, i], half[k, j], trans_a=1, beta=1.0, c=total, overwrite_c=1)
    return total


def _routines(x: np.ndarray) -> tuple[Any, Any, Any]:
    if x.dtype == np.float32:
        return lapack.spotrf, blas.sgemm, blas.strsm
    return lapack.dpotrf, blas.dgemm, blas.dtrsm
