"""Difference of the chosen feature set from each baseline, tested by the surrogates that both were scored on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neurolm.encoding.evaluation import Against
from neurolm.encoding.surrogate_scores import SurrogateScores
from neurolm.statistics import fdr, mean_interval


@dataclass(frozen=True, eq=False)
class BaselineDifferences:
    """Paired differences of held-out scores, subject by subject.

    Parameters
    ----------
    chosen : array of shape (n_subjects, n_voxels)
        Scores with each fold's own choice of set.
    baselines : array of shape (n_baselines, n_subjects, n_voxels)
    intervals : array of shape (2, n_baselines, n_subjects, n_voxels)
        Of each subject's differences.
    surrogates : SurrogateScores
        Of the choice and of the baselines: one lag moves all subjects, and every fit is repeated.
    ci : coverage of intervals
    """

    chosen: np.ndarray
    baselines: np.ndarray
    intervals: np.ndarray
    surrogates: SurrogateScores
    ci: float

    def of_mean(self) -> Against:
        """Of the mean over subjects; with three or more the interval is over subjects."""
        each = self.chosen - self.baselines
        if each.shape[1] == 1:
            interval = self.intervals[:, :, 0]
        elif each.shape[1] > 2:
            interval = np.stack(mean_interval(each.swapaxes(0, 1), self.ci))
        else:
            interval = np.full(self.intervals[:, :, 0].shape, np.nan)
        return self._tested(lambda values: values.mean(-2), interval)

    def of_subject(self, subject: int) -> Against:
        """Of one subject against that subject's own surrogates."""
        return self._tested(lambda values: values[..., subject, :], self.intervals[:, :, subject])

    def _tested(self, of: Callable[[np.ndarray], np.ndarray], interval: np.ndarray) -> Against:
        """`of` takes (..., n_subjects, n_voxels) to (..., n_voxels)."""
        null = self.surrogates
        each = [of(one) for one in null.plain]
        plain_null = np.stack(each, axis=1) if each else np.empty((null.n_drawn, *of(self.baselines).shape))
        difference = of(self.chosen - self.baselines)
        p, p_max = null.difference_p_values(difference, of(null.chosen)[:, None] - plain_null)
        baseline_p = null.p_values(of(self.baselines), plain_null)
        return Against(
            baseline_p=baseline_p,
            baseline_q=fdr_rows(baseline_p),
            difference=difference,
            interval=interval,
            p=p,
            p_max=p_max,
            q=fdr_rows(p),
        )


def fdr_rows(p: np.ndarray) -> np.ndarray:
    """False discovery rate over voxels, row by row: (n_rows, n_voxels)."""
    return np.stack([fdr(one) for one in p]) if len(p) else np.full(p.shape, np.nan)
