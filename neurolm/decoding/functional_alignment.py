"""Decode one listener with the model of another: map the goal's voxels onto the reference's.

Both heard (or saw) the same thing for a while; a linear map from the goal's responses to the
reference's is learned there and carries the goal's other runs into the reference's voxels.

References
----------
Tang & Huth (2025), Current Biology (semantic decoders transferred between participants by functional alignment).
Schonemann (1966), Psychometrika 31:1-10 (orthogonal Procrustes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import linalg

from neurolm.brain import BoldRun
from neurolm.brain.space import Space, space_arrays, space_from_arrays
from neurolm.checks import bad, check_choice, check_finite, check_same_length

METHODS = ("ridge", "procrustes")


class FunctionalAlignment:
    """A linear map from a goal listener's voxels to a reference listener's.

    Parameters
    ----------
    method : {"ridge", "procrustes"}
        Ridge predicts every reference voxel from all goal voxels, with a penalty of its own.
        Procrustes takes the rotation (with one scale) that brings the goal's pattern of responses
        onto the reference's; it keeps distances between TRs and cannot overfit single voxels.
    alphas : sequence of float
        Penalties for ridge, chosen by cross-validation over runs (5 blocks of a single run).

    Attributes
    ----------
    map_ : (n_goal_voxels, n_reference_voxels)
    space_ : Space of the reference
    """

    map_: np.ndarray
    space_: Space

    def __init__(self, method: str = "ridge", alphas: Sequence[float] = tuple(np.logspace(0, 6, 13))) -> None:
        self.method = method
        self.alphas = alphas

    def fit(self, goal: Sequence[BoldRun], reference: Sequence[BoldRun]) -> FunctionalAlignment:
        """Learn the map from runs in which both had the same stimulus, TR by TR.

        Voxels of each run are centred first; runs of a pair must have the same TR times.
        """
        from neurolm.encoding import RidgeCV, contiguous_blocks, leave_one_run_out

        check_choice("method", self.method, METHODS)
        check_same_length("goal", len(goal), "reference", len(reference), "Give pairs of runs with the same stimulus.")
        if not goal:
            raise bad("goal", "hold at least one run", "none")
        for a, b in zip(goal, reference):
            if a.n_trs != b.n_trs or not np.allclose(a.tr_times, b.tr_times, atol=1e-3):
                raise bad(
                    f"TR times of {a.subject} and {b.subject} in {a.story or 'a pair of runs'}",
                    "be the same",
                    f"{a.n_trs} TRs from {a.tr_times[0]:g} s and {b.n_trs} TRs from {b.tr_times[0]:g} s",
                    "Cut both to the time that they share.",
                )
        X, Y = _stack(goal, "goal"), _stack(reference, "reference")
        if self.method == "ridge":
            onsets = np.cumsum([0, *(run.n_trs for run in goal[:-1])])
            cv: Any = leave_one_run_out(onsets, len(X)) if len(goal) > 1 else contiguous_blocks(len(X), 5, gap=5)
            self.map_ = RidgeCV(self.alphas, cv=cv, scoring="correlation", device="cpu").fit(X, Y).coef_.astype(np.float64)
        else:
            u, s, vt = linalg.svd(X.T @ Y, full_matrices=False)
            self.map_ = (u @ vt) * (s.sum() / (X**2).sum())
        self.space_ = reference[0].space
        return self

    def transform(self, run: BoldRun) -> BoldRun:
        """A run of the goal in the reference's voxels, each with mean 0 and standard deviation 1 in the run.

        The encoding model and noise model of the reference expect BOLD of unit variance; a prediction
        by ridge is smaller than what it predicts.
        """
        if not hasattr(self, "map_"):
            raise bad("this FunctionalAlignment", "be fitted first", "no map", "Call fit(goal, reference).")
        check_same_length("voxels of the run", run.n_voxels, "voxels of the goal", len(self.map_))
        check_finite(f"BOLD of {run.subject or 'the goal'}", run.data, "Leave constant and NaN voxels out.")
        from neurolm.brain.preprocess import zscore_run

        data = run.data.astype(np.float64)
        mapped = (data - data.mean(axis=0)) @ self.map_
        return zscore_run(BoldRun(mapped, run.tr_times, self.space_, run.subject, run.story))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As (arrays, attributes) for HDF5; `from_arrays` puts it together again."""
        arrays, space = space_arrays(self.space_)
        kept = {"method": self.method, "alphas": list(self.alphas), "space": space}
        return {**arrays, "alignment/map": self.map_}, {"alignment": kept}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> FunctionalAlignment:
        """The alignment that `to_arrays` took apart."""
        kept = attributes["alignment"]
        alignment = cls(kept["method"], kept["alphas"])
        alignment.map_ = arrays["alignment/map"]
        alignment.space_ = space_from_arrays(dict(arrays), kept["space"])
        return alignment


def _stack(runs: Sequence[BoldRun], whose: str) -> np.ndarray:
    centred = []
    for run in runs:
        check_finite(f"BOLD of the {whose} in {run.story or 'a run'}", run.data, "Leave constant and NaN voxels out.")
        data = run.data.astype(np.float64)
        centred.append(data - data.mean(axis=0))
    return np.concatenate(centred)
