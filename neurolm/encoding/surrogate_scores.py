"""Held-out scores of surrogates of the BOLD, for feature sets one after the other: the null of an evaluation.

Surrogates are the same for every feature set and every subject, so that choosing between sets and
averaging over subjects are repeated on them as they are done on the data. With many voxels the test is
sequential: see `neurolm.statistics.p_values`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neurolm import __version__
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.encoding.held_out import HeldOutScores, NestedFold, SetChoice, held_out_scores, mean_over_folds
from neurolm.encoding.intervals import predicted_part
from neurolm.encoding.nested import NestedRidge
from neurolm.statistics import STOP_AFTER, Draw, difference_p, draw_ranges, has_left, permutation_p, surrogate_draws, unit_columns
from neurolm.storage import content_hash, read_h5, write_h5

SEQUENTIAL_FROM = 100  # voxels: with more, those whose p is known leave, unless the settings say otherwise


class SurrogateScores:
    """Null scores, round by round: in each round every feature set is added, then the round is ended.

    Parameters
    ----------
    Y : array of shape (n_trs, n_subjects * n_voxels)
    n_subjects : int
    run_onsets : sequence of int
    n : int
        Surrogates asked for; `n_drawn` is how many there are.
    keep : path, optional
        Folder for blocks of surrogates that are scored; see `NullBlocks`.

    Attributes
    ----------
    sets : list of arrays of shape (n_drawn, n_subjects, n_voxels)
        One per feature set, NaN where a voxel had left; none where a signal is kept.
    chosen : array of the same shape
        With the set that each fold would have chosen on this surrogate.
    plain : list of arrays of the same shape
        One per baseline: no fold can choose it.
    signal : array like Y, or None
        What stays in every surrogate: see `keep_signal`.
    """

    def __init__(
        self,
        Y: np.ndarray,
        n_subjects: int,
        run_onsets: Sequence[int],
        folds: list[NestedFold],
        settings: EvaluationSettings,
        *,
        n: int,
        seed: int,
        keep: Path | None = None,
    ) -> None:
        self.Y, self.folds, self.settings, self.n, self.seed, self.keep = Y, folds, settings, n, seed, keep
        self.shape = n_subjects, Y.shape[1] // n_subjects
        self.signal: np.ndarray | None = None
        self.is_refitted = len(folds) > 1
        rows = np.arange(len(Y)) if self.is_refitted else folds[0].test
        self.draws: list[Draw] = list(
            surrogate_draws(
                len(rows),
                n,
                null=settings.null,
                run_onsets=np.flatnonzero(np.isin(rows, run_onsets)).tolist(),
                min_shift=settings.min_shift if self.is_refitted else 1,
                block_trs=settings.block_trs,
                rng=seed,
            )
        )
        many = self.shape[1] > SEQUENTIAL_FROM if settings.sequential is None else settings.sequential
        self.stop_after = STOP_AFTER if many and self.is_refitted else None
        self.sets: list[np.ndarray] = []
        self.plain: list[np.ndarray] = []
        self.chosen = np.full((len(self.draws), *self.shape), np.nan, dtype=np.float32)
        self._rounds = draw_ranges(len(self.draws), self.stop_after)
        self._active = np.ones(self.shape, dtype=bool)
        self._begin_round()

    @property
    def n_drawn(self) -> int:
        return len(self.draws)

    @property
    def has_round(self) -> bool:
        """Whether there are surrogates left to be scored."""
        return self._now is not None

    def add(self, ridge: NestedRidge, measured: HeldOutScores | None = None) -> None:
        """Score this round's surrogates with the next feature set; `measured`, of the data, is needed in the first round."""
        if self._now is None:
            return
        outer, inner = self._score_round(self.sets, self._choice.n_sets, ridge, measured)
        self._choice.add(inner, outer)

    def add_plain(self, ridge: NestedRidge, measured: HeldOutScores | None = None) -> None:
        """The same with the next baseline."""
        if self._now is None:
            return
        self._score_round(self.plain, self._n_plain, ridge, measured)
        self._n_plain += 1

    def _score_round(
        self, into: list[np.ndarray], index: int, ridge: NestedRidge, measured: HeldOutScores | None
    ) -> tuple[np.ndarray, np.ndarray]:
        columns = np.flatnonzero(self._active.ravel())
        if self.is_refitted:
            outer, inner = self._refitted(ridge, columns)
        else:
            assert measured is not None
            outer, inner = self._shifted(measured)
        if self.signal is not None and into is self.sets:
            return outer, inner  # only the choice between sets is compared with what stays
        if index == len(into):
            into.append(np.full_like(self.chosen, np.nan))
        self._put(into[index], columns, outer)
        return outer, inner

    def keep_signal(self, predictions: np.ndarray) -> None:
        """Shift only what a first model does not predict, so that the null is "nothing beyond that model".

        Differences are then tested for being greater. Freedman & Lane (1983), J Bus Econ Stat 1:292-298.

        Parameters
        ----------
        predictions : array of shape (n_trs, n_targets)
            Out of sample.
        """
        self.signal = predicted_part(self.Y, predictions)

    def end_round(self, scores: Sequence[np.ndarray], chosen: np.ndarray, plain: Sequence[np.ndarray] = ()) -> None:
        """Let voxels leave whose p is known for every set and baseline, for the choice, and for the mean over subjects.

        Parameters
        ----------
        scores, plain : sequence of arrays of shape (n_subjects, n_voxels)
            Of the data, one for each set and baseline.
        chosen : array of shape (n_subjects, n_voxels)
        """
        if self._now is None:
            return
        self._put(self.chosen, np.flatnonzero(self._active.ravel()), self._choice.outer)
        pairs = [*zip(scores, self.sets), (chosen, self.chosen), *zip(plain, self.plain)]
        if self.signal is not None:
            pairs = [(chosen - r, self.chosen - null) for r, null in zip(plain, self.plain)]
        done = np.all([self._known(r, null) for r, null in pairs], axis=0)
        done &= np.all([self._known(r.mean(0), null.mean(1)) for r, null in pairs], axis=0)
        self._active = ~done
        self._begin_round()

    def p_values(self, scores: np.ndarray, null: np.ndarray) -> np.ndarray:
        """(...) from scores (...) and null (n_drawn, ...); NaN without surrogates."""
        return permutation_p(scores, null, stop_after=self.stop_after) if self.n_drawn else np.full(scores.shape, np.nan)

    def max_p_values(self, scores: np.ndarray, null: np.ndarray) -> np.ndarray:
        """The same against the largest of the last axis in each surrogate; NaN after a sequential test."""
        if not self.n_drawn or self.stop_after is not None:
            return np.full(scores.shape, np.nan)
        with np.errstate(invalid="ignore"):
            return permutation_p(scores, np.fmax.reduce(null, axis=-1)[..., None])

    def difference_p_values(self, differences: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """p of differences (..., n_voxels) and p corrected over voxels; NaN without surrogates. Two-sided unless a signal is kept."""
        if not self.n_drawn:
            return np.full(differences.shape, np.nan), np.full(differences.shape, np.nan)
        alternative = "two-sided" if self.signal is None else "greater"
        return difference_p(differences, null, stop_after=self.stop_after, alternative=alternative)

    def blocks(self, ridge: NestedRidge, *depends_on: Any) -> NullBlocks | None:
        """Where scored blocks are kept: those of this design, BOLD and settings, and of what they depend on beside."""
        if self.keep is None:
            return None
        rows = [[fold.train, fold.test, fold.inner] for fold in self.folds]
        kept = () if self.signal is None else (self.signal,)
        return NullBlocks(self.keep, ridge.X, self.Y, rows, asdict(self.settings), self.n, self.seed, *kept, *depends_on)

    def _begin_round(self) -> None:
        self._now = next(self._rounds, None) if self._active.any() else None
        self._choice, self._n_plain = SetChoice(self.folds), 0

    def _known(self, scores: np.ndarray, null: np.ndarray) -> np.ndarray:
        assert self._now is not None
        return has_left(scores, null, self.stop_after, self._now.stop)

    def _put(self, into: np.ndarray, columns: np.ndarray, fold_scores: np.ndarray) -> None:
        """Mean over folds of (n_draws, n_folds, n_columns) at this round's draws."""
        assert self._now is not None
        flat = into.reshape(len(into), -1)
        flat[self._now.start : self._now.stop, columns] = mean_over_folds(fold_scores.swapaxes(0, 1))

    def _refitted(self, ridge: NestedRidge, columns: np.ndarray) -> Block:
        assert self._now is not None
        kept = self.blocks(ridge, columns, [self._now.start, self._now.stop])
        made = (self._surrogate(draw, slice(None), columns) for draw in self.draws[self._now])
        return score_surrogates(ridge, made, len(columns), self.settings.n_targets_batch, kept)

    def _surrogate(self, draw: Draw, rows: Any, columns: np.ndarray) -> np.ndarray:
        """Some columns of the BOLD in these rows, or of what is not kept as signal, moved."""
        Y = self.Y[rows] if len(columns) == self.Y.shape[1] else self.Y[rows][:, columns]
        if self.signal is None:
            return draw(Y)
        signal = self.signal[rows][:, columns]
        return signal + draw(Y - signal)

    def _shifted(self, measured: HeldOutScores) -> Block:
        """The only fold's predictions, of runs that no fit has seen, against surrogates of their BOLD."""
        assert measured.predictions is not None
        rows, columns = self.folds[0].test, np.arange(self.Y.shape[1])
        unit = unit_columns(measured.predictions[rows])
        drawn = [np.einsum("tv,tv->v", unit_columns(self._surrogate(draw, rows, columns)), unit) for draw in self.draws]
        outer = np.array(drawn, dtype=np.float32)[:, None]
        return outer, np.broadcast_to(measured.inner_scores, (len(outer), *measured.inner_scores.shape)).astype(np.float32)


def score_surrogates(
    ridge: NestedRidge, made: Iterable[np.ndarray], n_columns: int, n_targets_batch: int, kept: NullBlocks | None = None
) -> Block:
    """Held-out and inner scores of arrays (n_trs, n_columns), as many as fit into a batch at once: (n, n_folds, n_columns) each."""
    shape = (len(ridge.folds), -1, n_columns)

    def score(batch: list[np.ndarray]) -> Block:
        scored = held_out_scores(ridge, np.concatenate(batch, axis=1).astype(np.float32, copy=False))
        outer, inner = (one.reshape(shape).swapaxes(0, 1) for one in (scored.fold_scores, scored.inner_scores))
        return outer.astype(np.float32), inner.astype(np.float32)

    drawn: Iterator[np.ndarray] = iter(made)
    blocks: list[Block] = []
    while batch := list(itertools.islice(drawn, max(1, n_targets_batch // n_columns))):
        blocks.append(kept.get(len(blocks), partial(score, batch)) if kept else score(batch))
    return np.concatenate([outer for outer, _ in blocks]), np.concatenate([inner for _, inner in blocks])


Block = tuple[np.ndarray, np.ndarray]  # outer and inner scores, each (n_surrogates, n_folds, n_targets)


class NullBlocks:
    """The blocks that depend on the same things: X, Y, folds, settings, seed.

    Parameters
    ----------
    folder : path
        Blocks of other X and Y may lie there too; whoever has the whole result removes it.
    depends_on
        Everything that decides their bytes. The number of threads is added.
    """

    def __init__(self, folder: Path, *depends_on: Any) -> None:
        import torch

        self.folder = folder
        self.key = content_hash(__version__, torch.get_num_threads(), *depends_on)

    def get(self, index: int, score: Callable[[], Block]) -> Block:
        """Block `index` from the disk, or scored now and written."""
        path = self.folder / f"{self.key}-{index}.h5"
        if path.is_file():
            arrays, _ = read_h5(path, ["outer", "inner"])
            return arrays["outer"], arrays["inner"]
        outer, inner = score()
        write_h5(path, {"outer": outer, "inner": inner})
        return outer, inner
