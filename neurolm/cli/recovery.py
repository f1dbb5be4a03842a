"""What `neurolm encode` adds for a simulated cortex: the gradients that were found beside those that were planted.

sub-*/func/sub-*_desc-found<Map>_statmap.nii.gz, .func.gii     what the analysis says, voxel by voxel and on fsaverage5
sub-*/func/sub-*_desc-planted<Map>_statmap.nii.gz, .func.gii   the truth
encoding/recovery.tsv                                          correlation of each pair of maps
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from neurolm.cli.data import CORTEX
from neurolm.cli.names import label
from neurolm.cli.terminal import progress, say
from neurolm.storage import write_json, write_text

if TYPE_CHECKING:
    from neurolm.brain import BoldRun, VoxelMap
    from neurolm.cli.plan import Plan

UNITS = {"explainable_correlation": "r", "timescale": "words", "concreteness": "weight"}


def write_recovery(plan: Plan, subjects: Mapping[str, Sequence[BoldRun]]) -> None:
    """Analyse the first simulated listener with features of every planted timescale; write maps and their agreement."""
    from neurolm.cli.encode import settings
    from neurolm.encoding import SimulatedCortex, agreement, evaluate, feature_sets, recovered_maps

    cortex = plan.dataset
    if not isinstance(cortex, SimulatedCortex):
        return
    subject, runs = next(iter(subjects.items()))
    sets = feature_sets(cortex, plan.stories)
    with progress("recovery") as report:
        result = evaluate(sets, {subject: runs}, settings=settings(plan), seed=plan.config.seed, progress=report)
    found = recovered_maps(cortex, result, sets, runs)
    matches = agreement(cortex, found)
    for name, planted in cortex.planted().items():
        _write(plan, subject, f"found{_camel(name)}", found[name], name)
        _write(plan, subject, f"planted{_camel(name)}", planted, name)
    table = "map\tr\tn_voxels\n" + "".join(
        f"{name}\t{r:.4f}\t{int((found[name].values == found[name].values).sum())}\n" for name, r in matches.items()
    )
    write_text(plan.output / "encoding" / "recovery.tsv", table)
    say("Found against planted, map correlation: " + ", ".join(f"{name} {r:.2f}" for name, r in matches.items()))


def recovery_notes(plan: Plan) -> tuple[str, ...]:
    """What `write_recovery` found, as a sentence for the report; nothing for data of other kinds."""
    path = plan.output / "encoding" / "recovery.tsv"
    if plan.config.dataset.name != CORTEX or not path.exists():
        return ()
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    found = ", ".join(f"{name.replace('_', ' ')} {float(r):.2f} ({int(n):,} voxels)" for name, r, n in rows)
    return (f"The truth was planted. Correlation of the maps that were found with those that were planted: {found}.",)


def _write(plan: Plan, subject: str, description: str, voxels: VoxelMap, name: str) -> None:
    who = f"sub-{label(subject)}"
    stem = plan.output / who / "func" / f"{who}_desc-{description}_statmap"
    voxels.to_nifti(f"{stem}.nii.gz")
    voxels.to_gifti(stem)
    sidecar = {"Description": "SIMULATED cortex; " + name.replace("_", " "), "Units": UNITS[name]}
    write_json(f"{stem}.json", sidecar)


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))
