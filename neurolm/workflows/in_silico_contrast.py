"""The contrast of two kinds of items: chosen from norms, heard alone and in sentences, mapped.

contrast/items.csv                                      the items with their ratings and what they were matched on
contrast/balance.csv                                    how alike the two conditions are in what they were matched on
contrast/contrast.json                                  what was made, from which settings: the mark of a finished contrast
<who>/<who>_desc-<context>_contrast.h5                  difference, t, p, intervals; <context> is alone or sentences
<who>/func/<who>_desc-<context>_stat-contrast_statmap.* the selectivity map, NaN where nothing is significant
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.brain.voxel_map import write_voxel_map
from neurolm.checks import bad
from neurolm.datasets import Dataset
from neurolm.progress import progress, say
from neurolm.storage import read_h5, read_json, write_h5, write_json, write_text
from neurolm.workflows.alignment import alignment_stage
from neurolm.workflows.output_folder import write_if_new, write_workflow
from neurolm.workflows.stage_inputs import Inputs, Reads
from neurolm.workflows.stages import Stage
from neurolm.workflows.study import Study, description, runs_settings, settle
from neurolm.workflows.timescales_config import ContrastConfig
from neurolm.workflows.timescales_data import Who, fit_settings, listeners, settings_of, stage_reads, stage_settings
from neurolm.workflows.timescales_estimators import Bench
from neurolm.workflows.timescales_files import alignment_fact, read_columns

if TYPE_CHECKING:
    import numpy as np

    from neurolm.progress import Progress
    from neurolm.timescales import ContrastResult, MatchedItems

CONTEXTS = ("alone", "sentences")
BESIDE = ("model", "untrained")
KEPT = ("difference", "t", "p", "p_max", "q", "valid", "interval")


@dataclass(frozen=True)
class ContrastPlan:
    """A config of a contrast with every choice made, and where results go; subjects, stories and data set as in `Study`."""

    config: ContrastConfig
    output: Path
    subjects: tuple[str, ...]
    stories: tuple[str, ...]
    dataset: Dataset
    workflow: str = "contrast"

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.dataset, self.subjects, self.stories)

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    def stages(self) -> list[Stage]:
        """Everything that is made, in order."""
        check = alignment_stage(self)
        contrast = Stage(
            name="contrast",
            rule="contrast",
            folder=self.output,
            makes=("contrast/contrast.json", "report.html"),
            what=f"{self.config.items.pairs} pairs of items, {self.config.permutations} permutations, one HTML file",
            settings={**runs_settings(self), **stage_settings(self, "contrast"), "title": self.config.title},
            inputs=lambda: {**stage_reads(self, "contrast"), **norm_inputs(self.config.items.norms)},
            after=(check,),
            owns=("contrast/*", "*/*_desc-*_contrast.h5", "*/func/*_desc-*_stat-contrast_statmap*"),
            draws=("figures/*",),
            function=partial(_contrast, self),
            estimate=partial(estimate_contrast, self),
        )
        return [check, contrast]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        write_workflow(self.output, self.config, estimators=["contrast"])
        write_if_new(self.output / "dataset_description.json", description(self))


def make_contrast_plan(config: ContrastConfig, *, output: str | Path | None = None) -> ContrastPlan:
    """Open the data set (or its fallback) and settle what is analysed."""
    settled, dataset = settle(config, output)
    subjects, stories = tuple(settled.dataset.subjects), tuple(settled.dataset.stories)
    return ContrastPlan(settled, Path(settled.output), subjects, stories, dataset)


def _contrast(plan: ContrastPlan) -> None:
    with progress("contrast") as report:
        run_contrast(plan, report)
    say(f"Report: {write_contrast_page(plan)}")


def estimate_contrast(plan: ContrastPlan) -> Iterator[str]:
    """Numbers of items, readings and draws, for a dry run."""
    items, n_sentences = plan.config.items, len(plan.config.sentences)
    yield f"{len(plan.subjects)} subjects, {len(plan.stories)} stories"
    n_side = int(items.candidates * items.share)
    yield f"surprisal of {2 * n_side} candidates in {n_sentences} sentences, to choose {items.pairs} pairs of {items.kind}"
    yield (
        f"{2 * items.pairs} items alone and in {n_sentences} sentences, {plan.config.permutations:,} permutations, "
        f"{plan.config.story_bootstrap} draws of stories"
    )
    yield f"-> {plan.output / 'report.html'}"


def norm_inputs(norms: str) -> Inputs:
    """The table that items come from, the config's own or the one that is found or fetched."""
    from neurolm.datasets import DatasetNotFound
    from neurolm.datasets.resources import find_resource

    try:
        return {"norms": Path(norms) if norms else find_resource("concreteness", download=False)}
    except DatasetNotFound:
        return {}


