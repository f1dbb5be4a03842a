"""Which language model predicts BOLD best? Models side by side on the same listeners, rows and folds.

The layer of a model is chosen again in each fold, by what its layers score inside the training
part: one layer for all listeners and voxels, as "the model's best layer" has it. The rows that
are scored do not enter the choice, and a model with many layers gains nothing from having more tries.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import bad
from neurolm.encoding.evaluate import held_out_folds, with_penalty_grid
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.encoding.group_inference import sign_flip_test
from neurolm.encoding.held_out import held_out_scores, mean_over_folds
from neurolm.encoding.listeners import Listeners
from neurolm.encoding.model_comparison import ModelComparison, ModelScore, PairedTest
from neurolm.encoding.scoring_ways import story_ridge
from neurolm.encoding.surrogate_scores import score_surrogates
from neurolm.features import Features
from neurolm.progress import Progress, silent
from neurolm.statistics import difference_p, mean_interval, surrogate_draws

LayerSets = Mapping[str, Sequence[Features]]
FEWEST_LISTENERS = 5  # a sign flip over 4 cannot reach .05


def compare_models(
    models: Mapping[str, LayerSets],
    subjects: Mapping[str, Sequence[BoldRun]],
    *,
    settings: EvaluationSettings | None = None,
    bits_per_byte: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> ModelComparison:
    """Score models on the same held-out BOLD of every listener, and test their differences in pairs.

    Parameters
    ----------
    models : mapping of str to mapping of str to sequence of Features
        For each model its layers, each with one `Features` per story. Layers are looked up one at
        a time. Word rate as a model of one layer is a good companion.
    subjects : mapping of str to sequence of BoldRun
        At least 5 listeners to the same stories, as for `evaluate`.
    settings : EvaluationSettings, optional
        Differences are tested by `n_subject_permutations` circular shifts of all subjects' BOLD, by the same lags, with
        every fit and the choice of layers repeated: what subjects share beside the words stays. 0 tests
        them by flipping the signs of subjects, which holds for this stimulus alone. `evaluate` says whether a model
        predicts anything at all.
    bits_per_byte : mapping of str to float, optional
        What each model needs for a text that all have read (`neurolm.training.perplexity`); NaN
        for what is no language model.
    seed : int
        Of the sign flips.

    Raises
    ------
    InputError
        If there are fewer than 5 listeners or no model, or stories and runs do not fit together.
    """
    settings = settings or EvaluationSettings()
    listeners = Listeners(subjects)
    if len(listeners.names) < FEWEST_LISTENERS:
        raise bad(
            "subjects",
            f"be at least {FEWEST_LISTENERS} listeners",
            len(listeners.names),
            "Differences between models are tested over listeners; `evaluate` scores a single one.",
        )
    if not models:
        raise bad("models", "hold at least one", list(models))
    for name, layers in models.items():
        if not layers:
            raise bad(f"layers of {name!r}", "hold at least one", list(layers))
    first = next(iter(models.values()))
    folds = held_out_folds(listeners, settings, first[next(iter(first))])
    settings = with_penalty_grid(settings, models.values(), listeners, folds)
    draws = list(
        surrogate_draws(
            listeners.n_trs,
            settings.n_subject_permutations,
            null=settings.null,
            run_onsets=listeners.run_onsets.tolist(),
            min_shift=settings.min_shift,
            block_trs=settings.block_trs,
            rng=seed,
        )
    )
    n_sets, done = sum(len(layers) for layers in models.values()), 0
    scored: dict[str, _Scored] = {}
    for name, layers in models.items():
        inner, outer, null = [], [], _NullLayers()
        for layer in layers:
            progress(done, n_sets, "layers", f"{name}, {layer}")
            ridge = story_ridge(layers[layer], listeners, folds, settings)
            scores = held_out_scores(ridge, listeners.each)
            if draws:
                made = (draw(listeners.each) for draw in draws)
                null.add(*score_surrogates(ridge, made, listeners.each.shape[1], settings.n_targets_batch))
            inner.append(scores.inner_scores)
            outer.append(scores.fold_scores)
            done += 1
        scored[name] = _Scored.of(tuple(layers), np.stack(inner), np.stack(outer), len(listeners.names), null.scores())
    progress(done, n_sets, "layers")
    rows = np.sort(np.concatenate([fold.test for fold in folds]))
    ceiling = listeners.ceiling("single", rows)
    used = np.isfinite(ceiling) & (ceiling > 0) & np.all([np.isfinite(one.r).all(0) for one in scored.values()], axis=0)
    if not used.any():
        raise bad("subjects", "share a signal in at least one voxel", "no voxel with a noise ceiling above 0")
    share = {name: one.r[:, used].mean(1) / ceiling[used].mean() for name, one in scored.items()}  # per subject
    null_share = {name: one.null_share(used, ceiling) for name, one in scored.items()} if draws else {}
    return ModelComparison(
        models=tuple(
            _model_score(name, one, ceiling, used, (bits_per_byte or {}).get(name, np.nan), settings)
            for name, one in scored.items()
        ),
        pairs=shift_tests(share, null_share, settings=settings) if draws else paired_tests(share, settings=settings, seed=seed),
        subjects=listeners.names,
        space=listeners.space,
        ceiling=ceiling,
        used=used,
    )


def best_layers(inner_scores: np.ndarray) -> np.ndarray:
    """(n_folds,) the layer of each fold whose mean score inside the training part is highest.

    Parameters
    ----------
    inner_scores : array of shape (n_layers, n_folds, n_targets)
        Of every listener's every voxel; NaN where a target is constant.
    """
    known = np.isfinite(inner_scores)
    if not known.any(-1).all():
        raise bad("subjects", "hold a voxel that varies in every fold", "none", "Check the BOLD for constant runs.")
    return (np.where(known, inner_scores, 0).sum(-1) / known.sum(-1)).argmax(0)


@dataclass(frozen=True, eq=False)
class _Scored:
    """One model fitted.

    names : of all layers
    taken : (n_folds,) position of the layer that each fold took
    r : (n_subjects, n_voxels) held-out scores with it
    each : (n_layers, n_subjects, n_voxels) of every layer by itself
    null : (n_surrogates, n_subjects, n_voxels) with the layers that a fit of each surrogate takes
    """

    names: tuple[str, ...]
    taken: np.ndarray
    r: np.ndarray
    each: np.ndarray
    null: np.ndarray

    @classmethod
    def of(cls, names: tuple[str, ...], inner: np.ndarray, outer: np.ndarray, n_subjects: int, null: np.ndarray) -> _Scored:
        """From scores (n_layers, n_folds, n_targets) inside and outside the training parts."""
        taken = best_layers(inner)
        r = mean_over_folds(outer[taken, np.arange(len(taken))])
        each = np.stack([mean_over_folds(one) for one in outer])
        shape = n_subjects, outer.shape[-1] // n_subjects
        return cls(names, taken, r.reshape(shape), each.reshape(-1, *shape), null.reshape(-1, *shape))

    def null_share(self, used: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
        """(n_surrogates,) the score of surrogates: mean over subjects and voxels, as a share of the ceiling."""
        return self.null[:, :, used].mean((1, 2)) / ceiling[used].mean()


class _NullLayers:
    """Scores of surrogates with the layer that each fold of each surrogate takes, layer after layer."""

    def __init__(self) -> None:
        self.inner = np.empty(0)
        self.outer = np.empty((0, 1, 0))

    def add(self, outer: np.ndarray, inner: np.ndarray) -> None:
        """The next layer's scores, each (n_surrogates, n_folds, n_targets)."""
        known = np.isfinite(inner)
        mean = np.where(known, inner, 0).sum(-1) / np.maximum(known.sum(-1), 1)  # (n_surrogates, n_folds)
        if not self.inner.size:
            self.inner, self.outer = mean, outer
            return
        better = mean > self.inner
        self.inner = np.where(better, mean, self.inner)
        self.outer = np.where(better[..., None], outer, self.outer)

    def scores(self) -> np.ndarray:
        """(n_surrogates, n_targets) mean over folds."""
        return mean_over_folds(self.outer.swapaxes(0, 1))


