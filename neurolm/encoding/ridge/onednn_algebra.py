"""The algebra of float32 ridge on a CPU whose fastest products are oneDNN's: `neurolm.products`.

Arrays stay numpy's; torch sees the same memory. OpenBLAS and torch have threads of their own, and
those of either go on spinning for a while after each call: here everything large goes to torch.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from neurolm.encoding.ridge.blocked_cholesky import BlockedCholesky
from neurolm.encoding.ridge.linear_algebra import CpuAlgebra, transpose_into, transposed_copy
from neurolm.products import has_onednn, onednn_linear

MIN_WORK = 1e10  # operations of a whole fit: a twentieth of a second with other products, below which nothing is gained
_ROWS = 512  # of a Gram matrix at a time
_FULL_ROWS = 128  # how many targets share a penalty differs from block to block
_SMALL = 128  # rows up to which LAPACK inverts a triangle, on one thread


class OneDnnAlgebra(CpuAlgebra):
    """numpy arrays; float32 products, factors and inverses by oneDNN, everything else as in `CpuAlgebra`."""

    blocked_from = 257

    def array(self, x: Any, dtype: str) -> np.ndarray:
        array = super().array(x, dtype)
        return array if array.flags.writeable else array.copy()  # torch wants memory that may be written

    def multiply(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        if not (a.dtype == b.dtype == np.float32 and a.size and b.size):
            return super().multiply(a, b, out)
        if a.strides[0] < a.strides[1]:
            a = transposed_copy(a.T, a.dtype)
        product = onednn_linear(_tensor(a), _tensor(b).T, None)
        if out is None:
            return product.numpy()
        _tensor(out).copy_(product)
        return out

    def gram(self, x: np.ndarray) -> np.ndarray:
        if x.dtype != np.float32:
            return super().gram(x)
        edges = np.linspace(0, x.shape[1], -(-x.shape[1] // _ROWS) + 1).astype(int)
        blocks = [slice(start, stop) for start, stop in itertools.pairwise(edges)]
        columns = [x[:, block] if x.flags.f_contiguous else np.ascontiguousarray(x[:, block]) for block in blocks]
        gram = np.empty((x.shape[1], x.shape[1]), x.dtype)
        for i, rows in enumerate(blocks):
            transposed = columns[i].T if x.flags.f_contiguous else transposed_copy(columns[i], x.dtype)
            for j in range(i + 1):
                product = self.multiply(transposed, columns[j])
                if i == j:
                    product = (product + transposed_copy(product, x.dtype)) / 2  # rounding is not symmetric
                else:
                    transpose_into(gram[blocks[j], rows], product)
                gram[rows, blocks[j]] = product
        return gram

    def divide_right(self, h: np.ndarray, factor: np.ndarray | BlockedCholesky) -> np.ndarray:
        """h (L L')^-1 in place. Rows are filled up to round numbers: oneDNN keeps the code that it makes for every new shape."""
        if not len(h) % _FULL_ROWS or not isinstance(factor, BlockedCholesky):
            return super().divide_right(h, factor)
        filled = np.zeros((-(-len(h) // _FULL_ROWS) * _FULL_ROWS, h.shape[1]), h.dtype)
        filled[: len(h)] = h
        h[...] = super().divide_right(filled, factor)[: len(h)]
        return h

    def inverse_factor(self, a: np.ndarray) -> np.ndarray | None:
        """L^-1 of a = L L', by halves; None if a is not positive definite."""
        if a.dtype != np.float32 or len(a) <= _SMALL:
            return super().inverse_factor(a)
        half = len(a) // 2
        first = self.inverse_factor(a[:half, :half])
        if first is None:
            return None
        below = self.multiply(a[half:, :half], first.T)
        second = self.inverse_factor(a[half:, half:] - self.multiply(below, below.T))
        if second is None:
            return None
        inverse = np.zeros_like(a)
        inverse[:half, :half], inverse[half:, half:] = first, second
        inverse[half:, :half] = -self.multiply(self.multiply(second, below), first)
        return inverse


def suited_to(algebra: Any, dtype: str, work: float) -> Any:
    """`algebra`, or oneDNN's for a fit in float32 on the CPU of at least MIN_WORK operations, on a processor that gains by it.

    Decided by the machine and the sizes alone, so that the same input gives the same bytes.
    """
    fits = type(algebra) is CpuAlgebra and dtype == "float32" and work >= MIN_WORK
    return OneDnnAlgebra() if fits and has_onednn() else algebra


def _tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x)