@dataclass(frozen=True)
class Stimuli:
    """Matched items and the sentences of each context."""

    items: MatchedItems
    sentences: Mapping[str, list[str]]

    @property
    def both(self) -> tuple[str, ...]:
        return self.items.first + self.items.second


def mark_path(plan: Study) -> Path:
    return plan.output / "contrast" / "contrast.json"


def choose_items(bench: Bench, report: Progress) -> Stimuli:
    """Items by their norms, matched on length, frequency and surprisal; the lists are written out."""
    import numpy as np

    from neurolm.datasets.resources import find_resource
    from neurolm.features import Surprisal
    from neurolm.report.figures import csv_text
    from neurolm.stimuli import ContextWindow
    from neurolm.timescales import match_items
    from neurolm.timescales.contrast_items import COVARIATES, covariates_of, extremes, read_candidates

    config, asked = bench.config, bench.config.items
    path = Path(asked.norms) if asked.norms else find_resource("concreteness")
    found = read_candidates(
        path, asked.rating, asked.frequency, kind=asked.kind, only=asked.only, least_frequency=asked.least_frequency
    )
    candidates = extremes(found, asked.candidates, asked.share, np.random.default_rng(config.seed))
    if asked.pairs > len(candidates.items) // 2:
        raise bad("items.pairs", f"be at most {len(candidates.items) // 2}, the candidates of each side", asked.pairs,
                  "Raise items.candidates or items.share.")  # fmt: skip
    surprisal = Surprisal(
        bench.lm, ContextWindow(None, "story"), lowercase=config.features.lowercase, spaces=config.features.spaces
    )
    covariates = covariates_of(candidates, surprisal, config.sentences, report)
    matched = match_items(candidates.items, candidates.ratings, covariates, asked.pairs, share=0.5)
    n, output = asked.pairs, bench.plan.output
    table = {"pair": [*range(1, n + 1)] * 2, "condition": [config.names[0]] * n + [config.names[1]] * n}
    table |= {"item": [*matched.first, *matched.second], asked.rating: matched.ratings.ravel().tolist()}
    table |= {name: matched.covariates[..., i].ravel().tolist() for i, name in enumerate(COVARIATES)}
    write_text(output / "contrast" / "items.csv", csv_text(table))
    means = {name: matched.covariates[side].mean(0).tolist() for side, name in enumerate(config.names)}
    balance = {"matched_on": list(COVARIATES), **means, "difference_in_sd": matched.balance.tolist()}
    write_text(output / "contrast" / "balance.csv", csv_text(balance))
    return Stimuli(matched, {"alone": ["{}"], "sentences": config.sentences})


def run_contrast(plan: Study, report: Progress) -> None:
    """Choose the items, let every fitted model hear them, test, map and save."""
    bench = Bench(plan)
    stimuli = choose_items(bench, report)
    files = ["contrast/items.csv", "contrast/balance.csv"]
    own = {context: own_contrasts(bench, stimuli, context, report) for context in CONTEXTS}
    for who in bench.everyone:
        for context in CONTEXTS:
            result, halves = contrast(bench, who, stimuli, context, report)
            result = result.beside(*own[context])
            stem = plan.output / who.stem / f"{who.stem}_desc-{context}_contrast.h5"
            arrays = {name: getattr(result, name) for name in KEPT}
            for beside in BESIDE:
                arrays |= {f"{beside}/{name}": getattr(getattr(result, beside), name) for name in ("difference", "t", "p", "q")}
            if halves is not None:
                arrays["listeners_interval"] = halves
            provenance = {
                "settings": settings_of(plan, "contrast"),
                "subjects": list(plan.subjects),
                "stories": list(plan.stories),
            }
            write_h5(stem, arrays, {"details": result.details, "provenance": provenance})
            names = " minus ".join(plan.config.names)
            about = {"Description": f"response to items, {names}, {context}", "Units": "BOLD, z-scored", **provenance}
            map_stem = stem.parent / "func" / f"{who.stem}_desc-{context}_stat-contrast_statmap"
            made = write_voxel_map(map_stem, result.map(plan.config.fit.fdr), who.space, "difference", about)
            files += [str(path.relative_to(plan.output)) for path in (stem, *made)]
    level = plan.config.fit.fdr
    units = {c: {"trained": model.selective(level), "untrained": new.selective(level)} for c, (model, new) in own.items()}
    counts = {"readings_asked": bench.remembered.n_asked, "readings_made": bench.remembered.n_computed}
    write_json(mark_path(plan), {"settings": settings_of(plan, "contrast"), "files": files, "selective_units": units, **counts})


