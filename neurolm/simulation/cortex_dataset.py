"""The simulated cortex as a data set that a configuration names: `dataset: {name: simulated_cortex}`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain import VolumeMask
from neurolm.checks import bad
from neurolm.datasets.dataset import DatasetNotFound
from neurolm.datasets.places import find_copy, not_found
from neurolm.datasets.registry import DatasetPlugin
from neurolm.features import FeatureCache, Features, LMStates
from neurolm.lm import load
from neurolm.lm.model_files import model_files
from neurolm.simulation.cortex import INFO, SimulatedCortex
from neurolm.simulation.cortex_recovery import TIMESCALES_WORDS, open_cortex
from neurolm.stimuli import ContextWindow, Transcript

NAME = "simulated_cortex"
MASK = ("littleprince_en", "mask_lpp_en.nii.gz")
TEXTGRIDS = ("moth_textgrids", "TextGrids")
NORMS = ("norms", "Concreteness_ratings_Brysbaert_et_al_BRM.txt")
STORIES = ("undertheinfluence", "alternateithicatom", "souls", "wheretheressmoke")


def load_simulated_cortex(
    *,
    mask: str | Path | None = None,
    textgrids: str | Path | None = None,
    norms: str | Path | None = None,
    model: str = "smollm2-135m",
    layer: int = 12,
    context_tokens: int = 128,
    stories: Sequence[str] = STORIES,
    timescales: Sequence[float] = TIMESCALES_WORDS,
    stride: int = 1,
    seed: int = 0,
) -> SimulatedCortex:
    """A cortex with planted gradients, driven by one layer of a language model that reads real stories.

    Parameters
    ----------
    mask, textgrids, norms : path, optional
        Brain mask in MNI space, folder with one TextGrid for each story, table with a column Conc.M; looked for
        under $NEUROLM_DATA and in the user's cache if not given.
    model, layer, context_tokens
        Whose states drive the voxels; windows slide.
    stories : sequence of str
        The last one is a good one to hold out.
    timescales : sequence of float
        In words.
    stride : int
        Keep every so manieth voxel along each axis: 2 leaves an eighth of them, for a quick look.

    Raises
    ------
    DatasetNotFound
        If a file is not given and not found.
    """
    if stride < 1:
        raise bad("stride", "be a whole number >= 1", stride)
    places = (mask or _found("mask", *MASK), textgrids or _found("textgrids", *TEXTGRIDS), norms or _found("norms", *NORMS))
    cortex = open_cortex(
        *places,
        _States(model, layer, context_tokens),
        stories=list(stories),
        timescales=timescales,
        coarser=lambda space: every(space, stride),
        seed=seed,
    )
    grids = [Path(places[1]) / f"{story}.TextGrid" for story in stories]
    cortex.sources = (Path(places[0]), *grids, Path(places[2]), *model_files(model))
    return cortex


def every(space: VolumeMask, stride: int) -> VolumeMask:
    """The voxels of a mask whose indices are multiples of `stride`, on the coarser grid that they make."""
    affine = space.affine @ np.diag([stride, stride, stride, 1.0])
    return replace(space, mask=space.mask[::stride, ::stride, ::stride], affine=affine)


class _States:
    """One layer of a language model that is loaded when it is first asked to read."""

    def __init__(self, model: str, layer: int, context_tokens: int) -> None:
        self.model, self.layer, self.context_tokens = model, layer, context_tokens

    @cached_property
    def _states(self) -> LMStates:
        context = ContextWindow(self.context_tokens, "sliding")
        return LMStates(load(self.model), self.layer, context, lowercase=True, cache=FeatureCache())

    def extract(self, transcript: Transcript) -> Features:
        return self._states.extract(transcript)

    def settings(self) -> dict[str, Any]:
        return self._states.settings()


def _found(option: str, folder: str, file: str) -> Path:
    place = find_copy(folder)
    path = place / file if place else None
    if path is None or not path.exists():
        missing: DatasetNotFound = not_found(NAME, f"{folder}/{file}", f"Name a path of your own: `{option}:` in the options.")
        raise missing
    return path


PLUGIN = DatasetPlugin(INFO, load_simulated_cortex)
