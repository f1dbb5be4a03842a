"""The few factorisations that ridge needs, on the CPU (numpy, LAPACK) or on a GPU (torch).

Both classes do the same with their own arrays, so that the solvers are written once.
LAPACK works in place on Fortran-ordered memory; a C-ordered (m, q) hat matrix is a
Fortran-ordered (q, m) right-hand side, and so nothing is copied.

Products on the CPU go through scipy's BLAS, as the factorisations do. numpy brings a BLAS of its
own with threads of its own; those of either go on spinning for a while after each call, so that
a loop that alternates between the two runs at half speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

from neurolm.arrays import is_torch, to_numpy
from neurolm.checks import bad, check_choice
from neurolm.encoding.ridge.blocked_cholesky import BlockedCholesky

_ROWS_AT_A_TIME = 16  # of a transposed copy: their cache lines stay until all of each is used
_TILE = 256  # tiles of a triangle that are copied at once: two of them fit the L2 cache


class CpuAlgebra:
    """numpy arrays, BLAS and LAPACK."""

    xp: Any = np
    device = "cpu"
    blocked_from = 1537  # rows from which matrices are factorised in blocks; smaller ones are better left to LAPACK

    def __init__(self) -> None:
        self._kept: dict[tuple[int, np.dtype], BlockedCholesky] = {}

    def array(self, x: Any, dtype: str) -> np.ndarray:
        """`x` as a C-ordered array of `dtype`; copied only where it must be."""
        return np.ascontiguousarray(to_numpy(x), dtype=dtype)

    def transposed(self, x: Any) -> np.ndarray:
        """A C-ordered copy of x.T, in float32 if x is, else in float64."""
        x = to_numpy(x)
        return transposed_copy(x, np.float32 if x.dtype == np.float32 else np.float64)

    def empty(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.empty(shape, dtype)

    def columns(self, x: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """x[:, columns] for rising columns: a view where they are contiguous, slabs where nearly so."""
        slices = as_slices(columns)
        if len(slices) == 1:
            return x[:, slices[0]]
        return x[:, columns] if len(slices) > 8 else np.concatenate([x[:, s] for s in slices], axis=1)

    def rows(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """x[rows] for rising rows."""
        return self.columns(x.T, rows).T

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def astype(self, x: np.ndarray, dtype: Any) -> np.ndarray:
        return x.astype(dtype, copy=False)

    def copy(self, x: np.ndarray) -> np.ndarray:
        """A C-ordered copy that may be overwritten."""
        return np.array(x, order="C")

    def numpy(self, x: np.ndarray) -> np.ndarray:
        return x

    def multiply(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """a @ b, C-ordered; into a C-ordered `out` where given."""
        if not (a.size and b.size):
            return a @ b
        gemm = blas.sgemm if a.dtype == np.float32 else blas.dgemm
        (left, trans_left), (right, trans_right) = _fortran(b), _fortran(a)  # out' = b' a'
        into = {} if out is None else {"c": out.T, "overwrite_c": 1}
        product = gemm(1.0, left, right, trans_a=trans_left, trans_b=trans_right, **into).T
        return product if out is None else _in_place(out, product)

    def gram(self, x: np.ndarray) -> np.ndarray:
        """x' x, both triangles, at half the cost of a product."""
        syrk = blas.ssyrk if x.dtype == np.float32 else blas.dsyrk
        rows, transposed = _fortran(x)
        product = syrk(1.0, rows, trans=transposed, lower=1)
        _mirror_lower(product)
        return product

    def cholesky(self, gram: np.ndarray, penalty: Any) -> np.ndarray | BlockedCholesky:
        """Factor of gram + diag(penalty), for `divide_right`; a large one is valid until the next of its size is asked for."""
        if len(gram) >= self.blocked_from:
            return self._blocked(gram, penalty, 1.0)
        factor = np.array(gram, order="C").T  # symmetric: the transpose is the Fortran-ordered copy
        factor[np.diag_indices(len(factor))] += penalty
        factor, info = _lapack("potrf", factor)(factor, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise not_positive()
        return factor

    def inverse_of(self, gram: np.ndarray, penalty: float, scale: float = 1.0, out: np.ndarray | None = None) -> np.ndarray:
        """(scale * gram + penalty I)^-1, both triangles; a large one is written to `out` where given."""
        if len(gram) >= self.blocked_from:
            return self._blocked(gram, penalty, scale).inverse(np.empty(gram.shape, gram.dtype) if out is None else out)
        factor = self.cholesky(gram if scale == 1 else gram * gram.dtype.type(scale), penalty)
        assert isinstance(factor, np.ndarray)
        inverse, _ = _lapack("potri", factor)(factor, lower=1, overwrite_c=1)
        _mirror_lower(inverse)
        return inverse.T

    def _blocked(self, gram: np.ndarray, penalty: Any, scale: float) -> BlockedCholesky:
        size = len(gram), gram.dtype
        if size not in self._kept:
            self._kept[size] = BlockedCholesky(*size, self)
        if not self._kept[size].factorise(gram, penalty, scale):
            raise not_positive()
        return self._kept[size]

    def inverse_factor(self, a: np.ndarray) -> np.ndarray | None:
        """L^-1 of a = L L', C-ordered; None if a is not positive definite."""
        upper, info = _lapack("potrf", a)(a.T, lower=0, clean=1)  # U = L' of the transpose, which is a as well
        return None if info != 0 else _lapack("trtri", a)(upper, lower=0, overwrite_c=1)[0].T

    def divide_right(self, h: np.ndarray, factor: np.ndarray | BlockedCholesky) -> np.ndarray:
        """h (L L')^-1 for a C-ordered h (m, q), in place."""
        if isinstance(factor, BlockedCholesky):
            return factor.divide_right(h)
        solution, _ = _lapack("potrs", factor)(factor, h.T, lower=1, overwrite_b=1)
        return _in_place(h, solution.T)

    def eigh(self, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (rising, rounded up to zero) and eigenvectors in columns."""
        values, vectors = np.linalg.eigh(gram)
        return values.clip(0), vectors


class TorchAlgebra:
    """The same on a torch device."""

    def __init__(self, device: str) -> None:
        import torch

        self.xp: Any = torch
        self.device = device

    def array(self, x: Any, dtype: str) -> Any:
        if not is_torch(x):
            x = np.ascontiguousarray(x)
            x = self.xp.from_numpy(x if x.flags.writeable else x.copy())
        return x.detach().to(self.device, getattr(self.xp, dtype)).contiguous()

    def transposed(self, x: Any) -> Any:
        x = x.detach() if is_torch(x) else self.xp.from_numpy(np.array(x, order="C"))
        rows = x.to(self.device).T.clone(memory_format=self.xp.contiguous_format)
        return rows if rows.dtype == self.xp.float32 else rows.double()

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return self.xp.empty(shape, dtype=getattr(self.xp, dtype), device=self.device)

    def columns(self, x: Any, columns: np.ndarray) -> Any:
        slices = as_slices(columns)
        return x[:, slices[0]] if len(slices) == 1 else x[:, self.xp.as_tensor(columns, device=self.device)]

    def rows(self, x: Any, rows: np.ndarray) -> Any:
        return self.columns(x.T, rows).T

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self.xp.zeros(shape, dtype=dtype, device=self.device)

    def astype(self, x: Any, dtype: Any) -> Any:
        return x.to(getattr(self.xp, dtype) if isinstance(dtype, str) else dtype)

    def copy(self, x: Any) -> Any:
        return x.clone(memory_format=self.xp.contiguous_format)

    def numpy(self, x: Any) -> np.ndarray:
        return x.detach().cpu().numpy()

    def multiply(self, a: Any, b: Any, out: Any = None) -> Any:
        return self.xp.matmul(a, b, out=out)

    def gram(self, x: Any) -> Any:
        return x.T @ x

    def cholesky(self, gram: Any, penalty: Any) -> Any:
        shifted = gram.clone()
        shifted.diagonal().add_(self.xp.as_tensor(penalty, dtype=gram.dtype, device=gram.device))
        factor, info = self.xp.linalg.cholesky_ex(shifted)
        if int(info) != 0:
            raise not_positive()
        return factor

    def inverse_of(self, gram: Any, penalty: float, scale: float = 1.0, out: Any = None) -> Any:
        return self.xp.cholesky_inverse(self.cholesky(gram if scale == 1 else gram * scale, penalty))

    def divide_right(self, h: Any, factor: Any) -> Any:
        return h.copy_(self.xp.cholesky_solve(h.T.contiguous(), factor).T)

    def eigh(self, gram: Any) -> tuple[Any, Any]:
        values, vectors = self.xp.linalg.eigh(gram)
        return values.clamp(min=0), vectors


Algebra = CpuAlgebra | TorchAlgebra


def transposed_copy(x: np.ndarray, dtype: Any) -> np.ndarray:
    """x.T, C-ordered."""
    copy = np.empty(x.shape[::-1], dtype)
    transpose_into(copy, x)
    return copy


def transpose_into(out: np.ndarray, x: np.ndarray) -> None:
    """out = x.T, a few rows of x at a time: up to ten times as fast as numpy where rows lie a power of two apart."""
    for start in range(0, len(x), _ROWS_AT_A_TIME):
        out[:, start : start + _ROWS_AT_A_TIME] = x[start : start + _ROWS_AT_A_TIME].T


def algebra_for(device: str, X: Any) -> Algebra:
    """Where to compute: `device`, or with "auto" where a tensor lives, else a GPU if there is one."""
    check_choice("device", str(device).split(":")[0], ["auto", "cpu", "cuda"])
    if device == "auto":
        device = str(X.device) if is_torch(X) and X.is_cuda else "cuda" if _has_cuda() else "cpu"
    if device == "cpu":
        return CpuAlgebra()
    if not _has_cuda():
        raise bad("device", "be there", device, 'No CUDA device was found; use device="cpu" or "auto".')
    return TorchAlgebra(str(device))


def like_input(x: Any, example: Any) -> Any:
    """`x` as the kind (and on the device) of `example`: numpy for numpy, torch for torch."""
    if is_torch(example):
        import torch

        return torch.as_tensor(x).to(example.device)
    return to_numpy(x)


def as_slices(rows: np.ndarray) -> list[slice]:
    """Rising rows as the fewest slices."""
    ends = np.flatnonzero(np.diff(rows) != 1) + 1
    return [slice(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, ends) if len(part)]


def largest_eigenvalue(gram: Any, n_steps: int = 30) -> float:
    """By power iteration, to a few per cent: enough to judge the conditioning."""
    vector = gram.sum(1) + gram.diagonal().max()
    for _ in range(n_steps):
        norm = float((vector * vector).sum()) ** 0.5
        if norm == 0:
            return 0.0
        vector = gram @ (vector / norm)
    return float((vector * vector).sum()) ** 0.5


def not_positive() -> Exception:
    return bad(
        "alphas",
        "be large enough that X'X + alpha I can be factorised",
        "a matrix that is not positive",
        "Use dtype='float64' or larger penalties.",
    )


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _lapack(name: str, x: np.ndarray) -> Any:
    return getattr(lapack, ("s" if x.dtype == np.float32 else "d") + name)


def _fortran(x: np.ndarray) -> tuple[np.ndarray, int]:
    """The transpose of x as BLAS takes it: a Fortran-ordered array, and whether that is to be transposed."""
    return (x, 1) if x.flags.f_contiguous and not x.flags.c_contiguous else (np.ascontiguousarray(x).T, 0)


def _in_place(h: np.ndarray, solution: np.ndarray) -> np.ndarray:
    if not np.shares_memory(h, solution):
        h[...] = solution
    return h


def _mirror_lower(a: np.ndarray) -> None:
    """Copy the lower triangle to the upper one, tile by tile."""
    n = len(a)
    for i in range(0, n, _TILE):
        for j in range(0, i, _TILE):
            a[j : j + _TILE, i : i + _TILE] = a[i : i + _TILE, j : j + _TILE].T
        corner = a[i : i + _TILE, i : i + _TILE]
        upper = np.triu_indices(len(corner), 1)
        corner[upper] = corner.T[upper]