def _model_score(
    name: str, scored: _Scored, ceiling: np.ndarray, used: np.ndarray, bits: float, settings: EvaluationSettings
) -> ModelScore:
    share = scored.r[:, used].mean(1) / ceiling[used].mean()
    by_voxel = np.full(scored.r.shape, np.nan)
    by_voxel[:, used] = scored.r[:, used] / ceiling[used]
    low, high = mean_interval(share, settings.ci)
    return ModelScore(
        name=name,
        layers=scored.names,
        taken=tuple(scored.names[i] for i in scored.taken),
        score=float(share.mean()),
        interval=(float(low), float(high)),
        r=scored.r,
        by_voxel=by_voxel.mean(0),
        by_voxel_interval=np.stack(mean_interval(by_voxel, settings.ci)),
        layer_scores=scored.each[..., used].mean((1, 2)) / ceiling[used].mean(),
        bits_per_byte=float(bits),
    )


def shift_tests(
    scores: Mapping[str, np.ndarray], null: Mapping[str, np.ndarray], *, settings: EvaluationSettings | None = None
) -> tuple[PairedTest, ...]:
    """Differences of models against the same differences on BOLD that is shifted for all subjects alike.

    Parameters
    ----------
    scores : mapping of str to array of shape (n_subjects,)
    null : mapping of str to array of shape (n_surrogates,)
        Mean over subjects of each surrogate's score.

    Returns
    -------
    tuple of PairedTest
        Two-sided. `p_corrected`: against the largest difference of any pair, each over its own spread.
    """
    settings = settings or EvaluationSettings()
    pairs = list(itertools.combinations(scores, 2))
    if not pairs:
        return ()
    differences = np.stack([scores[a] - scores[b] for a, b in pairs], axis=1)
    found = differences.mean(0)
    drawn = np.stack([null[a] - null[b] for a, b in pairs], axis=1)
    p, p_corrected = difference_p(found, drawn)
    low, high = mean_interval(differences, settings.ci)
    floor = 1 / (1 + len(drawn))
    return tuple(
        PairedTest(a, b, float(found[i]), (float(low[i]), float(high[i])), float(p[i]), float(p_corrected[i]), "shifts", floor)
        for i, (a, b) in enumerate(pairs)
    )


