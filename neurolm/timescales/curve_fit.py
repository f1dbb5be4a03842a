"""Least squares for many small curves at once: one Levenberg-Marquardt step for all voxels together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurolm.checks import check_same_length

Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def fit_curves(
    model: Model, y: np.ndarray, start: np.ndarray, bounds: np.ndarray, n_steps: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the same curve to every column of y.

    Parameters
    ----------
    model : function of parameters (n_voxels, n_parameters)
        Returns values (n_voxels, n_points) and derivatives (n_voxels, n_points, n_parameters).
    y : array of shape (n_points, n_voxels)
    start : array of shape (n_voxels, n_parameters)
    bounds : array of shape (2, n_parameters)
        Steps that leave them end on them.
    n_steps : int

    Returns
    -------
    parameters : array of shape (n_voxels, n_parameters)
    cost : array of shape (n_voxels,)
        Sum of squared residuals; never larger than at the start.
    """
    check_same_length("columns of y", y.shape[1], "start", len(start))
    target, best = y.T, np.clip(start, *bounds)
    values, slopes = model(best)
    cost = ((target - values) ** 2).sum(1)
    damping = np.full(len(best), 1e-2)
    for _ in range(n_steps):
        gram = np.einsum("vpi,vpj->vij", slopes, slopes)
        pull = np.einsum("vpi,vp->vi", slopes, target - values)
        diagonal = np.einsum("vii->vi", gram)
        damped = gram + np.einsum("vi,ij->vij", damping[:, None] * diagonal + 1e-9, np.eye(best.shape[1]))
        tried = np.clip(best + np.linalg.solve(damped, pull[..., None])[..., 0], *bounds)
        new_values, new_slopes = model(tried)
        new_cost = ((target - new_values) ** 2).sum(1)
        better = new_cost < cost
        best = np.where(better[:, None], tried, best)
        values = np.where(better[:, None], new_values, values)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        cost = np.where(better, new_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
    return best, cost
