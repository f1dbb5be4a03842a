"""What `neurolm encode` leaves for each subject, in the shape of a BIDS derivative.

sub-*/sub-*_encoding.h5                        the fitted model: weights, penalties, folds, design, voxels
sub-*/func/sub-*_desc-<model>L<layer>_stat-r_statmap.*   held-out correlation of one layer, with a JSON sidecar
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm import __version__
from neurolm.cli.features import manifest_path, read_layer
from neurolm.cli.names import label, model_label
from neurolm.storage import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from neurolm.brain import BoldRun
    from neurolm.cli.plan import Plan
    from neurolm.encoding.evaluation import Evaluation
    from neurolm.progress import Progress


def write_subjects(plan: Plan, result: Evaluation, subjects: Mapping[str, Sequence[BoldRun]], report: Progress) -> None:
    """Maps of every layer and one fitted model for each subject."""
    layer = int(result.sets[best_set(result)].removeprefix("layer "))
    stories = [read_layer(plan, story, layer) for story in plan.stories]
    for i, (subject, runs) in enumerate(subjects.items()):
        report(i, len(subjects), "subjects", subject)
        folder = plan.output / f"sub-{label(subject)}"
        _write_maps(plan, result, i, folder)
        model = _model(plan).fit(stories, runs)
        model.save(folder / f"sub-{label(subject)}_encoding.h5", provenance(plan, layer))
    report(len(subjects), len(subjects), "subjects")


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


def _model(plan: Plan) -> Any:
    from neurolm.cli.encode import settings
    from neurolm.encoding import EncodingModel

    s = settings(plan)
    return EncodingModel(s.alphas, delays=s.delays, n_folds=s.n_folds, gap=s.gap, lobes=s.lobes, device=s.device)


def _write_maps(plan: Plan, result: Evaluation, subject: int, folder: Path) -> None:
    from neurolm.brain import Surface, VolumeMask, VoxelMap

    for i, name in enumerate(result.sets):
        layer = int(name.removeprefix("layer "))
        stem = f"{folder.name}_desc-{model_label(plan.config.features.model)}L{layer:02d}_stat-r_statmap"
        voxels = VoxelMap(result.listeners[subject, i], result.space, "r")
        if isinstance(result.space, VolumeMask):
            voxels.to_nifti(folder / "func" / f"{stem}.nii.gz")
        elif isinstance(result.space, Surface):
            voxels.to_gifti(folder / "func" / stem)
        else:
            voxels.to_csv(folder / "func" / f"{stem}.csv")
        sidecar = {"Description": "held-out correlation of predicted and measured BOLD", "Units": "r"}
        write_json(folder / "func" / f"{stem}.json", sidecar | provenance(plan, layer))
