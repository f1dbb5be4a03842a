"""Files of an encoding analysis: tables of scores, and maps and models of each subject in the shape of a BIDS derivative.

encoding/scores.tsv, differences.tsv           every score; the chosen layer less each baseline
encoding/beyond_low_level.tsv                  low-level features with and without the chosen layer
encoding/content_free.tsv                      the features without their means, and content-free draws of them
sub-*/sub-*_encoding.h5                        the fitted model: weights, penalties, folds, design, voxels
sub-*/func/sub-*_desc-<model>L<layer>_stat-r_statmap.*   held-out correlation of one layer, with a JSON sidecar; stat-q
group/func/group_desc-<model>L<layer>_stat-<mean|q|pmax>_statmap.*   over subjects in the space that they share

and of a simulated cortex

sub-*/func/sub-*_desc-found<Map>_statmap.nii.gz, .func.gii     what the analysis found, voxel by voxel and on fsaverage5
sub-*/func/sub-*_desc-planted<Map>_statmap.nii.gz, .func.gii   the truth
encoding/recovery.tsv                                          correlation of each pair of maps
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm import __version__
from neurolm.brain.space import place_names
from neurolm.brain.voxel_map import write_voxel_map
from neurolm.progress import progress, say
from neurolm.storage import read_json, write_json, write_text
from neurolm.workflows.extraction import manifest_path, read_layer
from neurolm.workflows.output_folder import label, model_label
from neurolm.workflows.study import CORTEX, Study

if TYPE_CHECKING:
    from pathlib import Path

    from neurolm.brain import BoldRun, VoxelMap
    from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
    from neurolm.progress import Progress
    from neurolm.workflows.prepared_runs import HeardStories

UNITS = {"explainable_correlation": "r", "timescale": "words", "concreteness": "weight"}


def score_table(result: Evaluation) -> str:
    """Every score as tab-separated values, one row for each (who, feature set, region)."""
    out = io.StringIO()
    out.write("who\tset\tregion\tr\tlow\thigh\tp\tq\tceiling\n")
    names = place_names(result.space)
    for scored in result.scored:
        for i, name in enumerate(result.sets):
            for v, region in enumerate(names):
                values = (scored.r[i, v], *scored.interval[:, i, v], scored.p[i, v], scored.q[i, v], scored.ceiling[v])
                out.write("\t".join([scored.who, name, region, *(_number(x) for x in values)]) + "\n")
        for i, name in enumerate(result.baselines):
            for v, region in enumerate(names):
                values = (scored.baselines[i, v], *scored.baseline_interval[:, i, v])
                out.write("\t".join([scored.who, name, region, *(_number(x) for x in values), "n/a", "n/a", "n/a"]) + "\n")
    for s, subject in enumerate(result.subjects):
        for i, name in enumerate(result.sets):
            for v, region in enumerate(names):
                row = (result.listeners[s, i, v], result.listeners_p[s, i, v])
                out.write("\t".join([subject, name, region, _number(row[0]), "n/a", "n/a", _number(row[1]), "n/a", "n/a"]) + "\n")
    return out.getvalue()


def difference_table(result: Evaluation) -> str:
    """The chosen set less each baseline as tab-separated values, one row for each (who, baseline, region)."""
    out = io.StringIO()
    out.write("who\tbaseline\tregion\tdifference\tlow\thigh\tp\tp_max\tq\tbaseline_p\n")
    names = place_names(result.space)
    for scored in (*result.scored, *result.each):
        found = scored.against
        for i, name in enumerate(result.baselines):
            for v, region in enumerate(names):
                tested = (found.p[i, v], found.p_max[i, v], found.q[i, v], found.baseline_p[i, v])
                values = (found.difference[i, v], *found.interval[:, i, v], *tested)
                out.write("\t".join([scored.who, name, region, *(_number(x) for x in values)]) + "\n")
    return out.getvalue()


def content_table(result: Evaluation) -> str:
    """Scores of the features without their means beside content-free draws of them, one row for each region."""
    out = io.StringIO()
    out.write("who\tregion\tr\tdraws_mean\tdraws_low\tdraws_high\tp\tn_draws\n")
    for scored in result.scored:
        if (found := scored.content_free) is None:
            continue
        low, high = found.band
        for v, region in enumerate(place_names(result.space)):
            values = (found.r[v], found.draws[:, v].mean(), low[v], high[v], found.p_values[v])
            out.write("\t".join([scored.who, region, *(_number(x) for x in values), str(len(found.draws))]) + "\n")
    return out.getvalue()


def beyond_table(result: Evaluation) -> str:
    """Low-level features with and without the chosen set, one row for each (who, region)."""
    out = io.StringIO()
    out.write("who\tregion\tlow_level\tjoint\tdifference\tlow\thigh\tp\tp_max\tq\n")
    for scored in (*result.scored, *result.each):
        if (found := scored.beyond) is None:
            continue
        for v, region in enumerate(place_names(result.space)):
            tested = (found.p[v], found.p_max[v], found.q[v])
            values = (found.low_level[v], found.joint[v], found.difference[v], *found.interval[:, v], *tested)
            out.write("\t".join([scored.who, region, *(_number(x) for x in values)]) + "\n")
    return out.getvalue()


def _number(value: float) -> str:
    """`n/a` for what is not known, as BIDS has it."""
    return "n/a" if value != value else f"{value:.6g}"


def write_subjects(plan: Study, result: Evaluation, heard: HeardStories, settings: EvaluationSettings, report: Progress) -> None:
    """Maps of every layer and one fitted model for each subject."""
    layer = int(result.sets[best_set(result)].removeprefix("layer "))
    stories = [read_layer(plan, story, layer) for story in heard.stories]
    for i, (subject, runs) in enumerate(heard.runs.items()):
        report(i, len(heard.runs), "subjects", subject)
        folder = plan.output / f"sub-{label(subject)}"
        _write_maps(plan, result, i, folder)
        model = _model(result, settings).fit(stories, runs)
        model.save(folder / f"sub-{label(subject)}_encoding.h5", provenance(plan, layer))
    write_group(plan, result)
    report(len(heard.runs), len(heard.runs), "subjects")


def best_set(result: Evaluation) -> int:
    """Position of the feature set that was chosen for most voxels, inside the training folds."""
    return int(np.bincount(result.scored[0].chosen.index, minlength=len(result.sets)).argmax())


def provenance(plan: Study, layer: int) -> dict[str, Any]:
    """What made a file: settings, software and the hashes of its inputs."""
    made = {story: read_json(manifest_path(plan, story)) for story in plan.stories}
    config = plan.config.model_dump(mode="json")
    return {
        "neurolm": __version__,
        "settings": {key: config[key] for key in ("dataset", "features", "preprocess", "design", "encode", "seed")},
        "layer": layer,
        "features": {story: m["hashes"][str(layer)] for story, m in made.items()},
        "transcripts": {story: m["transcript"] for story, m in made.items()},
    }


def _model(result: Evaluation, s: EvaluationSettings) -> Any:
    from neurolm.encoding import EncodingModel

    return EncodingModel(
        tuple(result.alphas),
        delays=s.delays,
        n_folds=s.n_folds,
        gap=s.gap,
        lobes=s.lobes,
        max_gap_s=s.max_gap_s,
        device=s.device,
    )


def _write_maps(plan: Study, result: Evaluation, subject: int, folder: Path) -> None:
    """Held-out correlation of every layer, and its q where it was tested."""
    scored = result.each[subject] if result.each else result.scored[0]
    for i, name in enumerate(result.sets):
        layer = int(name.removeprefix("layer "))
        about = provenance(plan, layer)
        r = {"Description": "held-out correlation of predicted and measured BOLD", "Units": "r"}
        write_voxel_map(_stem(plan, folder, layer, "r"), result.listeners[subject, i], result.space, "r", r | about)
        if scored.n_null:
            q = {"Description": f"false discovery rate over voxels, {scored.n_null} surrogates", "Units": "q"}
            write_voxel_map(_stem(plan, folder, layer, "q"), scored.q[i], result.space, "q", q | about)


def write_group(plan: Study, result: Evaluation) -> None:
    """Statistics over subjects in the space that they share: mean, and tests against shifts of all subjects by the same lags."""
    n = len(result.subjects)
    if n < 2:
        return
    folder = plan.output / "group"
    for i, name in enumerate(result.sets):
        layer = int(name.removeprefix("layer "))
        about = provenance(plan, layer) | {"Subjects": list(result.subjects)}
        maps = {"mean": (result.listeners[:, i].mean(0), f"mean over {n} subjects of their held-out correlations", "r")}
        single = result.scored[1]  # the mean over subjects of their own scores
        if single.n_null:
            how = f"mean of {n} subjects against {single.n_null:,} circular shifts of all of them by the same lags, refitted"
            maps["q"] = (single.q[i], f"false discovery rate over voxels: {how}", "q")
        if single.n_null and np.isfinite(single.p_max[i]).any():
            maps["pmax"] = (single.p_max[i], f"p corrected by the largest score over voxels: {how}", "p")
        for stat, (values, description, units) in maps.items():
            sidecar = {"Description": description, "Units": units} | about
            write_voxel_map(_stem(plan, folder, layer, stat), values, result.space, stat, sidecar)


def _stem(plan: Study, folder: Path, layer: int, stat: str) -> Path:
    desc = f"{model_label(plan.config.features.model)}L{layer:02d}"
    return folder / "func" / f"{folder.name}_desc-{desc}_stat-{stat}_statmap"


def write_recovery(plan: Study, subjects: Mapping[str, Sequence[BoldRun]], settings: EvaluationSettings) -> None:
    """Analyse the first simulated listener with features of every planted timescale; write maps and their agreement."""
    from neurolm.encoding import evaluate
    from neurolm.simulation import SimulatedCortex, agreement, feature_sets, recovered_maps

    cortex = plan.dataset
    if not isinstance(cortex, SimulatedCortex):
        return
    subject, runs = next(iter(subjects.items()))
    sets = feature_sets(cortex, plan.stories)
    scores_only = replace(settings, n_content_free=0)
    with progress("recovery") as report:
        result = evaluate(sets, {subject: runs}, settings=scores_only, seed=plan.config.seed, progress=report)
    found = recovered_maps(cortex, result, sets, runs)
    matches = agreement(cortex, found)
    for name, planted in cortex.planted().items():
        _write_cortex_map(plan, subject, f"found{_camel(name)}", found[name], name)
        _write_cortex_map(plan, subject, f"planted{_camel(name)}", planted, name)
    table = "map\tr\tn_voxels\n" + "".join(
        f"{name}\t{r:.4f}\t{int((found[name].values == found[name].values).sum())}\n" for name, r in matches.items()
    )
    write_text(plan.output / "encoding" / "recovery.tsv", table)
    say("Found against planted, map correlation: " + ", ".join(f"{name} {r:.2f}" for name, r in matches.items()))


def recovery_notes(plan: Study) -> tuple[str, ...]:
    """What `write_recovery` found, as a sentence for the report; nothing for data of other kinds."""
    path = plan.output / "encoding" / "recovery.tsv"
    if plan.config.dataset.name != CORTEX or not path.exists():
        return ()
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    found = ", ".join(f"{name.replace('_', ' ')} {float(r):.2f} ({int(n):,} voxels)" for name, r, n in rows)
    return (f"The truth was planted. Correlation of the maps that were found with those that were planted: {found}.",)


def _write_cortex_map(plan: Study, subject: str, description: str, voxels: VoxelMap, name: str) -> None:
    who = f"sub-{label(subject)}"
    stem = plan.output / who / "func" / f"{who}_desc-{description}_statmap"
    voxels.to_nifti(f"{stem}.nii.gz")
    voxels.to_gifti(stem)
    sidecar = {"Description": "SIMULATED cortex; " + name.replace("_", " "), "Units": UNITS[name]}
    write_json(f"{stem}.json", sidecar)


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))
