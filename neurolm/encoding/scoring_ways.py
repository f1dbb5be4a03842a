"""Ways of scoring (mean subject, single subjects) taken through feature sets, so that both share the hats of a set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.design import Design
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.encoding.held_out import NestedFold, nested_ridge
from neurolm.encoding.listeners import Listeners
from neurolm.encoding.nested import NestedRidge
from neurolm.encoding.target_scores import TargetScores
from neurolm.features import Features
from neurolm.progress import Progress


def ways_of_scoring(
    listeners: Listeners,
    folds: list[NestedFold],
    settings: EvaluationSettings,
    seed: int,
    keep: Path | None,
    *,
    beyond_baseline: bool = False,
) -> list[TargetScores]:
    """The mean listener and single listeners; of one subject, that subject."""
    n, m = settings.n_permutations, settings.n_subject_permutations
    rest: dict[str, Any] = {"seed": seed, "keep": keep, "beyond_baseline": beyond_baseline}
    if not listeners.is_group:
        return [TargetScores(listeners.names[0], listeners.each, listeners, folds, settings, n_null=n, **rest)]
    single = replace(settings, n_bootstrap=0) if beyond_baseline else settings  # the interval is that over subjects
    return [
        TargetScores("mean listener", listeners.mean, listeners, folds, settings, n_null=n, **rest),
        TargetScores("single listeners", listeners.each, listeners, folds, single, n_null=m, **rest),
    ]


def score_ways(
    ways: Sequence[TargetScores],
    baselines: Collection[str],
    names: Collection[str],
    ridge_of: Callable[[str], NestedRidge],
    progress: Progress,
) -> None:
    """Scores, surrogates and intervals of every baseline and feature set, by name; `ridge_of` makes the ridge of one."""
    total = len(names) + len(baselines)
    for i, name in enumerate([*baselines, *names]):
        progress(i, total, "feature sets", name)
        ridge = ridge_of(name)
        for way in ways:
            if name in baselines:
                way.add_baseline(ridge)
            else:
                way.add_set(ridge)
    _add_surrogates(ways, baselines, names, ridge_of, progress)
    for name in _refitted_for_intervals(ways, baselines, names):
        ridge = ridge_of(name)
        for way in ways:
            if name in baselines and way.wants_difference_interval:
                way.add_baseline_draws(ridge)
            elif name in names and way.wants_choice_interval:
                way.add_choice_draws(ridge)
    progress(total, total, "feature sets")


def _add_surrogates(
    ways: Sequence[TargetScores],
    baselines: Collection[str],
    names: Collection[str],
    ridge_of: Callable[[str], NestedRidge],
    progress: Progress,
) -> None:
    """Rounds of surrogates after the first, as long as voxels are left whose p is not known: none unless sequential."""
    for way in ways:
        way.end_round()
    n_rounds, all_names = 1, [*baselines, *names]
    while any(way.has_round for way in ways):
        n_rounds += 1
        for i, name in enumerate(all_names):
            progress(i, len(all_names), f"feature sets, round {n_rounds} of surrogates", name)
            ridge = ridge_of(name)
            for way in ways:
                if way.has_round:
                    way.add_surrogates(ridge, is_baseline=name in baselines)
        for way in ways:
            way.end_round()


def _refitted_for_intervals(ways: Sequence[TargetScores], baselines: Collection[str], names: Collection[str]) -> list[str]:
    """What must be fitted once more for the interval of the choice and of its differences from baselines."""
    plain = baselines if any(way.wants_difference_interval for way in ways) else ()
    return [*plain, *(names if any(way.wants_choice_interval for way in ways) else ())]


def stories_of(name: str, sets: Mapping[str, Sequence[Features]], listeners: Listeners) -> Sequence[Features]:
    """One feature set, read now; it must go with the runs."""
    stories = sets[name]
    if len(stories) != len(listeners.runs):
        raise bad(f"features of {name!r}", f"be one story for each of the {len(listeners.runs)} runs", len(stories))
    return stories


def story_ridge(
    stories: Sequence[Features], listeners: Listeners, folds: list[NestedFold], settings: EvaluationSettings
) -> NestedRidge:
    """The ridge of one feature set, for any number of targets; `with_penalty_grid` gives settings without a grid theirs."""
    assert settings.alphas is not None
    X = design_matrix(stories, listeners, settings)
    return nested_ridge(X, folds, settings.alphas, n_targets=settings.n_targets_batch, device=settings.device)


def design_matrix(stories: Sequence[Features], listeners: Listeners, settings: EvaluationSettings) -> np.ndarray:
    """(n_trs, n_delays * n_features) one feature set at the times of every run, z-scored by the training runs."""
    training = [i for i in range(len(listeners.runs)) if i not in settings.test_runs]
    design = Design.from_training(
        [stories[i] for i in training],
        [listeners.runs[i] for i in training],
        settings.delays,
        lobes=settings.lobes,
        max_gap_s=settings.max_gap_s,
    )
    return design.stack(stories, listeners.runs, max_gap_s=settings.max_gap_s).X
