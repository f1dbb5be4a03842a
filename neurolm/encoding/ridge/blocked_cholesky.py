"""Factor and inverse of large positive matrices by products of blocks, in memory that is used again.

LAPACK's potrf and potri run at a fraction of the speed of a matrix product and hardly gain from a
second thread. The same steps over blocks are products almost everywhere: what is left of the
diagonal blocks are triangular inverses of a few hundred rows. Ridge factorises a matrix of one size
for every penalty; fresh memory for each costs as much as the arithmetic where pages are expensive,
so the blocks stay.

Every operand lies in memory without gaps and is summed over in the order in which it lies, as the
fastest products want it. That is why parts of the factor are kept in two orientations.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import numpy as np

BLOCK = 256  # rows of a block


class Products(Protocol):
    """What the blocks are computed with."""

    def multiply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """a @ b, C-ordered."""

    def inverse_factor(self, a: np.ndarray) -> np.ndarray | None:
        """L^-1 of the small matrix a = L L'; None if it is not positive definite."""


class BlockedCholesky:
    """L with L L' = scale * a + diag(penalty), one matrix after the other.

    Parameters
    ----------
    n : int
        Rows.
    dtype : float32 or float64
    products : Products
    """

    def __init__(self, n: int, dtype: Any, products: Products) -> None:
        edges = np.linspace(0, n, -(-n // BLOCK) + 1).astype(int)
        self.n, self.dtype, self.products = n, np.dtype(dtype), products
        self.rows = [slice(int(start), int(stop)) for start, stop in itertools.pairwise(edges)]
        sizes = [(rows.start, rows.stop - rows.start) for rows in self.rows]
        self._left = [np.empty((size, start), dtype) for start, size in sizes]  # a row of blocks of L, left of the diagonal
        self._above = [np.empty((start, size), dtype) for start, size in sizes]  # the same, transposed
        self._diagonal: list[np.ndarray] = []  # inverses of the diagonal blocks
        self._half: list[np.ndarray] = []  # columns of blocks of L^-1

    def factorise(self, a: np.ndarray, penalty: Any, scale: float = 1.0) -> bool:
        """False if the matrix is not positive definite. The factor before it is gone."""
        multiply, added = self.products.multiply, np.broadcast_to(penalty, self.n)
        self._diagonal = []
        for k, rows in enumerate(self.rows):
            for i in range(k, len(self.rows)):
                block = np.multiply(a[rows, self.rows[i]], scale, dtype=self.dtype, casting="same_kind", order="C")
                if i == k:
                    block[np.diag_indices(len(block))] += added[rows]
                if k:
                    block -= multiply(self._left[k], self._above[i][: rows.start])
                if i > k:
                    block = multiply(self._diagonal[k], block)
                    self._above[i][rows], self._left[i][:, rows] = block, block.T
                    continue
                inverse = self.products.inverse_factor(block)
                if inverse is None:
                    return False
                self._diagonal.append(inverse)
        return True

    def divide_right(self, h: np.ndarray) -> np.ndarray:
        """h (L L')^-1 for a C-ordered h (m, n), in place."""
        multiply = self.products.multiply
        for k, rows in enumerate(self.rows):  # h L'^-1
            if k:
                h[:, rows] -= multiply(h[:, : rows.start], self._above[k])
            h[:, rows] = multiply(h[:, rows], self._diagonal[k].T)
        for k in reversed(range(len(self.rows))):
            rows, later = self.rows[k], self._above[k + 1 :]
            if later:
                h[:, rows] -= multiply(h[:, rows.stop :], np.concatenate([above[rows] for above in later], axis=1).T)
            h[:, rows] = multiply(h[:, rows], self._diagonal[k])
        return h

    def inverse(self, out: np.ndarray) -> np.ndarray:
        """(L L')^-1, both triangles: L^-T L^-1, as stable as LAPACK's way."""
        self._invert_factor()
        for i, rows in enumerate(self.rows):
            transposed = np.ascontiguousarray(self._below(i, i).T)
            for j in range(i + 1):
                block = self.products.multiply(transposed, self._below(j, i))
                out[self.rows[j], rows] = block.T
                out[rows, self.rows[j]] = (block + block.T) / 2 if i == j else block  # rounding is not symmetric
        return out

    def _invert_factor(self) -> None:
        """L^-1 row of blocks by row of blocks."""
        if not self._half:
            self._half = [
                np.zeros((self.n - self._first(j), rows.stop - rows.start), self.dtype) for j, rows in enumerate(self.rows)
            ]
        for k, rows in enumerate(self.rows):
            self._below(k, k)[: rows.stop - rows.start] = self._diagonal[k]
            negative, left = -self._diagonal[k], np.empty(0)
            for j in range(k):
                first = self._first(j)
                if j % _TOGETHER == 0:
                    left = np.ascontiguousarray(self._left[k][:, first:])
                block = self.products.multiply(left, self._half[j][: rows.start - first])
                self._half[j][rows.start - first : rows.stop - first] = self.products.multiply(negative, block)

    def _first(self, j: int) -> int:
        """The row that column of blocks `j` of L^-1 is kept from: zeros down to the diagonal, so that some share it."""
        return self.rows[j - j % _TOGETHER].start

    def _below(self, j: int, i: int) -> np.ndarray:
        """Column of blocks `j` of L^-1 from row of blocks `i` on."""
        return self._half[j][self.rows[i].start - self._first(j) :]


_TOGETHER = 4  # columns of blocks of L^-1 that are multiplied with one copy of a row of blocks of L
