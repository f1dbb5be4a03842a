"""Report of an encoding analysis: its result files as the pages of the group and of each subject."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.brain.space import place_names
from neurolm.progress import progress, say
from neurolm.statistics import STOP_AFTER
from neurolm.storage import file_hash, read_json
from neurolm.workflows.encoding_files import recovery_notes
from neurolm.workflows.extraction import read_manifest
from neurolm.workflows.output_folder import label
from neurolm.workflows.prepared_runs import dropped_rows
from neurolm.workflows.report_sections import found_sections, surface_maps, why_not_on_cortex
from neurolm.workflows.study import CORTEX, Study

if TYPE_CHECKING:
    from neurolm.brain.transients import EdgeRows
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.encoding.evaluation import Evaluation, Scored
    from neurolm.report import DatasetFacts, EncodingReport, LayerScores, MethodFacts
    from neurolm.workflows.config import EncodeConfig

CITED = {
    "alice": ["brennan2016"],
    "lebel2023": ["lebel2023"],
    "little_prince": ["li2022"],
    "narratives": ["nastase2021"],
}
FROM_FMRIPREP = ("bids", "narratives")
COLUMNS = {
    "Regions": "regions",
    "VolumeMask": "voxels",
    "Unplaced": "voxels",
    "Surface": "vertices",
    "Grayordinates": "grayordinates",
}
BASELINES = {"word rate": "one number for each word: that it was there"}
SHOWN_AS = {"smollm2-135m": "SmolLM2-135M-Instruct (4-bit weights)"}
CEILING = (
    "The noise ceiling of a single listener is the square root of the mean pairwise correlation between listeners; that of the "
    "mean listener is the square root of the reliability that follows from it (Spearman, 1910; Brown, 1910). It bounds what "
    "listeners share."
)
PACKAGES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "matplotlib", "h5py")


def write_reports(plan: Study, folders: Sequence[Path]) -> None:
    """The page of all, and that of each subject."""
    from neurolm.report import write_report
    from neurolm.report.page_figures import save_page_figures

    checks, result = read_results(plan)
    whole = with_sections(encoding_report(plan, checks, result), folders, "group")
    say(f"{write_report(whole, plan.output / 'report.html', figures=plan.output / 'figures')}")
    with progress("reports") as shown:
        for i, (name, page) in enumerate(subject_reports(plan, checks, result, whole)):
            written = write_report(with_sections(page, folders, name), plan.output / f"{name}.html")
            save_page_figures(written.read_text(encoding="utf-8"), plan.output / name / "figures")
            shown(i + 1, len(plan.subjects), "subjects", name)
    say(f"{plan.output / 'sub-*.html'}: {len(plan.subjects)} subjects")


def subject_reports(
    plan: Study, checks: list[AlignmentCheck], result: Evaluation, whole: EncodingReport
) -> Iterator[tuple[str, EncodingReport]]:
    """("sub-01", its report) of every subject; of one subject alone, what the page of all says."""
    if not result.each:
        yield f"sub-{label(result.subjects[0])}", whole
        return
    for subject, scored in zip(result.subjects, result.each, strict=True):
        name = f"sub-{label(subject)}"
        interval = scored.interval_name if np.isfinite(scored.interval).any() else ""
        yield (
            name,
            replace(
                whole,
                title=f"{whole.title}: {name}",
                dataset=replace(whole.dataset, subjects=(subject,)),
                methods=replace(whole.methods, n_null=scored.n_null, interval=interval),
                scores=(replace(layer_scores(result, scored), who=name),),
                alignment=tuple(story.of_subject(check, subject) for story, check in zip(whole.alignment, checks, strict=True)),
                listeners=None,
                alphas=None,
                surface=surface_maps(result.space, result.sets, scored.r, scored.q, plan.config.encode.fdr),
            ),
        )


def with_sections(page: EncodingReport, folders: Sequence[Path], who: str) -> EncodingReport:
    """The report with what other analyses found of the same listener or group."""
    sections, pictures = found_sections(folders, who)
    return replace(page, sections=tuple(sections), pictures=pictures)


def read_results(plan: Study) -> tuple[list[AlignmentCheck], Evaluation]:
    """What `neurolm stimuli check` and `neurolm encode` left."""
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.encoding.evaluation import Evaluation

    checks = [AlignmentCheck.from_json(c) for c in read_json(plan.output / "stimuli" / "alignment.json")]
    return checks, Evaluation.load(plan.output / "encoding" / "scores.h5")


def encoding_report(plan: Study, checks: list[AlignmentCheck], result: Evaluation) -> EncodingReport:
    """Everything that the page of all subjects shows, from the files of a finished analysis."""
    from neurolm.report import ChosenAlphas, EncodingReport, Listeners, StoryAlignment, references

    scored, dropped = result.scored[0], dropped_rows(plan)
    baselines = {name: result.listener_baselines[:, i] for i, name in enumerate(result.baselines)}
    return EncodingReport(
        title=plan.config.title or plan.dataset.info.name,
        dataset=_dataset_facts(plan, checks),
        methods=_method_facts(plan, result, dropped),
        regions=tuple(place_names(result.space)),
        scores=tuple(layer_scores(result, scored) for scored in result.scored),
        alignment=tuple(
            StoryAlignment.from_check(c, plan.dataset.transcript(c.story), dropped=_dropped(c, dropped)) for c in checks
        ),
        listeners=Listeners(result.subjects, result.listeners, baselines) if len(result.subjects) > 1 else None,
        notes=(*recovery_notes(plan), *filter(None, [why_not_on_cortex(result.space)])),
        columns=COLUMNS[type(result.space).__name__],
        surface=surface_maps(result.space, result.sets, scored.r, scored.q, plan.config.encode.fdr),
        override=tuple(plan.config.override),
        alphas=ChosenAlphas(
            grid=result.alphas, chosen=result.best_alphas, is_extended=bool(result.settings.get("extend_alphas"))
        ),
        provenance=_provenance(plan, result),
        references=references(CITED.get(plan.config.dataset.name, [])),
    )


def _dataset_facts(plan: Study, checks: list[AlignmentCheck]) -> DatasetFacts:
    from neurolm.report import DatasetFacts

    info = plan.dataset.info
    return DatasetFacts(
        name=info.name,
        task=info.design,
        subjects=plan.subjects,
        stories=plan.stories,
        n_words=sum(c.n_words for c in checks),
        n_trs=sum(len(c.tr_times) for c in checks),
        tr=checks[0].tr,
        source=info.citation,
        licence=info.licence,
        left_out=dict(getattr(plan.dataset, "left_out", {})),
        known_problems=info.facts,
        is_simulated=info.is_simulated,
        simulated_because=_why_simulated(plan) if info.is_simulated else "",
    )


def _why_simulated(plan: Study) -> str:
    if plan.config.dataset.name == CORTEX:
        return "The voxels are simulated on purpose, so that the truth is known."
    return "The real data could not be had on this machine, so a simulated group of listeners stands in."


def _method_facts(plan: Study, result: Evaluation, dropped: EdgeRows) -> MethodFacts:
    from neurolm.report import MethodFacts

    config = plan.config
    made = read_manifest(plan, plan.stories[0])
    n, unit = config.features.context.n, config.features.context.unit
    seen = made["context_seen"]
    context = {
        "words": f"each word was read with exactly the last {n} words, itself included",
        "tokens": f"each word was read with exactly the last {n} tokens",
        "sliding": f"the story was read in overlapping chunks of {n} tokens, so that words saw a median of {seen['median']} "
        "tokens including their own"
        if seen
        else "",
        "story": "each word was read with the whole story before it",
    }[unit]
    if made["n_shortened"]:
        context += f" ({made['n_shortened']} words at the beginning of a story saw fewer)"
    vector = {"last": "the state at its last sub-word token", "mean": "the mean", "sum": "the sum"}[config.features.pooling]
    steps = []
    if config.dataset.name in FROM_FMRIPREP:
        steps.append("images came from fMRIPrep (Esteban et al., 2019)")
    if confounds := config.dataset.options.get("confounds"):
        named = [confounds] if isinstance(confounds, str) else confounds
        steps.append(f"confounds were regressed out ({', '.join(map(str, named)).replace('_', ' ')})")
    if config.preprocess.trim_start or config.preprocess.trim_end:
        steps.append(
            f"{config.preprocess.trim_start} volumes at the beginning and {config.preprocess.trim_end} at the end were dropped"
        )
    if dropped:
        steps.append(
            f"{dropped.start} rows at the beginning and {dropped.end} at the end of every run, which left the distribution of the "
            "others in the training rows of every fold (robust z above 5), were dropped"
            if config.preprocess.trim_transients == "auto"
            else f"{config.preprocess.trim_transients:g} s at both edges of every run were dropped"
        )
    if config.preprocess.detrend_degree is not None:
        steps.append(f"Legendre polynomials up to degree {config.preprocess.detrend_degree} were removed")
    if config.preprocess.zscore:
        steps.append("each column was z-scored")
    one_run = len(plan.stories) == 1
    return MethodFacts(
        model=SHOWN_AS.get(config.features.model, config.features.model),
        ceiling=CEILING if len(result.subjects) > 1 else "",
        n_model_layers=made["n_model_layers"],
        n_units=made["width"],
        context=context + ("; words were read in lower case" if config.features.lowercase else ""),
        word_vector=vector if config.features.pooling == "last" else f"{vector} of the states at its sub-word tokens",
        lobes=config.design.lobes,
        delays=tuple(config.design.delays),
        preprocessing=", ".join(steps[:-1]) + " and " * (len(steps) > 1) + "".join(steps[-1:]),
        n_folds=config.encode.folds if one_run else 0,
        gap_trs=config.encode.gap if one_run else 0,
        outer="" if one_run else _outer(config.encode),
        n_inner_folds=config.encode.inner_folds,
        null="shift prediction" if config.encode.test_stories else "shift BOLD",
        n_null=result.scored[0].n_null,
        stop_after=STOP_AFTER if np.isnan(result.scored[0].p_max).all() else 0,
        interval=result.scored[0].interval_name,
        fdr=config.encode.fdr,
        low_level=result.low_level,
    )


def layer_scores(result: Evaluation, scored: Scored) -> LayerScores:
    """One way of scoring as the page shows it."""
    from neurolm.report import Baseline, ChosenLayers, LayerScores

    layers = tuple(int(name.removeprefix("layer ")) for name in result.sets)
    chosen, against = scored.chosen, scored.against
    plain = [
        Baseline(
            name=name,
            r=scored.baselines[i],
            interval=scored.baseline_interval[:, i],
            q=against.baseline_q[i],
            difference=against.difference[i],
            difference_interval=against.interval[:, i],
            difference_p=against.p[i],
            difference_q=against.q[i],
        )
        for i, name in enumerate(result.baselines)
    ]
    content = scored.content_free
    if content is not None:
        about = "mean of the content-free draws: the same features, each word with those of another one, without word rate"
        plain.append(Baseline(name="content-free", r=content.draws.mean(0), interval=content.band, description=about))
    return LayerScores(
        who=scored.who,
        interval_name=scored.interval_name,
        n_null=scored.n_null,
        layers=layers,
        r=scored.r,
        interval=scored.interval,
        ceiling_interval=scored.ceiling_interval,
        null=scored.null,
        p=scored.p,
        q=scored.q,
        ceiling=scored.ceiling,
        ceiling_name=scored.ceiling_name,
        chosen=ChosenLayers(
            layer=np.array(layers)[chosen.index],
            r=chosen.r,
            p=chosen.p,
            q=chosen.q,
            interval=chosen.interval,
            how="inside the training folds",
        ),
        baselines=tuple(plain),
        content=content,
        beyond=scored.beyond,
    )


def _outer(encode: EncodeConfig) -> str:
    """How several runs were held out."""
    if encode.test_stories:
        return f"Responses to {', '.join(encode.test_stories)} were predicted, once, by a fit of all other stories."
    return f"Responses were predicted across whole runs, held out in {encode.folds} groups."


def _dropped(check: AlignmentCheck, rows: EdgeRows) -> tuple[str, ...]:
    """What of the story was not measured or is not analysed, in plain words."""
    start, end = check.tr_times[0], check.tr_times[-1] + check.tr
    dropped = [f"nothing was measured before {start:g} s of story time"] if start > 0 else []
    if check.n_words_before:
        dropped.append(f"{check.n_words_before} words before the first row")
    if check.n_words_after:
        dropped.append(f"{check.n_words_after} words after {end:g} s")
    for n, where in ((rows.start, "first"), (rows.end, "last")):
        if n:
            dropped.append(f"the {where} {n} rows ({n * check.tr:g} s) as transients")
    return tuple(dropped)


def _provenance(plan: Study, result: Evaluation) -> Any:
    """What was used; seed and device are those of the fit, which options of the command may have set."""
    from neurolm import __version__
    from neurolm.report import Provenance

    made = {story: read_manifest(plan, story) for story in plan.stories}
    inputs = {f"transcript of {story}": m["transcript"] for story, m in made.items()}
    inputs["weights of the language model"] = next(iter(made.values()))["settings"]["weights"]
    for name in ("stimuli/alignment.json", "encoding/scores.h5"):
        inputs[name] = file_hash(Path(plan.output) / name)
    return Provenance(
        settings=plan.config.model_dump(mode="json", exclude={"output"}) | {k: result.settings[k] for k in ("seed", "device")},
        versions={"neurolm": __version__, "Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        inputs=inputs,
        machine={"system": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count())},
    )
