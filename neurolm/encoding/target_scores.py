"""Scores of one way of scoring, with one feature set added after the other: null, choice and intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolm.encoding.baseline_differences import BaselineDifferences, fdr_rows
from neurolm.encoding.evaluation import Chosen, EvaluationSettings, Scored
from neurolm.encoding.held_out import HeldOutScores, NestedFold, SetChoice, held_out_scores, mean_over_folds
from neurolm.encoding.intervals import predicted_part, residual_bootstrap, spread_interval, z_interval
from neurolm.encoding.listeners import Listeners
from neurolm.encoding.nested import NestedRidge
from neurolm.encoding.surrogate_scores import SurrogateScores, score_surrogates
from neurolm.statistics import fdr, mean_interval, surrogate_draws, unit_columns

MOST_TARGETS = 20_000  # of a group, subjects by voxels: more get no interval of their own, which would cost more than the fits
CEILING_NAMES = {
    "single": "√r̄, from the mean pairwise correlation",
    "own": "subject's correlation with the mean of the others, over the root of their reliability",
    "repeats": "CCmax, from the repeats of the predicted stories",
}


class TargetScores:
    """Held-out scores of one subject (or the mean one), or of several subjects each.

    Surrogates of the BOLD are the same for every feature set and every subject: choosing between
    sets and averaging over subjects are repeated on them as they are done on the data. So one lag moves
    all subjects, and what they share beside the words is in the null as well.

    Parameters
    ----------
    who : str
    Y : array of shape (n_trs, n_subjects * n_voxels)
        One subject's voxels after the other's.
    n_null : int
        Surrogates; 0 for none.
    keep : path, optional
        Folder for blocks of surrogates that are scored; see `NullBlocks`.
    beyond_baseline : bool
        Surrogates keep what the only baseline predicts: the null is that feature sets, which hold the baseline's features
        as well, predict nothing beyond it.
    """

    def __init__(
        self,
        who: str,
        Y: np.ndarray,
        listeners: Listeners,
        folds: list[NestedFold],
        settings: EvaluationSettings,
        *,
        n_null: int,
        seed: int,
        keep: Path | None = None,
        beyond_baseline: bool = False,
    ) -> None:
        self.beyond_baseline = beyond_baseline
        self.who, self.Y, self.listeners, self.folds, self.settings, self.seed = who, Y, listeners, folds, settings, seed
        self.n_voxels = listeners.n_voxels
        self.n_subjects = Y.shape[1] // self.n_voxels
        self._sets: list[_Result] = []
        self._plain: list[_Result] = []
        self._plain_predictions: list[np.ndarray] = []  # per baseline (n_test_rows, n_targets), of runs that no fit has seen
        self._plain_draws: list[np.ndarray] = []  # per baseline (n_bootstrap, n_subjects, n_voxels)
        onsets = listeners.run_onsets.tolist()
        self._null = SurrogateScores(Y, self.n_subjects, onsets, folds, settings, n=n_null, seed=seed, keep=keep)
        self._choice, self._choice_draws = SetChoice(folds), SetChoice(folds)

    def add_baseline(self, ridge: NestedRidge) -> None:
        """Score a baseline, and the first round of surrogates with it."""
        fitted = self._score(ridge)
        self._plain.append(self._result(ridge, fitted))
        if len(self.folds) == 1 and fitted.predictions is not None:
            self._plain_predictions.append(fitted.predictions[self.folds[0].test])
        if self.beyond_baseline:
            assert fitted.predictions is not None
            self._null.keep_signal(fitted.predictions)
        self._null.add_plain(ridge, fitted)

    def add_set(self, ridge: NestedRidge) -> None:
        """Score a feature set, and the first round of surrogates with it."""
        fitted = self._score(ridge)
        self._choice.add(fitted.inner_scores, fitted.fold_scores, fitted.predictions)
        self._sets.append(self._result(ridge, fitted))
        self._null.add(ridge, fitted)

    @property
    def has_round(self) -> bool:
        """Whether every set must be scored on more surrogates: `add_surrogates` for each, then `end_round`."""
        return self._null.has_round

    def add_surrogates(self, ridge: NestedRidge, *, is_baseline: bool = False) -> None:
        (self._null.add_plain if is_baseline else self._null.add)(ridge)

    def end_round(self) -> None:
        scores, plain = ([one.scores for one in results] for results in (self._sets, self._plain))
        self._null.end_round(scores, self._by_subject(self._choice.outer), plain)

    @property
    def wants_choice_interval(self) -> bool:
        """Whether every set must be fitted once more for the interval of the choice: `add_choice_draws` for each."""
        return len(self._sets) > 1 and len(self.folds) > 1 and self._has_intervals

    @property
    def wants_difference_interval(self) -> bool:
        """Whether every baseline must be fitted once more for the interval of differences: `add_baseline_draws` for each."""
        return bool(self._plain) and len(self.folds) > 1 and self._has_intervals

    def add_baseline_draws(self, ridge: NestedRidge) -> None:
        """Scores of a baseline on the draws behind the interval of the choice: BOLD as the chosen sets predict it."""
        assert self._choice.predictions is not None
        self._plain_draws.append(self._by_subject(self._bootstrap(ridge, self._choice.predictions)[0]))

    def add_choice_draws(self, ridge: NestedRidge) -> None:
        assert self._choice.predictions is not None
        outer, inner = self._bootstrap(ridge, self._choice.predictions)
        self._choice_draws.add(inner, outer)

    def scored(self) -> Scored:
        """Everything at once, averaged over the subjects."""
        r = self.subject_scores().mean(0)
        null = self._null_of_sets().mean(2)
        is_single = self.n_subjects > 1 or not self.listeners.is_group
        kind = "single" if is_single else "mean"
        n = len(self.listeners.names)
        names = {"single": CEILING_NAMES["single"], "mean": f"√ρ_N, reliability of the mean of {n} subjects"}
        rows = self._rows()
        repeated = None if self.listeners.is_group else self.listeners.repeat_ceiling(self.listeners.names[0], rows)
        return self._put_together(
            who=self.who,
            r=r,
            null=null,
            interval=np.stack([one.interval for one in self._sets], axis=1),
            baselines=self.subject_baselines().mean(0),
            baseline_interval=self._stacked([one.interval for one in self._plain]),
            ceiling=self.listeners.ceiling(kind, rows) if repeated is None else repeated,
            ceiling_interval=self.listeners.ceiling_interval(kind, rows, self.settings.ci),
            ceiling_name=names[kind] if self.listeners.is_group else "" if repeated is None else CEILING_NAMES["repeats"],
            interval_name=self._interval_name(),
            chosen=self._chosen(),
            against=self._differences().of_mean(),
        )

    def each(self) -> Iterator[Scored]:
        """The same subject by subject: own null, own choice, own interval over stretches of time, own ceiling."""
        r, plain, null = self.subject_scores(), self.subject_baselines(), self._null_of_sets()
        ceiling = self.listeners.subject_ceilings(self._rows())
        chosen, differences = self._chosen_by_each(), self._differences()
        shared_name = CEILING_NAMES["own" if len(self.listeners.names) > 2 else "single"]
        for s, name in enumerate(self.listeners.names):
            repeated = self.listeners.repeat_ceiling(name, self._rows())
            yield self._put_together(
                who=name,
                r=r[s],
                null=null[:, :, s],
                interval=np.stack([one.each[:, s] for one in self._sets], axis=1),
                baselines=plain[s],
                baseline_interval=self._stacked([one.each[:, s] for one in self._plain]),
                ceiling=ceiling[s] if repeated is None else repeated,
                ceiling_interval=np.full((2, self.n_voxels), np.nan),
                ceiling_name=shared_name if repeated is None else CEILING_NAMES["repeats"],
                interval_name=self._draws_name(),
                chosen=chosen[s],
                against=differences.of_subject(s),
            )

    def subject_scores(self) -> np.ndarray:
        """(n_subjects, n_sets, n_voxels)"""
        return np.stack([one.scores for one in self._sets], axis=1)

    def subject_p_values(self) -> np.ndarray:
        """(n_subjects, n_sets, n_voxels), NaN without a null."""
        return self._null.p_values(self.subject_scores(), self._null_of_sets().swapaxes(1, 2))

    def subject_baselines(self) -> np.ndarray:
        """(n_subjects, n_baselines, n_voxels)"""
        empty = np.empty((self.n_subjects, 0, self.n_voxels))
        return np.stack([one.scores for one in self._plain], axis=1) if self._plain else empty

    def best_alphas(self) -> np.ndarray:
        """(n_sets, n_folds, n_subjects * n_voxels)"""
        return np.stack([one.best_alphas for one in self._sets])

    def _put_together(self, *, r: np.ndarray, null: np.ndarray, **rest: object) -> Scored:
        tested = len(null) > 0
        p = self._null.p_values(r, null) if tested else np.full(r.shape, np.nan)
        known = np.full((2, *r.shape), np.nan)
        if tested:
            finite = np.isfinite(null).any(0)
            known[:, finite] = np.nanquantile(null[:, finite], [0.025, 0.975], axis=0)
        return Scored(
            r=r,
            p=p,
            q=fdr_rows(p),
            p_max=self._null.max_p_values(r, null) if tested else p,
            null=known,
            n_null=self._null.n_drawn,
            **rest,  # type: ignore[arg-type]
        )

    def _null_of_sets(self) -> np.ndarray:
        """(n_drawn, n_sets, n_subjects, n_voxels)"""
        if not self._null.sets:
            return np.empty((0, len(self._sets), self.n_subjects, self.n_voxels))
        return np.stack(self._null.sets, axis=1)

    def _rows(self) -> np.ndarray:
        return np.sort(np.concatenate([fold.test for fold in self.folds]))

    def _stacked(self, intervals: list[np.ndarray]) -> np.ndarray:
        return np.stack(intervals, axis=1) if intervals else np.empty((2, 0, self.n_voxels))

    def _score(self, ridge: NestedRidge) -> HeldOutScores:
        needs_predictions = self._has_intervals or len(self.folds) == 1 or self.beyond_baseline
        return held_out_scores(ridge, self.Y, keep_predictions=needs_predictions)

    def _result(self, ridge: NestedRidge, fitted: HeldOutScores) -> _Result:
        scores = self._by_subject(fitted.fold_scores)
        drawn = None
        if self._has_intervals and fitted.predictions is not None:
            drawn = self._by_subject(self._bootstrap(ridge, fitted.predictions)[0])
        each = self._each_interval(scores, drawn)
        return _Result(scores, fitted.best_alphas, self._interval(scores, each), each, drawn)

    def _bootstrap(
        self, ridge: NestedRidge | None, predictions: np.ndarray, fixed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Outer and inner scores of the residual bootstrap: (n_bootstrap, n_folds, n_targets) each.

        `predictions` are the signal that stays. Runs that no fit has seen are scored by `fixed` predictions of their rows,
        by default those of the signal.
        """
        n, onsets = self.settings.n_bootstrap, self.listeners.run_onsets
        if len(self.folds) > 1:
            assert ridge is not None
            made = residual_bootstrap(self.Y, predictions, n, run_onsets=onsets.tolist(), rng=self.seed)
            kept = self._null.blocks(ridge, "residuals", predictions)
            return score_surrogates(ridge, made, self.Y.shape[1], self.settings.n_targets_batch, kept)
        rows = self.folds[0].test  # runs that no fit has seen: the fit stays, their noise is another
        Y = self.Y[rows]
        signal, unit = predicted_part(Y, predictions[rows]), unit_columns(predictions[rows] if fixed is None else fixed)
        draws = surrogate_draws(len(rows), n, run_onsets=np.flatnonzero(np.isin(rows, onsets)).tolist(), rng=self.seed)
        outer = np.stack([np.einsum("tv,tv->v", unit_columns(signal + draw(Y - signal)), unit) for draw in draws])[:, None]
        return outer, outer

    def _by_subject(self, fold_scores: np.ndarray) -> np.ndarray:
        """(..., n_folds, n_targets) to (..., n_subjects, n_voxels), averaged over folds."""
        mean = mean_over_folds(np.moveaxis(fold_scores, -2, 0))
        return mean.reshape(*mean.shape[:-1], self.n_subjects, self.n_voxels)

    def _interval(self, scores: np.ndarray, each: np.ndarray) -> np.ndarray:
        """(2, n_voxels): over subjects where there are several, else over stretches of time."""
        if self.n_subjects > 2:
            return np.stack(mean_interval(scores, self.settings.ci))
        return each[:, 0] if self.n_subjects == 1 else np.full((2, self.n_voxels), np.nan)

    def _each_interval(self, scores: np.ndarray, drawn: np.ndarray | None) -> np.ndarray:
        """(2, n_subjects, n_voxels): of each subject, over stretches of time; NaN where there are too many."""
        if drawn is None:
            return np.full((2, self.n_subjects, self.n_voxels), np.nan)
        return z_interval(scores, drawn, self.settings.ci)

    @property
    def _has_intervals(self) -> bool:
        return self.settings.n_bootstrap > 1 and (self.n_subjects == 1 or self.Y.shape[1] <= MOST_TARGETS)

    def _interval_name(self) -> str:
        return f"{self.settings.ci:.0%}, Student's t over subjects" if self.n_subjects > 1 else self._draws_name()

    def _draws_name(self) -> str:
        s = self.settings
        what = "the fit repeated" if len(self.folds) > 1 else "the fit kept"
        return f"{s.ci:.0%}, {s.n_bootstrap:,} circular shifts of the residuals with {what}"

    def _choice_interval(self) -> np.ndarray:
        """(2, n_subjects, n_voxels) of the score with each fold's own choice, which every draw makes again."""
        return self._each_interval(self._by_subject(self._choice.outer), self._chosen_draws())

    def _chosen_draws(self) -> np.ndarray | None:
        """(n_bootstrap, n_subjects, n_voxels) scores of the choice on the draws behind its interval."""
        if self.wants_choice_interval:
            return self._by_subject(self._choice_draws.outer)
        if len(self._sets) == 1:
            return self._sets[0].drawn
        if len(self.folds) > 1 or not self._has_intervals or self._choice.predictions is None:
            return None
        return self._by_subject(self._bootstrap(None, self._choice.predictions)[0])

    def _baseline_draws(self, baseline: int) -> np.ndarray | None:
        """(n_bootstrap, n_subjects, n_voxels) scores of a baseline on the draws behind the interval of the choice."""
        if self._plain_draws:
            return self._plain_draws[baseline]
        if not self._has_intervals or self._choice.predictions is None or len(self.folds) > 1:
            return None
        return self._by_subject(self._bootstrap(None, self._choice.predictions, self._plain_predictions[baseline])[0])

    def _differences(self) -> BaselineDifferences:
        """Chosen less baseline in the same rows, on the data, on surrogates and on the draws of the interval."""
        r, plain = self._by_subject(self._choice.outer), self.subject_baselines().swapaxes(0, 1)
        each = np.full((2, *plain.shape), np.nan)
        chosen_draws = self._chosen_draws() if len(plain) else None
        for i in range(len(plain)):
            drawn = self._baseline_draws(i)
            if drawn is not None and chosen_draws is not None:
                each[:, i] = spread_interval(r - plain[i], chosen_draws - drawn, self.settings.ci)
        return BaselineDifferences(r, plain, each, self._null, self.settings.ci)

    def _chosen_by_each(self) -> list[Chosen]:
        """Of each subject: every fold's own choice, on the data and on that subject's surrogates."""
        r, interval = self._by_subject(self._choice.outer), self._choice_interval()
        p = self._null.p_values(r, self._null.chosen)
        often = self._counts().argmax(0)
        return [Chosen(index=often[s], r=r[s], p=p[s], q=fdr(p[s]), interval=interval[:, s]) for s in range(self.n_subjects)]

    def _counts(self) -> np.ndarray:
        """(n_sets, n_subjects, n_voxels): in how many folds each set was chosen."""
        counts = np.stack([(self._choice.index == i).sum(0) for i in range(len(self._sets))])
        return counts.reshape(len(self._sets), self.n_subjects, self.n_voxels)

    def _chosen(self) -> Chosen:
        """Each fold's set is the one with the best inner score; on surrogates likewise."""
        each = self._by_subject(self._choice.outer)
        r = each.mean(0)
        p = self._null.p_values(r, self._null.chosen.mean(1))
        interval = self._interval(each, self._choice_interval())
        return Chosen(index=self._counts().sum(1).argmax(0), r=r, p=p, q=fdr(p), interval=interval)


@dataclass(frozen=True, eq=False)
class _Result:
    """What is kept of a fitted set: no predictions."""

    scores: np.ndarray  # (n_subjects, n_voxels)
    best_alphas: np.ndarray  # (n_folds, n_targets)
    interval: np.ndarray  # (2, n_voxels)
    each: np.ndarray  # (2, n_subjects, n_voxels)
    drawn: np.ndarray | None  # (n_bootstrap, n_subjects, n_voxels)
