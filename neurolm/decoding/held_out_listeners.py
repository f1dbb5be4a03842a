"""Which stretch of a story was heard, told for listeners whom no part of the model has seen.

Every listener is left out in turn. The mean of the others is the BOLD that an encoding model learns,
in blocks of time: it predicts only TRs that it was not fitted on. So neither this listener nor this
stretch of time went into the prediction with which the listener's window is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad, check_same_length
from neurolm.decoding.identification import Identification, group_test, identify
from neurolm.decoding.noise_model import NoiseModel
from neurolm.encoding import held_out_scores, nested_folds
from neurolm.encoding.held_out import nested_ridge
from neurolm.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class HeldOutIdentification:
    """Identification in every listener, and of all together.

    by : "likelihood" or "correlation"
    subjects : tuple of str
    listeners : tuple of Identification, one for each subject
    mean : mean percentile rank over windows and listeners; .5 is chance
    p : of the mean, by pairing windows at random in the same way for all listeners
    null : (n_permutations,) the mean under such pairings
    """

    by: str
    subjects: tuple[str, ...]
    listeners: tuple[Identification, ...]
    mean: float
    p: float

    @property
    def null(self) -> np.ndarray:
        return np.mean([one.null for one in self.listeners], axis=0)


def identify_held_out(
    X: Any,
    runs: Sequence[BoldRun],
    *,
    window_trs: int = 15,
    by: Sequence[str] = ("likelihood", "correlation"),
    shrinkage: float = 0.3,
    alphas: Sequence[float] = tuple(np.logspace(-1, 7, 17)),
    n_folds: int = 6,
    n_inner_folds: int = 5,
    gap: int = 5,
    n_permutations: int = 2000,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, HeldOutIdentification]:
    """Identify windows of one run, which all heard, in every listener.

    Parameters
    ----------
    X : array of shape (n_trs, n_delayed_features)
        From a `Design`, of the story that all runs share.
    runs : sequence of BoldRun
        One for each listener, the same TRs and columns, z-scored.
    window_trs : int
        Windows do not overlap.
    shrinkage : float
        Of the noise covariance, which is that of the other listeners around the prediction.
    n_folds, n_inner_folds, gap
        Blocks of time, see `nested_folds`.
    n_permutations, seed
        Windows are paired again in blocks of at least 10 TRs, in the same way for every listener.

    Returns
    -------
    dict of HeldOutIdentification, by the names in `by`
    """
    if len(runs) < 3:
        raise bad("runs", "be of at least three listeners", len(runs), "One is left out, and the others' mean is learned.")
    X, n = np.asarray(X, dtype=np.float32), runs[0].n_trs
    for run in runs:
        check_same_length(f"TRs of {run.subject}", run.n_trs, "rows of X", len(X), "All listeners need the same run.")
    data = np.stack([run.data.astype(np.float64) for run in runs])  # (n_listeners, n_trs, n_columns)
    n_listeners = len(data)
    others = (data.sum(axis=0) - data) / (n_listeners - 1)  # of each listener: the mean of all the others
    Y = np.concatenate(list(others), axis=1).astype(np.float32)
    folds = nested_folds(np.array([0]), n, n_folds, n_inner_folds, gap)
    ridge = nested_ridge(X, folds, list(alphas), scoring="r2", n_targets=Y.shape[1])
    predictions = held_out_scores(ridge, Y, keep_predictions=True).predictions
    assert predictions is not None
    predicted = np.split(predictions.astype(np.float64), n_listeners, axis=1)
    found: dict[str, list[Identification]] = {name: [] for name in by}
    for i in range(n_listeners):
        residuals = np.concatenate([data[j] - predicted[i] for j in range(n_listeners) if j != i])
        noise = NoiseModel(shrinkage).fit_residuals(residuals, run_onsets=np.arange(n_listeners - 1) * n)
        for name in by:
            settings: dict[str, Any] = {"window_trs": window_trs, "n_permutations": n_permutations, "rng": seed}
            found[name].append(identify(data[i], predicted[i], by=name, noise=noise, **settings))
        progress(i + 1, n_listeners, "listeners", runs[i].subject)
    subjects = tuple(run.subject for run in runs)
    return {name: HeldOutIdentification(name, subjects, tuple(each), *group_test(each)) for name, each in found.items()}
