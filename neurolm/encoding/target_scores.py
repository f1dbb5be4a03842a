"""One way of scoring, fed with one feature set after the other: scores, null, choice and intervals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from neurolm.encoding.evaluation import Chosen, EvaluationSettings, Scored
from neurolm.encoding.held_out import HeldOutScores, NestedFold, held_out_scores, mean_over_folds
from neurolm.encoding.intervals import bootstrap_folds
from neurolm.encoding.listeners import Listeners
from neurolm.encoding.nested import NestedRidge
from neurolm.encoding.null_blocks import Block, NullBlocks
from neurolm.statistics import fdr, mean_interval, permutation_p, surrogates, unit_columns

MOST_TARGETS = 20_000  # of a group, listeners by voxels: more get no interval of their own, which would cost more than the fits


class TargetScores:
    """Held-out scores of one listener (or the mean one), or of several by themselves.

    Surrogates of the BOLD are the same for every feature set and every listener: choosing between
    sets and averaging over listeners are repeated on them as they are done on the data.

    Parameters
    ----------
    who : str
    Y : array of shape (n_trs, n_subjects * n_voxels)
        One listener's voxels after the other's.
    n_null : int
        Surrogates; 0 for none.
    keep : path, optional
        Folder for blocks of surrogates that are scored; see `NullBlocks`.
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
    ) -> None:
        self.who, self.Y, self.listeners, self.folds, self.settings = who, Y, listeners, folds, settings
        self.n_null, self.seed, self.keep = n_null, seed, keep
        self.n_voxels = listeners.n_voxels
        self.n_subjects = Y.shape[1] // self.n_voxels
        self._sets: list[_Result] = []
        self._plain: list[_Result] = []
        self._free: list[np.ndarray] = []  # per set (n_subjects, n_voxels)
        self._null: list[np.ndarray] = []  # per set (n_null, n_subjects, n_voxels)
        self._choice, self._null_choice = _Choice(folds), _Choice(folds)

    def add_baseline(self, ridge: NestedRidge) -> None:
        self._plain.append(self._result(self._score(ridge)))

    def add_set(self, ridge: NestedRidge, content_free: NestedRidge) -> None:
        fitted = self._score(ridge)
        self._free.append(self._by_subject(self._score(content_free).fold_scores))
        self._choice.add(len(self._sets), fitted.inner_scores, fitted.fold_scores, fitted.predictions)
        self._sets.append(self._result(fitted))
        if self.n_null:
            outer, inner = self._moved(fitted) if len(self.folds) == 1 else self._refitted(ridge)
            self._null_choice.add(len(self._null), inner, outer)
            self._null.append(self._by_subject(outer))

    def scored(self) -> Scored:
        """Everything at once, averaged over the listeners."""
        r = np.stack([mean_scores.mean(0) for mean_scores in self.subject_scores().swapaxes(0, 1)])
        null = np.stack([one.mean(1) for one in self._null], axis=1) if self._null else np.full((1, *r.shape), np.nan)
        p = permutation_p(r, null) if self._null else np.full(r.shape, np.nan)
        plain = self.subject_baselines()
        single = "single" if self.n_subjects > 1 or not self.listeners.is_group else "mean"
        n = len(self.listeners.names)
        names = {"single": "√r̄, from the mean pairwise correlation", "mean": f"√ρ_N, reliability of the mean of {n} listeners"}
        return Scored(
            who=self.who,
            r=r,
            p=p,
            q=np.stack([fdr(one) for one in p]),
            interval=np.stack([one.interval for one in self._sets], axis=1),
            null=np.quantile(null, [0.025, 0.975], axis=0),
            n_null=len(self._null[0]) if self._null else 0,
            baselines=plain.mean(0),
            baseline_interval=np.stack([one.interval for one in self._plain], axis=1)
            if self._plain
            else np.empty((2, 0, self.n_voxels)),
            content_free=np.stack([one.mean(0) for one in self._free]),
            ceiling=self.listeners.ceiling(single, np.sort(np.concatenate([fold.test for fold in self.folds]))),
            ceiling_name=names[single] if self.listeners.is_group else "",
            interval_name=self._interval_name(),
            chosen=self._chosen(),
        )

    def each(self) -> tuple[Scored, ...]:
        """The same listener by listener: own null, own choice, own interval over stretches of time."""
        r, p, plain = self.subject_scores(), self.subject_p_values(), self.subject_baselines()
        rows = np.sort(np.concatenate([fold.test for fold in self.folds]))
        ceiling = self.listeners.ceiling("single", rows)
        unknown = np.full((2, *r.shape[1:]), np.nan)
        chosen = self._chosen_by_each()
        return tuple(
            Scored(
                who=name,
                r=r[s],
                p=p[s],
                q=np.stack([fdr(one) for one in p[s]]),
                interval=np.stack([one.each[:, s] for one in self._sets], axis=1),
                null=np.quantile(np.stack([one[:, s] for one in self._null], axis=1), [0.025, 0.975], axis=0)
                if self._null
                else unknown,
                n_null=len(self._null[0]) if self._null else 0,
                baselines=plain[s],
                baseline_interval=np.stack([one.each[:, s] for one in self._plain], axis=1)
                if self._plain
                else np.empty((2, 0, self.n_voxels)),
                content_free=np.stack([one[s] for one in self._free]),
                ceiling=ceiling,
                ceiling_name="√r̄, from the mean pairwise correlation",
                interval_name=self._blocks_name(),
                chosen=chosen[s],
            )
            for s, name in enumerate(self.listeners.names)
        )

    def subject_scores(self) -> np.ndarray:
        """(n_subjects, n_sets, n_voxels)"""
        return np.stack([one.scores for one in self._sets], axis=1)

    def subject_p_values(self) -> np.ndarray:
        """(n_subjects, n_sets, n_voxels), NaN without a null."""
        r = self.subject_scores()
        return permutation_p(r, np.stack(self._null, axis=2)) if self._null else np.full(r.shape, np.nan)

    def subject_baselines(self) -> np.ndarray:
        """(n_subjects, n_baselines, n_voxels)"""
        empty = np.empty((self.n_subjects, 0, self.n_voxels))
        return np.stack([one.scores for one in self._plain], axis=1) if self._plain else empty

    def best_alphas(self) -> np.ndarray:
        """(n_sets, n_folds, n_subjects * n_voxels)"""
        return np.stack([one.best_alphas for one in self._sets])

    def _score(self, ridge: NestedRidge) -> HeldOutScores:
        return held_out_scores(ridge, self.Y, keep_predictions=self._has_intervals or len(self.folds) == 1)

    def _result(self, fitted: HeldOutScores) -> _Result:
        each = self._each_interval(fitted.predictions)
        over = self._interval(fitted.fold_scores, each)
        return _Result(self._by_subject(fitted.fold_scores), fitted.best_alphas, over, each)

    def _surrogates(self, Y: np.ndarray, run_onsets: Sequence[int]) -> Iterator[np.ndarray]:
        s = self.settings
        return surrogates(
            Y, self.n_null, null=s.null, run_onsets=run_onsets, min_shift=s.min_shift, block_trs=s.block_trs, rng=self.seed
        )

    def _refitted(self, ridge: NestedRidge) -> tuple[np.ndarray, np.ndarray]:
        """Held-out and inner scores of every surrogate, fitted anew: each (n_null, n_folds, n_targets)."""
        drawn = self._surrogates(self.Y, self.listeners.run_onsets.tolist())
        shape = (len(self.folds), -1, self.Y.shape[1])

        def score(batch: list[np.ndarray]) -> Block:
            scored = held_out_scores(ridge, np.concatenate(batch, axis=1).astype(np.float32, copy=False))
            outer, inner = (one.reshape(shape).swapaxes(0, 1) for one in (scored.fold_scores, scored.inner_scores))
            return outer.astype(np.float32), inner.astype(np.float32)

        kept = self._kept_blocks(ridge)
        blocks: list[Block] = []
        while batch := list(itertools.islice(drawn, max(1, self.settings.n_targets_batch // self.Y.shape[1]))):
            blocks.append(kept.get(len(blocks), partial(score, batch)) if kept else score(batch))
        return np.concatenate([outer for outer, _ in blocks]), np.concatenate([inner for _, inner in blocks])

    def _kept_blocks(self, ridge: NestedRidge) -> NullBlocks | None:
        if self.keep is None:
            return None
        rows = [[fold.train, fold.test, fold.inner] for fold in self.folds]
        return NullBlocks(self.keep, ridge.X, self.Y, rows, asdict(self.settings), self.n_null, self.seed)

    def _moved(self, fitted: HeldOutScores) -> tuple[np.ndarray, np.ndarray]:
        """The only fold's predictions, of runs that no fit has seen, against surrogates of their BOLD."""
        assert fitted.predictions is not None
        rows = self.folds[0].test
        onsets = np.flatnonzero(np.isin(rows, self.listeners.run_onsets))
        unit = unit_columns(fitted.predictions[rows])
        drawn = self._surrogates(self.Y[rows], onsets.tolist())
        outer = np.array([np.einsum("tv,tv->v", unit_columns(one), unit) for one in drawn], dtype=np.float32)
        inner = np.broadcast_to(fitted.inner_scores, (len(outer), *fitted.inner_scores.shape)).astype(np.float32)
        return outer[:, None], inner

    def _by_subject(self, fold_scores: np.ndarray) -> np.ndarray:
        """(..., n_folds, n_targets) to (..., n_subjects, n_voxels), averaged over folds."""
        mean = mean_over_folds(np.moveaxis(fold_scores, -2, 0))
        return mean.reshape(*mean.shape[:-1], self.n_subjects, self.n_voxels)

    def _interval(self, fold_scores: np.ndarray, each: np.ndarray) -> np.ndarray:
        """(2, n_voxels): over listeners where there are several, else over stretches of time."""
        s = self.settings
        if self.n_subjects > 2:
            return np.stack(mean_interval(self._by_subject(fold_scores), s.ci))
        return each[:, 0] if self.n_subjects == 1 else np.full((2, self.n_voxels), np.nan)

    def _each_interval(self, predictions: np.ndarray | None) -> np.ndarray:
        """(2, n_subjects, n_voxels): of each listener, over stretches of time; NaN where there are too many."""
        s = self.settings
        if predictions is None or not self._has_intervals:
            return np.full((2, self.n_subjects, self.n_voxels), np.nan)
        tests = [fold.test for fold in self.folds]
        ends = bootstrap_folds(
            self.Y, predictions, tests, block_trs=s.interval_block_trs, n_bootstrap=s.n_bootstrap, ci=s.ci, rng=self.seed
        )
        return np.stack(ends).reshape(2, self.n_subjects, self.n_voxels)

    @property
    def _has_intervals(self) -> bool:
        return self.n_subjects == 1 or self.Y.shape[1] <= MOST_TARGETS

    def _interval_name(self) -> str:
        return f"{self.settings.ci:.0%} t interval over subjects" if self.n_subjects > 1 else self._blocks_name()

    def _blocks_name(self) -> str:
        s = self.settings
        return f"{s.ci:.0%} bootstrap, {s.n_bootstrap:,} draws of blocks of {s.interval_block_trs} TRs within each fold"

    def _chosen_by_each(self) -> list[Chosen]:
        """Of each listener: every fold's own choice, on the data and on that listener's surrogates."""
        r, interval = self._by_subject(self._choice.outer), self._each_interval(self._choice.predictions)
        p = np.full(r.shape, np.nan)
        if self._null:
            p = permutation_p(r, self._by_subject(self._null_choice.outer))
        often = self._counts().argmax(0)
        return [Chosen(index=often[s], r=r[s], p=p[s], q=fdr(p[s]), interval=interval[:, s]) for s in range(self.n_subjects)]

    def _counts(self) -> np.ndarray:
        """(n_sets, n_subjects, n_voxels): in how many folds each set was chosen."""
        counts = np.stack([(self._choice.index == i).sum(0) for i in range(len(self._sets))])
        return counts.reshape(len(self._sets), self.n_subjects, self.n_voxels)

    def _chosen(self) -> Chosen:
        """Each fold's set is the one with the best inner score; on surrogates likewise."""
        r = self._by_subject(self._choice.outer).mean(0)
        if self._null:
            p = permutation_p(r, self._by_subject(self._null_choice.outer).mean(1))
        else:
            p = np.full(r.shape, np.nan)
        interval = self._interval(self._choice.outer, self._each_interval(self._choice.predictions))
        return Chosen(index=self._counts().sum(1).argmax(0), r=r, p=p, q=fdr(p), interval=interval)


@dataclass(frozen=True, eq=False)
class _Result:
    """What is kept of a fitted set: no predictions."""

    scores: np.ndarray  # (n_subjects, n_voxels)
    best_alphas: np.ndarray  # (n_folds, n_targets)
    interval: np.ndarray  # (2, n_voxels)
    each: np.ndarray  # (2, n_subjects, n_voxels)


class _Choice:
    """The best inner score so far of each target and fold, and what goes with it."""

    inner: np.ndarray
    outer: np.ndarray
    index: np.ndarray

    def __init__(self, folds: list[NestedFold]) -> None:
        self.folds = folds
        self.predictions: np.ndarray | None = None

    def add(self, index: int, inner: np.ndarray, outer: np.ndarray, predictions: np.ndarray | None = None) -> None:
        if index == 0:
            self.inner, self.outer, self.index = inner, outer, np.zeros(inner.shape, dtype=np.int16)
            self.predictions = predictions
            return
        better = inner > self.inner
        self.inner, self.outer = np.where(better, inner, self.inner), np.where(better, outer, self.outer)
        self.index[better] = index
        if predictions is not None and self.predictions is not None:
            for fold, targets in zip(self.folds, better):
                rows = np.ix_(fold.test, np.flatnonzero(targets))
                self.predictions[rows] = predictions[rows]
