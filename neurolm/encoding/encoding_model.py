"""From word features to BOLD, for one subject: fit, predict new stories, keep in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from neurolm.brain import BoldRun, Space
from neurolm.brain.space import check_fits, space_arrays, space_from_arrays
from neurolm.checks import bad
from neurolm.encoding.crossval import Fold, run_folds
from neurolm.encoding.design import Design, EncodingData
from neurolm.encoding.held_out import HeldOutScores, held_out_scores, nested_folds, nested_ridge
from neurolm.encoding.scores import score
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.storage import read_h5_of, write_h5

FORMAT = "neurolm encoding model 1"
LEARNED = ("coef_", "intercept_", "best_alphas_", "cv_scores_")


class Hrf(NamedTuple):
    """A voxel's response over time, as far as all features share one.

    times_s : (n_delays,) seconds after the words
    response : (n_delays,) in BOLD units per unit of the voxel's preferred feature direction
    share : of the squared weights that this one time course describes; 1 when all features share it
    """

    times_s: np.ndarray
    response: np.ndarray
    share: float


class EncodingModel:
    """A voxelwise encoding model: `Design`, ridge with one penalty per voxel, and where the voxels are.

    Parameters
    ----------
    alphas : sequence of float
        Grid of penalties.
    delays : sequence of int
        FIR delays in TRs.
    n_folds, gap : int
        Folds that choose the penalty: whole runs, or contiguous blocks of a single run with a
        gap in TRs on both sides.
    scoring : {"correlation", "r2"}
        What the penalty is chosen by.
    lobes : int
        Of the Lanczos kernel.
    max_gap_s : float
        See `Design.from_training`.
    device, n_targets_batch
        See `RidgeCV`.

    Attributes
    ----------
    design_ : Design
    coef_ : array of shape (n_delays * n_features, n_voxels), float32
        Delay-major rows; NaN columns where a voxel is constant or not finite.
    intercept_, best_alphas_ : array of shape (n_voxels,)
    cv_scores_ : array of shape (n_alphas, n_voxels)
        Over the folds that chose the penalty: optimistic. `held_out` is not.
    folds_ : list of (train, test)
    space_ : Space
    inputs_ : list of dict
        For each run: subject, story, rows, content hashes and settings of its features.

    Examples
    --------
    >>> from neurolm.datasets import load_dataset
    >>> from neurolm.features import WordRate
    >>> dataset = load_dataset("simulated", n_subjects=1)
    >>> story, run = dataset.transcript(), dataset.bold("sim01", dataset.stories()[0])
    >>> model = EncodingModel(alphas=[10.0, 1000.0], delays=[1, 2, 3])
    >>> model.held_out([WordRate().extract(story)], [run]).scores.shape
    (9,)
    """

    design_: Design
    coef_: np.ndarray
    intercept_: np.ndarray
    best_alphas_: np.ndarray
    cv_scores_: np.ndarray
    folds_: list[Fold]
    space_: Space
    inputs_: list[dict[str, Any]]

    def __init__(
        self,
        alphas: Sequence[float] = tuple(np.logspace(1, 6, 11)),
        *,
        delays: Sequence[int] = (1, 2, 3, 4),
        n_folds: int = 5,
        gap: int = 5,
        scoring: str = "correlation",
        lobes: int = 3,
        max_gap_s: float = 20.0,
        device: str = "auto",
        n_targets_batch: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.delays = delays
        self.n_folds = n_folds
        self.gap = gap
        self.scoring = scoring
        self.lobes = lobes
        self.max_gap_s = max_gap_s
        self.device = device
        self.n_targets_batch = n_targets_batch

    def fit(self, features: Sequence[Features], runs: Sequence[BoldRun], progress: Progress = silent) -> EncodingModel:
        """Choose each voxel's penalty and fit all runs with it.

        Parameters
        ----------
        features : sequence of Features
            One story for each run.
        runs : sequence of BoldRun
            Of one subject, preprocessed.
        """
        design, data = self._stack(features, runs)
        self.fit_data(design, data, progress)
        self.inputs_ = [_described(story, run) for story, run in zip(features, runs)]
        return self

    def fit_data(self, design: Design, data: EncodingData, progress: Progress = silent) -> EncodingModel:
        """Fit what `design.stack` made."""
        from neurolm.encoding.ridge.ridge_cv import RidgeCV

        if data.space is None:
            raise bad("data", "know where its voxels are", "no space", "Make it with design.stack(features, runs).")
        if data.X.shape[1] != len(design.delays) * design.n_features:
            raise bad("data", "come from this design", f"{data.X.shape[1]} columns", "Pass the design that stacked it.")
        check_fits(data.space, data.Y.shape[1], "Y")
        self.folds_ = run_folds(data.run_onsets, len(data.X), self.n_folds, self.gap, run_groups=data.run_groups)
        ridge = RidgeCV(self.alphas, cv=self.folds_, scoring=self.scoring, fit_intercept=True, **self._ridge_settings())
        ridge.fit(data.X, data.Y, progress=progress)
        for name in LEARNED:  # C order, as they come back from a file: the same bytes then
            setattr(self, name, np.ascontiguousarray(getattr(ridge, name), dtype=np.float32))
        self.design_, self.space_, self.inputs_ = design, data.space, []
        return self

    def predict(self, features: Features, tr_times: Any) -> np.ndarray:
        """BOLD of a new story at these times (s): (n_trs, n_voxels) float32."""
        self._check_fitted()
        X = self.design_.transform(features, tr_times).astype(np.float32, copy=False)
        return X @ self.coef_ + self.intercept_

    def score(self, features: Features, run: BoldRun, scoring: str = "correlation") -> np.ndarray:
        """Correlation (or R2) with a run that was not fitted: (n_voxels,), NaN where undefined."""
        self._check_fitted()
        check_fits(self.space_, run.n_voxels, "the run's data")
        return score(run.data.astype(np.float32, copy=False), self.predict(features, run.tr_times), scoring)

    def held_out(self, features: Sequence[Features], runs: Sequence[BoldRun], n_inner_folds: int = 5) -> HeldOutScores:
        """Scores of these runs by nested cross-validation: penalties chosen inside the training part.

        Whole runs are held out, or blocks with a gap of a single run. Nothing of the model is changed.
        """
        _, data = self._stack(features, runs)
        folds = nested_folds(data.run_onsets, len(data.X), self.n_folds, n_inner_folds, self.gap, data.run_groups)
        ridge = nested_ridge(data.X, folds, self.alphas, scoring=self.scoring, n_targets=data.Y.shape[1], device=self.device)
        return held_out_scores(ridge, data.Y, keep_predictions=True)

    def hrf(self, voxel: int) -> Hrf:
        """The time course that best describes this voxel's weights over its delays (rank one).

        The sign is that of a response whose largest value is positive.
        """
        self._check_fitted()
        weights = self.coef_[:, voxel].astype(np.float64).reshape(len(self.design_.delays), -1)
        if not np.isfinite(weights).all():
            raise bad("voxel", "be one with weights", f"{voxel}, constant or not finite in training")
        u, s, _ = np.linalg.svd(weights, full_matrices=False)
        response = u[:, 0] * s[0]
        sign = np.sign(response[np.abs(response).argmax()]) or 1.0
        total = (s**2).sum()
        times = self.design_.tr * np.array(self.design_.delays)
        return Hrf(times, sign * response, float(s[0] ** 2 / total) if total else np.nan)

    def save(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write everything to one HDF5 file, as a whole and without pickle."""
        self._check_fitted()
        design, design_attributes = self.design_.to_arrays()
        space, space_attributes = space_arrays(self.space_)
        arrays = {name: getattr(self, name) for name in LEARNED} | design | space
        for i, (train, test) in enumerate(self.folds_):
            arrays |= {f"folds/{i}/train": train, f"folds/{i}/test": test}
        attributes = {"format": FORMAT, "settings": self.settings(), "inputs": self.inputs_, "n_folds": len(self.folds_)}
        attributes |= {**design_attributes, "space": space_attributes, "provenance": dict(provenance or {})}
        write_h5(path, arrays, attributes)

    @classmethod
    def load(cls, path: str | Path) -> EncodingModel:
        """Read what `save` wrote; predicts the same bytes on the same machine.

        Raises
        ------
        FileError
            If the file is missing, cut short or something else.
        """
        arrays, attributes = read_h5_of(path, FORMAT, "Save one with EncodingModel.save.")
        model = cls(**attributes["settings"])
        for name in LEARNED:
            setattr(model, name, arrays[name])
        model.design_ = Design.from_arrays(arrays, attributes)
        model.space_ = space_from_arrays(arrays, attributes["space"])
        model.folds_ = [(arrays[f"folds/{i}/train"], arrays[f"folds/{i}/test"]) for i in range(attributes["n_folds"])]
        model.inputs_ = attributes["inputs"]
        return model

    def settings(self) -> dict[str, Any]:
        """Everything that was chosen before the fit, as JSON-able values."""
        return {
            "alphas": [float(a) for a in self.alphas],
            "delays": [int(d) for d in self.delays],
            "n_folds": self.n_folds,
            "gap": self.gap,
            "scoring": self.scoring,
            "lobes": self.lobes,
            "max_gap_s": self.max_gap_s,
            "device": self.device,
            "n_targets_batch": self.n_targets_batch,
        }

    def _stack(self, features: Sequence[Features], runs: Sequence[BoldRun]) -> tuple[Design, EncodingData]:
        design = Design.from_training(features, runs, self.delays, lobes=self.lobes, max_gap_s=self.max_gap_s)
        return design, design.stack(features, runs, max_gap_s=self.max_gap_s)

    def _ridge_settings(self) -> dict[str, Any]:
        return {"device": self.device, "n_targets_batch": self.n_targets_batch}

    def _check_fitted(self) -> None:
        if not hasattr(self, "coef_"):
            raise bad("this EncodingModel", "be fitted first", "no weights", "Call fit(features, runs) or load(path).")


def _described(story: Features, run: BoldRun) -> dict[str, Any]:
    return {
        "subject": run.subject,
        "story": run.story,
        "n_trs": run.n_trs,
        "first_tr_s": float(run.tr_times[0]),
        "bold_sha256": run.content_hash(),
        "features_sha256": story.content_hash(),
        "features": dict(story.settings),
    }
