"""Preflight checks of the fits: the real analysis, rehearsed on one invented voxel and the word rate.

Folds, delays, shifts, blocks of intervals and the number of subjects are checked by the functions that will use them, so that
a rehearsal refuses what the analysis would refuse, in its words, within a second.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurolm.checks import bad
from neurolm.datasets.dataset import Finding
from neurolm.statistics import MIN_SHIFT, n_surrogates

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.workflows.preflight_data import Opened

GRID = (10.0, 1000.0)  # penalties of a rehearsal


def permutations(opened: Opened) -> Iterator[Finding]:
    """The number of permutations can reach the false discovery rate that is asked for: 1 / (P + 1) <= q."""
    from neurolm.workflows.encoding import settings

    encode, chosen = opened.study.config.encode, settings(opened.study)
    lengths = [
        run.n_trs for i, run in enumerate(next(iter(opened.fitted[1].values()))) if not chosen.test_runs or i in chosen.test_runs
    ]
    most = n_surrogates(lengths, encode.permutations, chosen.null, 1 if chosen.test_runs else chosen.min_shift)
    is_group = len(opened.study.subjects) > 1
    yield from resolves("encode.permutations", encode.permutations, encode.fdr, most)
    if is_group:
        most = n_surrogates(lengths, encode.subject_permutations, chosen.null, 1 if chosen.test_runs else chosen.min_shift)
        yield from resolves("encode.subject_permutations", encode.subject_permutations, encode.fdr, most, must=False)


def resolves(key: str, asked: int, level: float, most: int | None = None, *, must: bool = True) -> Iterator[Finding]:
    """Whether so many permutations, of which a single run has only `most`, can give a p at or below `level`."""
    needed = int(-(-1 // level)) - 1  # the smallest P with 1 / (P + 1) <= level
    used = asked if most is None else min(asked, max(most, 0))
    if asked == 0:
        yield Finding("note", f"{key} is 0: scores get no p values")
    elif used < needed:
        found = f"{asked}" if used == asked else f"{asked}, of which this run's length allows {used}"
        error = bad(key, f"be at least {needed}, or 0 for no test, to reach the false discovery rate {level:g}", found)
        if must:
            raise error
        yield Finding("note", f"{error} Maps of single subjects will show nothing at that level.")


def encoding(opened: Opened) -> Iterator[Finding]:
    """Scores of every way of scoring, the null and the intervals, and the model that is saved for each subject."""
    from neurolm.encoding import EncodingModel, evaluate
    from neurolm.workflows.encoding import settings
    from neurolm.workflows.low_level import word_frequency

    chosen = settings(opened.study)
    word_frequency(opened.study)
    few = replace(
        chosen,
        alphas=GRID,
        extend_alphas=False,
        n_permutations=min(1, chosen.n_permutations),
        n_subject_permutations=min(1, chosen.n_subject_permutations),
        n_content_free=0,
        n_bootstrap=20,
        device="cpu",
    )
    subjects = one_voxel(opened)
    with _quiet():
        evaluate({"rehearsal": word_rates(opened)}, subjects, settings=few)
        rest: Any = {"gap": few.gap, "lobes": few.lobes, "max_gap_s": few.max_gap_s}
        model = EncodingModel(GRID, delays=few.delays, n_folds=few.n_folds, **rest, device="cpu")
        model.fit(word_rates(opened), next(iter(subjects.values())))
    yield from sizes(opened, chosen)


def sizes(opened: Opened, chosen: Any) -> Iterator[Finding]:
    """Memory that the BOLD of all subjects takes, against what is free."""
    from neurolm.encoding.ridge.preflight import free_memory_gb
    from neurolm.progress import bytes_text

    needed = sum(4 * run.n_trs * run.n_voxels for runs in opened.runs.values() for run in runs)
    free = free_memory_gb() * 1e9
    if needed > free and not opened.is_elsewhere:
        yield Finding("note", f"the BOLD of all subjects takes {bytes_text(needed)} of memory; {bytes_text(free)} are free")
    else:
        yield Finding("ok", f"the BOLD of all subjects takes {bytes_text(needed)} of memory")


def comparison(opened: Opened) -> Iterator[Finding]:
    """The comparison of models: number of subjects, rows, folds and intervals."""
    from neurolm.encoding import compare_models
    from neurolm.workflows.comparison import settings

    few = replace(settings(opened.plan), alphas=GRID, extend_alphas=False, n_bootstrap=20, device="cpu")
    with _quiet():
        compare_models({"rehearsal": {"word rate": word_rates(opened)}}, one_voxel(opened), settings=few)
    yield from ()


def timescales(opened: Opened) -> Iterator[Finding]:
    """What each estimator needs of stories and subjects."""
    from neurolm.workflows.timescales_data import check_asked

    check_asked(opened.plan)
    yield from resolves("fit.permutations", opened.plan.config.fit.permutations, opened.plan.config.fit.fdr, _shifts_of(opened))


def contrast(opened: Opened) -> Iterator[Finding]:
    """Enough items in the norms for the pairs and permutations that are asked for."""
    import numpy as np

    from neurolm.datasets.resources import find_resource
    from neurolm.timescales.contrast import check_enough_items
    from neurolm.timescales.contrast_items import extremes, read_candidates

    config, asked = opened.plan.config, opened.plan.config.items
    check_enough_items(asked.pairs, asked.pairs, config.permutations)
    path = asked.norms or find_resource("concreteness")
    found = read_candidates(
        path, asked.rating, asked.frequency, kind=asked.kind, only=asked.only, least_frequency=asked.least_frequency
    )
    candidates = extremes(found, asked.candidates, asked.share, np.random.default_rng(config.seed))
    if asked.pairs > len(candidates.items) // 2:
        raise bad("items.pairs", f"be at most {len(candidates.items) // 2}, the candidates of each side", asked.pairs,
                  "Raise items.candidates or items.share.")  # fmt: skip
    yield from resolves("permutations", config.permutations, config.fit.fdr)
    yield Finding("ok", f"{len(candidates.items)} candidates for {asked.pairs} pairs", str(path))


def held_out(opened: Opened) -> Iterator[Finding]:
    """Folds, shifts and rows of the held-out fits that timescales and contrasts share."""
    from neurolm.timescales.held_out_fit import held_out_fit, stack
    from neurolm.workflows.timescales_data import fit_settings

    if not opened.reads_words:
        return
    settings = fit_settings(opened.plan, alphas=GRID, n_permutations=1, device="cpu")
    with _quiet():
        for runs in one_voxel(opened).values():
            data = stack(word_rates(opened), runs, settings)
            held_out_fit(data.X, data, settings)
    yield from ()


def identification(opened: Opened) -> Iterator[Finding]:
    """One story, at least three subjects on the same rows, at least two windows, and folds that can be made."""
    from neurolm.decoding.held_out_listeners import identify_held_out
    from neurolm.encoding import Design
    from neurolm.workflows.identification import check_subjects_and_windows

    own = opened.plan.config.identify
    runs = [runs[0] for runs in one_voxel(opened, n_voxels=2).values()]
    check_subjects_and_windows(opened.plan, runs)
    (features,) = word_rates(opened)
    X = Design.from_training([features], [runs[0].tr_times], own.delays).transform(features, runs[0].tr_times)
    with _quiet():
        identify_held_out(
            X, runs, window_trs=own.window_trs, by=own.by, shrinkage=own.shrinkage, n_folds=own.folds, n_permutations=1
        )
    yield from ()


def decoding(opened: Opened) -> Iterator[Finding]:
    """Stories, runs and files that the decoding names, the fit of the decoder, and a run long enough for its null decodes."""
    from neurolm.workflows.decoding_checks import check_material, rehearse_fit
    from neurolm.workflows.decoding_material import open_material

    config = opened.plan.config
    opened.material = material = open_material(config, None)
    for note in material.notes:
        yield Finding("note", note)
    check_material(config, material)
    with _quiet():
        rehearse_fit(config, material)


def training(opened: Opened) -> Iterator[Finding]:
    """Texts, tokenizer and model of a training, and what is measured after its last step; a real run checks them itself."""
    from neurolm.training.recipe import prepare_training

    if opened.is_dry:
        device = "cpu" if opened.is_elsewhere else opened.plan.machine.device
        prepare_training(opened.plan.config, opened.plan.output, device=device)[2].check_checkpoint()
    yield from ()


def one_voxel(opened: Opened, n_voxels: int = 1) -> dict[str, list[BoldRun]]:
    """Every subject's runs with invented BOLD: a signal that all share, and noise; times and voxels differ as the real ones do."""
    from neurolm.brain.rehearsal_run import invented_run

    fitted = enumerate(opened.fitted[1].items())
    return {who: [invented_run(run, n_voxels, story=i, subject=s) for i, run in enumerate(runs)] for s, (who, runs) in fitted}


def word_rates(opened: Opened) -> list[Any]:
    """One feature for each story."""
    from neurolm.features import WordRate

    return [WordRate().extract(story) for story in opened.fitted[0]]


def _shifts_of(opened: Opened) -> int | None:
    """How many circular shifts a single run has; None for several runs."""
    runs = next(iter(opened.runs.values()))
    return runs[0].n_trs - 2 * MIN_SHIFT + 1 if len(runs) == 1 else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of a fit to invented numbers say nothing about the data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
