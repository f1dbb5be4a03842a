"""Open a simulated cortex from files, analyse it, and lay what was found beside what was planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from neurolm.brain import BoldRun, VolumeMask, VoxelMap, read_mask
from neurolm.checks import bad, bad_file
from neurolm.encoding.encoding_model import EncodingModel
from neurolm.encoding.evaluation import Evaluation
from neurolm.features import Features, FeatureSpace, Norms, join
from neurolm.features.function_features import Averaged
from neurolm.simulation.cortex import SimulatedCortex, map_correlation
from neurolm.stimuli import read_textgrid

TIMESCALES_WORDS = (1.0, 4.0, 16.0, 64.0)
STATES, ABOUT = "states", "concreteness"


def open_cortex(
    mask: str | Path,
    textgrids: str | Path,
    norms: str | Path,
    states: FeatureSpace,
    *,
    stories: Sequence[str] | None = None,
    timescales: Sequence[float] = TIMESCALES_WORDS,
    column: str = "Conc.M",
    coarser: Callable[[VolumeMask], VolumeMask] | None = None,
    seed: int = 0,
) -> SimulatedCortex:
    """A simulated cortex of a mask, a folder of stories and a language model's states.

    Parameters
    ----------
    mask : path
        NIfTI brain mask in MNI space.
    textgrids : path
        Folder with one TextGrid for each story; a story's name is its file's.
    norms : path
        Table of concreteness ratings; words that it lacks get the mean.
    states : FeatureSpace
        For example `LMStates(lm, 12, ContextWindow(32, "words"), cache=FeatureCache())`; read once, then
        averaged over the past with each timescale.
    stories : sequence of str, optional
        Names of those to use; default all.
    timescales : sequence of float
        Time constants in words.
    column : str
        Of the norms.
    coarser : callable, optional
        Takes the mask and gives one with fewer voxels.

    Raises
    ------
    FileError
        If a file is missing or damaged, or the folder has no TextGrid.
    """
    paths = {path.stem: path for path in sorted(Path(textgrids).glob("*.TextGrid"))}
    if not paths:
        raise bad_file(textgrids, "holds no TextGrid", "Name the folder with the stories.")
    for name in stories or ():
        if name not in paths:
            raise bad("stories", f"be some of {', '.join(paths)}", name)
    transcripts = {name: read_textgrid(paths[name]) for name in stories or paths}
    drivers: dict[float, FeatureSpace] = {float(t): Averaged(states, t) for t in timescales}
    whole = read_mask(mask, "MNI152")
    space = whole if coarser is None else coarser(whole)
    return SimulatedCortex(transcripts, space, drivers, Norms(norms, column, missing="mean"), seed=seed)


def feature_sets(cortex: SimulatedCortex, stories: Sequence[str] | None = None) -> dict[str, list[Features]]:
    """What `evaluate` compares: for each timescale the drivers and concreteness side by side, story by story."""
    transcripts = [cortex.transcript(story) for story in stories or cortex.stories()]
    about = [cortex.concreteness.extract(t) for t in transcripts]
    sets = {}
    for timescale, space in cortex.drivers.items():
        states = [space.extract(t) for t in transcripts]
        sets[f"{timescale:g} words"] = [join({STATES: s, ABOUT: a}) for s, a in zip(states, about)]
    return sets


def recovered_maps(
    cortex: SimulatedCortex,
    evaluation: Evaluation,
    sets: Mapping[str, Sequence[Features]],
    runs: Sequence[BoldRun],
    significant: np.ndarray | None = None,
) -> dict[str, VoxelMap]:
    """The analysis's answer to each planted gradient, NaN where a voxel is not significant.

    explainable_correlation : held-out correlation with the feature set chosen inside the folds (every voxel)
    timescale : that set's time constant in words
    concreteness : weight of the concreteness column, summed over delays, in a fit of all `runs`
    """
    chosen = evaluation.scored[0].chosen
    keep = (chosen.q < 0.05) if significant is None else significant
    middle = list(sets)[len(sets) // 2]
    model = EncodingModel(tuple(evaluation.alphas)).fit(sets[middle], list(runs))
    weights = model.coef_.reshape(len(model.design_.delays), model.design_.n_features, -1)[:, model.design_.slices[ABOUT]]
    timescales = np.array(list(cortex.drivers))
    return {
        "explainable_correlation": VoxelMap(chosen.r, cortex.space, "r"),
        "timescale": VoxelMap(timescales[chosen.index], cortex.space, "timescale_words").where(keep),
        "concreteness": VoxelMap(weights.sum((0, 1)), cortex.space, "concreteness_weight").where(keep),
    }


def agreement(cortex: SimulatedCortex, found: Mapping[str, VoxelMap]) -> dict[str, float]:
    """Correlation of each found map with the planted one, over the voxels that the found map shows; NaN for fewer than 3.

    Timescales are compared as logarithms; concreteness as the share of the BOLD that it drives.
    """
    truth = cortex.planted()
    strength = truth["explainable_correlation"].values
    planted = {
        "explainable_correlation": truth["explainable_correlation"],
        "timescale": VoxelMap(np.log(truth["timescale"].values), cortex.space),
        "concreteness": VoxelMap(truth["concreteness"].values * strength, cortex.space),
    }
    shown = {name: VoxelMap(np.log(m.values), m.space) if name == "timescale" else m for name, m in found.items()}
    enough = {name: np.isfinite(m.values).sum() >= 3 for name, m in shown.items()}
    return {name: map_correlation(shown[name], planted[name]) if enough[name] else float("nan") for name in found}
