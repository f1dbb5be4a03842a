"""The one path from word time to delayed TR time, fitted on the training runs.

Lanczos resampling at the middle of each TR, z-scoring with the training runs' mean and standard
deviation, FIR delays within the run. Training stories, test stories and decoder hypotheses all
pass through the same object, so they cannot disagree. It is affine in the word features:

    X[:, columns of delay d] = (A_d @ values - mean) / std,    A = design.matrix(word_times, tr_times)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurolm.arrays import constant_columns
from neurolm.brain import BoldRun
from neurolm.brain.space import Space, space_hash
from neurolm.checks import bad, check_finite, check_same_length
from neurolm.features import Features
from neurolm.stimuli import stimulus_groups
from neurolm.storage import content_hash
from neurolm.temporal import check_delays, delay_run, lanczos_matrix, story_gaps, whole_grid

SAMPLED_AT = "row i, acquired over [t_i, t_i + TR), has the features at t_i + TR / 2"
"""Where in a TR features are sampled; kept with every saved design."""


@dataclass(frozen=True, eq=False)
class EncodingData:
    """Delayed features and BOLD, row by row, runs below each other.

    Parameters
    ----------
    X : array of shape (n_trs, n_delays * n_features)
        Delay-major: all features at delays[0] first.
    Y : array of shape (n_trs, n_voxels)
    run_onsets : array of int of shape (n_runs,)
        First row of each run; the first is 0.
    feature_slices : mapping of str to slice
        Columns of each feature space *within one delay*; `columns` gives them in X.
    delays : tuple of int
        Delays in TRs.
    space : Space, optional
        Where each column of Y is.
    run_groups : array of int of shape (n_runs,), optional
        The stimulus of each run: runs of one stimulus have the same number and are held out together.
    """

    X: np.ndarray
    Y: np.ndarray
    run_onsets: np.ndarray
    feature_slices: Mapping[str, slice]
    delays: tuple[int, ...] = (0,)
    space: Space | None = None
    run_groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_same_length("X", len(self.X), "Y", len(self.Y), "Both hold one row for each TR.")
        onsets = np.asarray(self.run_onsets, dtype=np.int64)
        if not len(onsets) or onsets[0] != 0 or (np.diff(onsets) <= 0).any() or onsets[-1] >= len(self.X):
            raise bad("run_onsets", f"rise from 0 and stay below the {len(self.X)} rows", onsets)
        if self.X.shape[1] % len(self.delays):
            raise bad("X", f"have a multiple of {len(self.delays)} columns, one set for each delay", self.X.shape)
        object.__setattr__(self, "run_onsets", onsets)

    @property
    def n_features(self) -> int:
        """Columns for one delay."""
        return self.X.shape[1] // len(self.delays)

    @property
    def run_slices(self) -> list[slice]:
        """Rows of each run."""
        ends = [*self.run_onsets[1:].tolist(), len(self.X)]
        return [slice(a, b) for a, b in zip(self.run_onsets.tolist(), ends)]

    def columns(self, *names: str) -> np.ndarray:
        """Columns of X that belong to these feature spaces, at every delay, in X's order."""
        for name in names:
            if name not in self.feature_slices:
                raise bad("feature space", f"be one of {', '.join(self.feature_slices)}", name)
        within = np.sort(np.concatenate([np.arange(self.n_features)[self.feature_slices[n]] for n in names]))
        return (np.arange(len(self.delays))[:, None] * self.n_features + within).reshape(-1)

    def bands(self, *names: str) -> tuple[np.ndarray, dict[str, slice]]:
        """X with each space's columns side by side, all its delays together, and the slices of the spaces.

        What banded ridge takes: `X, slices = data.bands()`, then `BandedRidgeCV(slices).fit(X, data.Y)`.
        """
        names = names or tuple(self.feature_slices)
        columns = [self.columns(name) for name in names]
        edges = np.cumsum([0, *[len(c) for c in columns]]).tolist()
        return self.X[:, np.concatenate(columns)], {n: slice(a, b) for n, a, b in zip(names, edges, edges[1:])}


