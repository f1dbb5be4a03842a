"""Listeners to the same story as columns beside each other, and the ceilings that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neurolm.brain import BoldRun, ceiling_interval, noise_ceiling, subject_ceilings
from neurolm.brain.preprocess import mean_run
from neurolm.brain.space import space_hash
from neurolm.checks import bad


class Listeners:
    """The BOLD of everyone who heard the same stories, checked to go row by row and voxel by voxel.

    Parameters
    ----------
    subjects : mapping of str to sequence of BoldRun
        Preprocessed (z-scored) runs, one per story in the same order.
    repeats : mapping of str to sequence of sequence of BoldRun, optional
        For each subject and story the runs whose mean stands in `subjects`: they say how reliable it is.

    Attributes
    ----------
    names : tuple of str
    runs : list of BoldRun
        Of the first subject: times and space of all.
    run_onsets : array of int of shape (n_runs,)
    each : array of shape (n_trs, n_subjects * n_voxels)
        One listener after the other.
    """

    def __init__(
        self, subjects: Mapping[str, Sequence[BoldRun]], repeats: Mapping[str, Sequence[Sequence[BoldRun]]] | None = None
    ) -> None:
        if not subjects:
            raise bad("subjects", "hold at least one listener", {})
        self.names = tuple(subjects)
        self.runs = list(subjects[self.names[0]])
        for name, runs in subjects.items():
            self._check(name, runs)
        self.space = self.runs[0].space
        self.run_onsets = np.cumsum([0, *[run.n_trs for run in self.runs[:-1]]])
        self._subjects, self._repeats = subjects, repeats or {}
        self.each = np.concatenate([np.concatenate([r.data for r in runs]) for runs in subjects.values()], axis=1)
        self.each = self.each.astype(np.float32, copy=False)

    @property
    def n_voxels(self) -> int:
        return self.space.n_voxels

    @property
    def n_trs(self) -> int:
        return len(self.each)

    @property
    def is_group(self) -> bool:
        return len(self.names) > 1

    @property
    def mean(self) -> np.ndarray:
        """(n_trs, n_voxels) the mean listener."""
        runs = [mean_run([runs[i] for runs in self._subjects.values()]).data for i in range(len(self.runs))]
        return np.concatenate(runs).astype(np.float32, copy=False)

    def ceiling(self, scored: str, rows: np.ndarray) -> np.ndarray:
        """(n_voxels,) noise ceiling on these rows of a "single" listener or of the "mean" one; NaN for one subject."""
        if not self.is_group:
            return np.full(self.n_voxels, np.nan)
        return noise_ceiling(self._stacked(rows), source="subjects", scored=scored)

    def ceiling_interval(self, scored: str, rows: np.ndarray, ci: float) -> np.ndarray:
        """(2, n_voxels) its interval over subjects; NaN with fewer than three."""
        if not self.is_group:
            return np.full((2, self.n_voxels), np.nan)
        return np.stack(ceiling_interval(self._stacked(rows), scored=scored, ci=ci))

    def subject_ceilings(self, rows: np.ndarray) -> np.ndarray:
        """(n_subjects, n_voxels) each subject's own ceiling."""
        return subject_ceilings(self._stacked(rows))

    def _stacked(self, rows: np.ndarray) -> np.ndarray:
        """(n_subjects, n_rows, n_voxels)"""
        return self.each[rows].reshape(len(rows), len(self.names), self.n_voxels).swapaxes(0, 1)

    def repeat_ceiling(self, subject: str, rows: np.ndarray) -> np.ndarray | None:
        """(n_voxels,) ceiling of the correlation with the mean of a subject's repeats on these rows.

        None where not every story of the rows was heard more than once, all equally often.
        """
        repeats = self._repeats.get(subject)
        which = np.searchsorted(self.run_onsets, rows, side="right") - 1
        if repeats is None or len({len(repeats[i]) for i in np.unique(which)}) != 1 or len(repeats[which[0]]) < 2:
            return None
        parts = [np.stack([one.data[rows[which == i] - self.run_onsets[i]] for one in repeats[i]]) for i in np.unique(which)]
        return noise_ceiling(np.concatenate(parts, axis=1), source="repeats", scored="mean")

    def _check(self, name: str, runs: Sequence[BoldRun]) -> None:
        first = self.names[0]
        if not runs or len(runs) != len(self.runs):
            raise bad(f"runs of {name}", f"be as many as those of {first}, {len(self.runs)}", len(runs))
        for run, other in zip(runs, self.runs):
            if run.n_trs != other.n_trs or not np.allclose(run.tr_times, other.tr_times, rtol=0, atol=1e-3):
                raise bad(
                    f"tr_times of {name}",
                    f"be those of {first}, {other.n_trs} rows from {other.tr_times[0]:g} s",
                    f"{run.n_trs} rows from {run.tr_times[0]:g} s",
                    "Trim runs to the rows that all have, or evaluate this listener alone.",
                )
            if space_hash(run.space) != space_hash(other.space):
                raise bad(f"voxels of {name}", f"be those of {first}", "another space", "Evaluate native spaces one by one.")
