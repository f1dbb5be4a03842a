"""Evaluation of feature sets: held-out scores with null, baselines, ceilings and intervals.

Subjects with the same story share the design, so they, their mean and every surrogate of
their BOLD are targets in one fit: penalties, null and choice of layer cost one
set of factorisations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad
from neurolm.encoding.content_draws import content_scores, n_content_draws
from neurolm.encoding.design import stimuli_of
from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
from neurolm.encoding.held_out import NestedFold, nested_folds, nested_ridge, train_test_fold
from neurolm.encoding.listeners import Listeners
from neurolm.encoding.low_level import LowLevel, beyond_low_level
from neurolm.encoding.nested import NestedRidge
from neurolm.encoding.penalty_grid import START, penalty_grid
from neurolm.encoding.scoring_ways import design_matrix, score_ways, stories_of, story_ridge, ways_of_scoring
from neurolm.features import Features
from neurolm.progress import Progress, silent

FEWEST_ROWS = 8  # of a fold: correlations of fewer rows say nothing


def evaluate(
    feature_sets: Mapping[str, Sequence[Features]],
    subjects: Mapping[str, Sequence[BoldRun]],
    *,
    baselines: Mapping[str, Sequence[Features]] | None = None,
    settings: EvaluationSettings | None = None,
    seed: int = 0,
    keep: Path | None = None,
    progress: Progress = silent,
    repeats: Mapping[str, Sequence[Sequence[BoldRun]]] | None = None,
    low_level: LowLevel | None = None,
) -> Evaluation:
    """Score every feature set on held-out BOLD, penalties chosen inside the training part.

    Parameters
    ----------
    feature_sets : mapping of str to sequence of Features
        For example one entry per layer; one `Features` per story. Looked up one at a time, so a
        mapping that reads from disk holds one in memory.
    subjects : mapping of str to sequence of BoldRun
        Preprocessed runs of each listener, one per story in the same order, all on the same time grid
        and in the same space. One subject is welcome; several also give the mean listener.
    baselines : mapping of str to sequence of Features, optional
        Plain features to compare with: word rate. The difference of the chosen set from each is tested by the same
        surrogates and carries an interval.
    keep : path, optional
        A folder in which blocks of surrogates stay once they are scored: the same call, made again after
        a kill, reads them and ends with the same bytes. Remove it when the result is safe.

    repeats : mapping of str to sequence of sequence of BoldRun, optional
        For each subject and story the runs whose mean is given in `subjects`: where all that is predicted was heard more than
        once, they give the noise ceiling of each subject.
    low_level : LowLevel, optional
        Plain properties of speech: do feature sets predict anything beyond them? See `beyond_low_level`.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If stories, runs and subjects do not fit together.
    """
    settings = settings or EvaluationSettings()
    baselines = baselines or {}
    for name in set(baselines) & set(feature_sets):
        raise bad("names of feature sets and baselines", "all differ", name)
    if not feature_sets:
        raise bad("feature_sets", "hold at least one", list(feature_sets))
    listeners = Listeners(subjects, repeats)
    first = next(iter([*baselines, *feature_sets]))
    folds = held_out_folds(listeners, settings, stories_of(first, baselines if first in baselines else feature_sets, listeners))
    asked, settings = settings, with_penalty_grid(settings, [baselines, feature_sets], listeners, folds)
    ways = ways_of_scoring(listeners, folds, settings, seed, keep)

    def ridge_of(name: str) -> NestedRidge:
        sets = baselines if name in baselines else feature_sets
        return story_ridge(stories_of(name, sets, listeners), listeners, folds, settings)

    score_ways(ways, baselines, feature_sets, ridge_of, progress)
    each, scored = ways[-1], [way.scored() for way in ways]
    n_draws = n_content_draws(settings, listeners.n_trs, listeners.n_voxels)
    if n_draws:
        scored[0] = replace(
            scored[0],
            content_free=content_scores(
                tuple(feature_sets),
                lambda name: stories_of(name, feature_sets, listeners),
                [run.tr_times for run in listeners.runs],
                ways[0].Y,
                folds,
                settings,
                n_draws=n_draws,
                seed=seed,
                keep=keep,
                progress=progress,
            ),
        )
    single = tuple(each.each()) if listeners.is_group else ()
    if low_level is not None:
        ways_beyond, each_beyond = beyond_low_level(feature_sets, low_level, listeners, folds, settings, seed, keep, progress)
        scored = [replace(one, beyond=found) for one, found in zip(scored, ways_beyond, strict=True)]
        single = tuple(replace(one, beyond=found) for one, found in zip(single, each_beyond, strict=True))
    return Evaluation(
        sets=tuple(feature_sets),
        baselines=tuple(baselines),
        subjects=listeners.names,
        space=listeners.space,
        scored=tuple(scored),
        each=single,
        low_level=() if low_level is None else low_level.names,
        listeners=each.subject_scores(),
        listeners_p=each.subject_p_values(),
        listener_baselines=each.subject_baselines(),
        alphas=np.array(settings.alphas),
        best_alphas=np.concatenate([way.best_alphas() for way in ways], axis=-1),
        settings={**asdict(asked), "seed": seed},
    )


def with_penalty_grid(
    settings: EvaluationSettings,
    feature_sets: Iterable[Mapping[str, Sequence[Features]]],
    listeners: Listeners,
    folds: list[NestedFold],
) -> EvaluationSettings:
    """Settings whose grid of penalties is wide enough for every feature set; a grid that was given is taken as it stands."""
    if settings.alphas is not None and not settings.extend_alphas:
        return settings
    grid = settings.alphas or START
    for sets in feature_sets:
        for name in sets:
            X = design_matrix(stories_of(name, sets, listeners), listeners, settings)
            make_ridge = lru_cache(2)(partial(nested_ridge, X, folds, device=settings.device))  # both kinds of Y share hats
            for Y in [listeners.mean, listeners.each] if listeners.is_group else [listeners.each]:
                grid = penalty_grid(make_ridge, Y, grid)
    return replace(settings, alphas=grid)


def held_out_folds(listeners: Listeners, settings: EvaluationSettings, stories: Sequence[Features]) -> list[NestedFold]:
    """Folds over runs, or the one of `test_runs`; runs that tell the same story are never fitted and predicted at once.

    `stories` are the features of any feature set: what counts is what was read.
    """
    groups = stimuli_of(stories)
    onsets, n_trs, inner = listeners.run_onsets, listeners.n_trs, (settings.n_inner_folds, settings.gap)
    if settings.test_runs:
        return train_test_fold(onsets, n_trs, settings.test_runs, *inner, groups)
    folds = nested_folds(onsets, n_trs, settings.n_folds, *inner, groups)
    fewest = min(len(fold.test) for fold in folds)
    if fewest < FEWEST_ROWS:
        raise bad(
            "n_folds", f"leave at least {FEWEST_ROWS} rows in each held-out fold", f"{settings.n_folds}, which leave {fewest}"
        )
    return folds