@dataclass(frozen=True, eq=False)
class Design:
    """Word features to delayed TR features, the same way for every story.

    Parameters
    ----------
    delays : tuple of int
        In TRs: 2 means "what was heard two TRs ago".
    tr : float
        Seconds.
    mean, std : array of shape (n_features,)
        Of the resampled features over the training runs' measured rows; `std` is 1 where a
        feature never changes (`constant`), which is then only centred.
    lobes : int
        Of the Lanczos kernel.
    names : tuple of str, n_features
    slices : mapping of str to slice
        Columns of each feature space within one delay.

    Notes
    -----
    Nothing is zero-filled: what was heard before the first measured row drives that row through
    the delays, and before the first word there were no words. Alice's row 0 is story time 20 s.

    Examples
    --------
    >>> from neurolm.datasets import load_dataset
    >>> from neurolm.features import WordRate
    >>> dataset = load_dataset("simulated", n_subjects=1)
    >>> story, run = dataset.transcript(), dataset.bold("sim01", dataset.stories()[0])
    >>> features = WordRate().extract(story)
    >>> design = Design.from_training([features], [run], delays=[1, 2, 3, 4])
    >>> design.transform(features, run.tr_times).shape  # (n_trs, n_delays * n_features)
    (350, 4)
    """

    delays: tuple[int, ...]
    tr: float
    mean: np.ndarray
    std: np.ndarray
    lobes: int = 3
    names: tuple[str, ...] = ()
    slices: Mapping[str, slice] = field(default_factory=dict)
    constant: tuple[str, ...] = ()

    @classmethod
    def from_training(
        cls,
        features: Sequence[Features],
        runs: Sequence[BoldRun | np.ndarray],
        delays: Sequence[int] = (1, 2, 3, 4),
        *,
        lobes: int = 3,
        max_gap_s: float = 20.0,
    ) -> Design:
        """Learn mean and standard deviation from the measured rows of the training runs.

        Parameters
        ----------
        features : sequence of Features
            One story for each run.
        runs : sequence of BoldRun or array of TR times
        delays : sequence of int
            In TRs.
        max_gap_s : float
            A story may begin or end this long (s) before or after its BOLD; more is an error. Words
            before the first row are welcome whatever their number: they drive the first rows.

        Raises
        ------
        InputError
            If stories and runs do not fit: counts, times, feature names, TRs.
        """
        times = _check_pairs(features, runs, max_gap_s)
        delays = check_delays(delays, min(len(t) for t in times))
        rows = [_resample(f, t, delays, lobes)[max(delays) :] for f, t in zip(features, times)]
        measured = np.concatenate(rows)
        constant = constant_columns(measured)
        std = np.where(constant, 1.0, measured.std(axis=0))
        first = features[0]
        still = tuple(n for n, c in zip(first.names, constant) if c)
        return cls(delays, _tr(times[0]), measured.mean(axis=0), std, lobes, first.names, first.slices, still)

    @property
    def n_features(self) -> int:
        return len(self.mean)

    def transform(self, features: Features, tr_times: Any) -> np.ndarray:
        """One run's delayed features: (n_trs, n_delays * n_features), delay-major, in the dtype of the features.

        `tr_times` (s) are when each row's acquisition began; no BOLD is needed.
        """
        z = self.resample(features, tr_times)
        return delay_run(z, self.delays)[max(self.delays) :].astype(_dtype(features.values), copy=False)

    def resample(self, features: Features, tr_times: Any) -> np.ndarray:
        """Z-scored features before the delays, float64: (max(delays) + n_trs, n_features).

        The first max(delays) rows are the TRs before the run; the row `delay` TRs above row
        max(delays) + i is what row i sees at that delay.
        """
        times = self._check_times(tr_times)
        if tuple(features.names) != tuple(self.names):
            raise bad(
                "names of the features",
                f"be those of training ({len(self.names)}: {', '.join(self.names[:3])}, ...)",
                f"{features.n_features}: {', '.join(features.names[:3])}, ...",
                "Extract with the same model, layer and settings.",
            )
        return (_resample(features, times, self.delays, self.lobes) - self.mean) / self.std

    def matrix(self, word_times: Any, tr_times: Any) -> np.ndarray:
        """The linear part of `transform`: A of shape (n_delays, n_trs, n_words), float64.

        Column block d of X is (A[d] @ values - mean) / std. A decoder changes rows of `values`
        one word at a time and needs only their columns of A.
        """
        times = self._check_times(tr_times)
        weights = lanczos_matrix(word_times, _grid(times, self.delays) + self.tr / 2, self.lobes)
        last = max(self.delays)
        return np.stack([weights[last - d : last - d + len(times)] for d in self.delays])

    def stack(
        self, features: Sequence[Features], runs: Sequence[BoldRun], *, max_gap_s: float = 20.0, dtype: Any = np.float32
    ) -> EncodingData:
        """Delayed features and BOLD of several runs below each other; delays never cross runs.

        Raises
        ------
        InputError
            If a story and its run do not fit, or the runs do not have the same voxels.
        """
        _check_pairs(features, runs, max_gap_s)
        if len({space_hash(run.space) for run in runs}) > 1:
            raise bad("runs", "have the same voxels", "runs of different spaces", "Extract all of them with one mask.")
        lengths = [run.n_trs for run in runs]
        X = np.empty((sum(lengths), len(self.delays) * self.n_features), dtype=dtype)
        onsets = np.cumsum([0, *lengths[:-1]])
        for start, story, run in zip(onsets, features, runs):
            X[start : start + run.n_trs] = self.transform(story, run.tr_times)
        Y = np.concatenate([run.data for run in runs]).astype(dtype, copy=False)
        return EncodingData(X, Y, onsets, self.slices, self.delays, runs[0].space, stimuli_of(features))

    def settings(self) -> dict[str, Any]:
        """What a report or a sidecar says about this design."""
        return {"delays_trs": list(self.delays), "tr_s": self.tr, "lanczos_lobes": self.lobes, "sampled_at": SAMPLED_AT}

    def content_hash(self) -> str:
        return content_hash("design", *self.to_arrays())

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """As (arrays, attributes) for HDF5; `from_arrays` puts it together again."""
        arrays = {"design/mean": self.mean, "design/std": self.std, "design/names": np.array(self.names)}
        slices = {name: [s.start, s.stop] for name, s in self.slices.items()}
        return arrays, {"design": {**self.settings(), "slices": slices, "constant": list(self.constant)}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> Design:
        """The design that `to_arrays` took apart."""
        kept = attributes["design"]
        if kept["sampled_at"] != SAMPLED_AT:
            raise bad("design", f"be sampled so: {SAMPLED_AT}", kept["sampled_at"], "Fit the model again.")
        return cls(
            tuple(kept["delays_trs"]),
            kept["tr_s"],
            arrays["design/mean"],
            arrays["design/std"],
            kept["lanczos_lobes"],
            tuple(str(n) for n in arrays["design/names"]),
            {name: slice(*ends) for name, ends in kept["slices"].items()},
            tuple(kept["constant"]),
        )

    def _check_times(self, tr_times: Any) -> np.ndarray:
        times = np.asarray(tr_times, dtype=np.float64).reshape(-1)
        check_finite("tr_times", times)
        if len(times) < 2:
            raise bad("tr_times", "hold at least two times", times)
        if abs(_tr(times) - self.tr) > 1e-3 * self.tr:
            raise bad("TR of the run", f"be that of training, {self.tr:g} s", f"{_tr(times):g} s", "Delays are in TRs.")
        return times


def stimuli_of(features: Sequence[Features]) -> np.ndarray:
    """(n_runs,) the stimulus of each run by the words of its features; by their numbers where words are not known."""
    if all(story.words for story in features):
        return stimulus_groups([story.words for story in features])
    return np.unique([story.content_hash() for story in features], return_inverse=True)[1]


def _tr(times: np.ndarray) -> float:
    return float((times[-1] - times[0]) / (len(times) - 1))


def _dtype(values: np.ndarray) -> Any:
    return np.float64 if values.dtype == np.float64 else np.float32


def _grid(times: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """The run's TR times with the max(delays) TRs before it."""
    return whole_grid(times, times[0] - max(delays) * _tr(times))[0]


def resampling_weights(word_times: np.ndarray, tr_times: np.ndarray, delays: Sequence[int], lobes: int) -> np.ndarray:
    """(max(delays) + n_trs, n_words) from word time to a run's TRs and the max(delays) TRs before it."""
    return lanczos_matrix(word_times, _grid(tr_times, delays) + _tr(tr_times) / 2, lobes)


def _resample(features: Features, times: np.ndarray, delays: Sequence[int], lobes: int) -> np.ndarray:
    return resampling_weights(features.times, times, delays, lobes) @ features.values.astype(np.float64, copy=False)


def _check_pairs(features: Sequence[Features], runs: Sequence[BoldRun | np.ndarray], max_gap_s: float) -> list[np.ndarray]:
    """Refuse stories and runs that cannot belong together; return each run's TR times."""
    check_same_length("features", len(features), "runs", len(runs), "Give one story's features for each run.")
    if not len(features):
        raise bad("features", "hold at least one story", list(features))
    times = [run.tr_times if isinstance(run, BoldRun) else np.asarray(run, dtype=np.float64) for run in runs]
    for i, (story, run, t) in enumerate(zip(features, runs, times)):
        name = f"run {i}" + (f" ({run.subject} {run.story})" if isinstance(run, BoldRun) and run.story else "")
        if story.names != features[0].names:
            raise bad(f"features of {name}", "have the names of run 0's", f"{story.n_features} other names")
        if abs(_tr(t) - _tr(times[0])) > 1e-3 * _tr(times[0]):
            raise bad(f"TR of {name}", f"be that of run 0, {_tr(times[0]):g} s", f"{_tr(t):g} s", "Fit each TR by itself.")
        _check_cover(name, story.times, t, max_gap_s)
    return times


def _check_cover(name: str, word_times: np.ndarray, tr_times: np.ndarray, max_gap_s: float) -> None:
    """Refuse a story that begins or ends long before or after its BOLD."""
    start, end = float(tr_times[0]), float(tr_times[-1]) + _tr(tr_times)
    first, last = (float(word_times.min()), float(word_times.max())) if len(word_times) else (np.nan, np.nan)
    late, misfit = story_gaps(word_times, tr_times) if len(word_times) else (np.nan, np.nan)
    if not (late <= max_gap_s and abs(misfit) <= max_gap_s and last > start):
        raise bad(
            f"story and BOLD of {name}",
            f"cover the same time within {max_gap_s:g} s",
            f"BOLD of {len(tr_times)} TRs over {start:g}-{end:g} s, {len(word_times)} words over {first:g}-{last:g} s",
            "Check that the story is the run's, that tr_times are on the story's clock and that trimmed volumes are not "
            "counted; a long silence is allowed with a larger max_gap_s.",
        )
