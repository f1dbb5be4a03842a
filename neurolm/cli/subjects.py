"""What `neurolm encode` leaves for each subject, in the shape of a BIDS derivative.

sub-*/sub-*_encoding.h5                        the fitted model: weights, penalties, folds, design, voxels
sub-*/func/sub-*_desc-<model>L<layer>_stat-r_statmap.*   held-out correlation of one layer, with a JSON sidecar; stat-q
group/func/group_desc-<model>L<layer>_stat-<mean|q|pmax>_statmap.*   over subjects in the space that they share
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm import __version__
from neurolm.cli.features import manifest_path, read_layer
from neurolm.cli.names import label, model_label
from neurolm.cli.voxel_map_files import write_voxel_map
from neurolm.storage import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from neurolm.cli.plan import Plan
    from neurolm.cli.story_runs import HeardStories
    from neurolm.encoding.evaluation import Evaluation
    from neurolm.progress import Progress


def write_subjects(plan: Plan, result: Evaluation, heard: HeardStories, report: Progress) -> None:
    """Maps of every layer and one fitted model for each subject."""
    layer = int(result.sets[best_set(result)].removeprefix("layer "))
    stories = [read_layer(plan, story, layer) for story in heard.stories]
    for i, (subject, runs) in enumerate(heard.runs.items()):
        report(i, len(heard.runs), "subjects", subject)
        folder = plan.output / f"sub-{label(subject)}"
        _write_maps(plan, result, i, folder)
        model = _model(plan, result).fit(stories, runs)
        model.save(folder / f"sub-{label(subject)}_encoding.h5", provenance(plan, layer))
    write_group(plan, result)
    report(len(heard.runs), len(heard.runs), "subjects")


def best_set(result: Evaluation) -> int:
    """Position of the feature set that was chosen for most voxels, inside the training folds."""
    return int(np.bincount(result.scored[0].chosen.index, minlength=len(result.sets)).argmax())


def provenance(plan: Plan, layer: int) -> dict[str, Any]:
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


def _model(plan: Plan, result: Evaluation) -> Any:
    from neurolm.cli.encode import settings
    from neurolm.encoding import EncodingModel

    s = settings(plan)
    return EncodingModel(
        tuple(result.alphas),
        delays=s.delays,
        n_folds=s.n_folds,
        gap=s.gap,
        lobes=s.lobes,
        max_gap_s=s.max_gap_s,
        device=s.device,
    )


def _write_maps(plan: Plan, result: Evaluation, subject: int, folder: Path) -> None:
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


def write_group(plan: Plan, result: Evaluation) -> None:
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


def _stem(plan: Plan, folder: Path, layer: int, stat: str) -> Path:
    desc = f"{model_label(plan.config.features.model)}L{layer:02d}"
    return folder / "func" / f"{folder.name}_desc-{desc}_stat-{stat}_statmap"
