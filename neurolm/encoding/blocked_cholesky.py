"""Factor and inverse of large positive matrices from products of blocks, in memory that is used again.

LAPACK's potrf and potri hardly gain from a second thread (measured with OpenBLAS at n = 3000: 60 and 50
Gflop/s of 250). The same steps over contiguous blocks are matrix products almost everywhere. Ridge
factorises a matrix of one size for every penalty; fresh memory for each costs as much as the
arithmetic where pages are expensive, so the blocks stay.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

BLOCK = 768  # rows of a block; matrices of up to two blocks are better left to LAPACK

Blocks = dict[tuple[int, int], np.ndarray]


class BlockedCholesky:
    """L with L L' = scale * a + diag(penalty), one matrix after the other.

    Parameters
    ----------
    n : int
        Rows.
    dtype : float32 or float64
    """

    def __init__(self, n: int, dtype: Any) -> None:
        edges = np.linspace(0, n, -(-n // BLOCK) + 1).astype(int)
        self.n, self.dtype = n, np.dtype(dtype)
        self.rows = [slice(int(start), int(stop)) for start, stop in itertools.pairwise(edges)]
        self.factor, self._half = self._empty(), Blocks()
        single = self.dtype == np.float32
        self._potrf = lapack.spotrf if single else lapack.dpotrf
        self._gemm, self._trsm = (blas.sgemm, blas.strsm) if single else (blas.dgemm, blas.dtrsm)

    def factorise(self, a: np.ndarray, penalty: Any, scale: float = 1.0) -> bool:
        """False if the matrix is not positive definite. The factor before it is gone."""
        added = np.broadcast_to(penalty, self.n)
        for (i, j), block in self.factor.items():
            np.multiply(a[self.rows[i], self.rows[j]], scale, out=block, casting="same_kind")
            if i == j:
                block[np.diag_indices(len(block))] += added[self.rows[i]]
        return all(self._eliminate(k) for k in range(len(self.rows)))

    def _eliminate(self, k: int) -> bool:
        factor, last = self.factor, len(self.rows)
        _, info = self._potrf(factor[k, k], lower=1, clean=1, overwrite_a=1)
        if info != 0:
            return False
        for i in range(k + 1, last):
            self._trsm(1.0, factor[k, k], factor[i, k], side=1, lower=1, trans_a=1, overwrite_b=1)
        for i in range(k + 1, last):
            for j in range(k + 1, i + 1):
                self._gemm(-1.0, factor[i, k], factor[j, k], trans_b=1, beta=1.0, c=factor[i, j], overwrite_c=1)
        return True

    def divide_right(self, h: np.ndarray) -> np.ndarray:
        """h (L L')^-1 for a C-ordered h (m, n), in place."""
        factor, last = self.factor, len(self.rows)
        parts = [np.asfortranarray(h[:, rows].T) for rows in self.rows]  # h': (rows of a block, m)
        for i in range(last):
            for k in range(i):
                self._gemm(-1.0, factor[i, k], parts[k], beta=1.0, c=parts[i], overwrite_c=1)
            self._trsm(1.0, factor[i, i], parts[i], lower=1, overwrite_b=1)
        for i in reversed(range(last)):
            for k in range(i + 1, last):
                self._gemm(-1.0, factor[k, i], parts[k], trans_a=1, beta=1.0, c=parts[i], overwrite_c=1)
            self._trsm(1.0, factor[i, i], parts[i], lower=1, trans_a=1, overwrite_b=1)
        for rows, part in zip(self.rows, parts):
            h[:, rows] = part.T
        return h

    def inverse(self, out: np.ndarray) -> np.ndarray:
        """(L L')^-1, both triangles: L^-T L^-1, as stable as LAPACK's way."""
        self._invert_factor()
        last = len(self.rows)
        for i in range(last):
            for j in range(i + 1):
                block = self._gemm(1.0, self._half[i, i], self._half[i, j], trans_a=1)
                for k in range(i + 1, last):
                    block = self._gemm(1.0, self._half[k, i], self._half[k, j], trans_a=1, beta=1.0, c=block, overwrite_c=1)
                out[self.rows[j], self.rows[i]] = block.T
                out[self.rows[i], self.rows[j]] = (block + block.T) / 2 if i == j else block  # rounding is not symmetric
        return out

    def _invert_factor(self) -> None:
        """L^-1, column of blocks by column of blocks."""
        self._half = half = self._half or self._empty()
        for j in range(len(self.rows)):
            half[j, j][:] = np.eye(len(half[j, j]), dtype=self.dtype)
            self._trsm(1.0, self.factor[j, j], half[j, j], lower=1, overwrite_b=1)
            for i in range(j + 1, len(self.rows)):
                for k in range(j, i):
                    beta = 0.0 if k == j else 1.0
                    self._gemm(-1.0, self.factor[i, k], half[k, j], beta=beta, c=half[i, j], overwrite_c=1)
                self._trsm(1.0, self.factor[i, i], half[i, j], lower=1, overwrite_b=1)

    def _empty(self) -> Blocks:
        """Fortran-ordered blocks of a lower triangle, which BLAS changes in place."""
        sizes = [rows.stop - rows.start for rows in self.rows]
        return {(i, j): np.zeros((sizes[i], sizes[j]), self.dtype, order="F") for i in range(len(sizes)) for j in range(i + 1)}