def contrast(
    bench: Bench, who: Who, stimuli: Stimuli, context: str, report: Progress
) -> tuple[ContrastResult, np.ndarray | None]:
    """The contrast of one subject or the mean listener, and its interval over listeners."""
    import numpy as np

    from neurolm.timescales import Contrast, UnitResponder, story_bootstrap
    from neurolm.timescales.listener_jackknife import jackknife_interval

    settings, config = fit_settings(bench.plan), bench.config
    n = len(stimuli.items.first)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*of the targets chose the")
        responder, test = bench.responder(who.runs, settings, report, tested=True)
        p = test.p_values
        responses = _heard(responder, stimuli, context)
        test = Contrast(config.permutations, level=settings.level, seed=config.seed)
        covariates = stimuli.items.covariates.reshape(2 * n, -1)
        result = test.run(responses[:n], responses[n:], covariates=covariates, prediction_p=p, space=who.space, progress=report)
        values = _heard(UnitResponder(bench.remembered), stimuli, context)
        block_trs = config.block_trs if len(who.runs) < 3 else None
        direction = values[:n].mean(0) - values[n:].mean(0)
        draws = {"n_bootstrap": config.story_bootstrap, "block_trs": block_trs, "seed": config.seed}
        result = story_bootstrap(result, responder.model, bench.features(), who.runs, direction, **draws, progress=report)
        if who.halves is None:
            return result, None
        halves, _ = bench.responder(who.halves, replace(settings, n_permutations=1), report, tested=False)
        each = _heard(halves, stimuli, context)
    difference = (each[:n].mean(0) - each[n:].mean(0)).reshape(-1, len(result.difference))
    return result, np.stack(jackknife_interval(result.difference, difference, len(bench.plan.subjects)))


def own_contrasts(bench: Bench, stimuli: Stimuli, context: str, report: Progress) -> list[ContrastResult]:
    """The contrast of the language model's own units, and of an untrained one's."""
    from neurolm.timescales import Contrast, UnitResponder

    n, config = len(stimuli.items.first), bench.config
    covariates = stimuli.items.covariates.reshape(2 * n, -1)
    found = []
    for space in (bench.remembered, bench.states(bench.untrained, cached=False)):
        values = _heard(UnitResponder(space), stimuli, context)
        found.append(Contrast(config.permutations, seed=config.seed).run(values[:n], values[n:], covariates=covariates))
        report(len(found), 2, "models")
    return found


def write_contrast_page(plan: Study) -> Path:
    """Figures and report.html of a finished contrast."""
    from neurolm.brain.space import place_names
    from neurolm.report.contrast_page import ContrastShown, contrast_page

    mark = read_json(mark_path(plan))
    shown: dict[str, dict[str, ContrastShown]] = {}
    for file in (name for name in mark["files"] if name.endswith("_contrast.h5")):
        who, context = Path(file).parent.name, file.rsplit("_desc-", 1)[1].removesuffix("_contrast.h5")
        arrays, told = read_h5(plan.output / file)
        voxels = {name: values for name, values in arrays.items() if "/" not in name}
        shown.setdefault(who, {})[context] = ContrastShown(**voxels, n_permutations=told["details"]["n_permutations"])
    spaces = {who: runs[0].space for who, runs in _runs_by_stem(plan).items()}
    page, pictures = contrast_page(
        plan.config.title or f"{plan.config.names[0]} against {plan.config.names[1]}: {plan.dataset.info.name}",
        shown,
        {who: place_names(space) for who, space in spaces.items()},
        names=plan.config.names,
        items=read_columns(plan.output / "contrast" / "items.csv"),
        balance=read_columns(plan.output / "contrast" / "balance.csv"),
        sentences=plan.config.sentences,
        units=mark["selective_units"],
        facts={
            "Data": plan.dataset.info.citation,
            "Language model": f"{plan.config.features.model}, layer {plan.config.features.layer}",
            "Alignment": alignment_fact(plan),
        },
        warning="No person was measured." if plan.dataset.is_simulated else "",
    )
    for name, picture in pictures.items():
        picture.save(plan.output / "figures", name)
    return page.write(plan.output / "report.html")


def _runs_by_stem(plan: Study) -> dict[str, Any]:
    return {who.stem: who.runs for who in listeners(plan)}


def _heard(responder: Any, stimuli: Stimuli, context: str) -> np.ndarray:
    """(n_items of both, n_voxels) mean response to each item over the sentences of a context."""
    import numpy as np

    from neurolm.timescales import item_responses

    return np.mean([item_responses(responder, stimuli.both, sentence) for sentence in stimuli.sentences[context]], axis=0)