def paired_tests(
    scores: Mapping[str, np.ndarray], *, settings: EvaluationSettings | None = None, seed: int = 0
) -> tuple[PairedTest, ...]:
    """Is one model better than another in the same subjects, for this stimulus? Two-sided sign flips, for every pair.

    Parameters
    ----------
    scores : mapping of str to array of shape (n_subjects,)

    Returns
    -------
    tuple of PairedTest
        `p_corrected` holds for all pairs at once: the largest statistic of any pair in each flip.
    """
    settings = settings or EvaluationSettings()
    pairs = list(itertools.combinations(scores, 2))
    if not pairs:
        return ()
    difference = np.stack([scores[a] - scores[b] for a, b in pairs], axis=1)
    both = np.concatenate([difference, -difference], axis=1)  # the largest over both is the largest |t|
    test = sign_flip_test(both, ci=settings.ci, rng=seed)
    n = len(pairs)
    p = np.minimum(1, 2 * np.minimum(test.p_values[:n], test.p_values[n:]))
    corrected = np.minimum(test.max_p_values[:n], test.max_p_values[n:])
    return tuple(
        PairedTest(a, b, float(test.mean[i]), (float(test.low[i]), float(test.high[i])), float(p[i]), float(corrected[i]))
        for i, (a, b) in enumerate(pairs)
    )
