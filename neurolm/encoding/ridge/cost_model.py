"""How many floating point operations each exact way to cross-validate ridge takes.

The way is chosen by these counts and never guessed. Notation as in `solvers`: n TRs,
p features, K folds, A penalties; n_T, n_E, n_B the rows of a fold that are fitted, not
fitted and tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurolm.encoding.crossval import Fold

# One flop of a symmetric eigendecomposition takes about as long as three of a matrix product
# (measured with OpenBLAS and MKL at 1000 to 3000 columns: 30 to 40 per cent of sgemm's speed).
EIGH_FLOPS = 3 * 9

METHODS = ("primal_downdate", "primal_leave_out", "dual_downdate", "dual_leave_out")


@dataclass(frozen=True)
class Cost:
    """Floating point operations of one way to fit, from Gram matrices to weights."""

    method: str
    setup: float
    scoring: float
    refit: float

    @property
    def total(self) -> float:
        return self.setup + self.scoring + self.refit


def ridge_costs(n: int, p: int, n_targets: int, n_alphas: int, folds: Sequence[Fold]) -> dict[str, Cost]:
    """The cost of every method, by name."""
    sizes = [(len(train), n - len(train), len(test)) for train, test in folds]
    A, v = n_alphas, n_targets
    primal_refit = A * p**3 / 3 + 2 * p**2 * v
    dual_refit = A * n**3 / 3 + 2 * n**2 * v + 2 * n * p * v
    setup = {
        "primal_downdate": n * p**2
        + sum(min(n_t, n_e) * p**2 + A * (p**3 / 3 + 2 * scored_rows(n_b, p) * p**2) for n_t, n_e, n_b in sizes),
        "primal_leave_out": 3 * n * p**2 + EIGH_FLOPS * p**3 + A * sum(3 * n_e**2 * p + n_e**3 / 3 for _, n_e, _ in sizes),
        "dual_downdate": n**2 * p + A * sum(n_t**3 / 3 + 2 * n_t**2 * n_b for n_t, _, n_b in sizes),
        "dual_leave_out": n**2 * p + A * (n**3 + sum(n_e**3 / 3 + 2 * n_e**2 * n_t for n_t, n_e, _ in sizes)),
    }
    statistics = 2 * p * v * sum(n_e for _, n_e, _ in sizes)
    scoring = {
        "primal_downdate": statistics + 2 * p * v * sum(_score_one_fold(n_b, p, A) for _, _, n_b in sizes),
        "primal_leave_out": statistics + 2 * p * v * A * sum(n_b for _, _, n_b in sizes),
        "dual_downdate": 2 * v * A * sum(n_b * n_t for n_t, _, n_b in sizes),
        "dual_leave_out": 2 * v * A * sum(n_b * n_t for n_t, _, n_b in sizes),
    }
    return {
        m: Cost(m, float(setup[m]), float(scoring[m]), float(primal_refit if m.startswith("primal") else dual_refit))
        for m in METHODS
    }


def cheapest(costs: dict[str, Cost]) -> Cost:
    """The method with the fewest operations in all."""
    return min(costs.values(), key=lambda cost: cost.total)


def scored_rows(n_test: int, p: int) -> int:
    """Rows that predictions are scored on: a QR decomposition turns more than p of them into p."""
    return min(n_test, p)


def _score_one_fold(n_test: int, p: int, n_alphas: int) -> float:
    """In units of 2 p v: the products with the hats, and the projection of the targets if compressed."""
    return n_alphas * scored_rows(n_test, p) + (n_test if n_test > p else 0)
