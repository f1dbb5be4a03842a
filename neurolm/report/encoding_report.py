"""What a report of an encoding analysis says: plain arrays and texts, checked when made.

    EncodingReport
    ├── DatasetFacts         who, what, where from, what was left out
    ├── StoryAlignment ...   one per story: words over TRs, BOLD, lag curve (alignment.py)
    ├── MethodFacts          what the methods paragraph states
    ├── LayerScores ...      one per way of scoring (mean listener, single listeners)
    │   ├── Baseline ...     word rate, content-free
    │   └── ChosenLayers     one layer per region, chosen without the data it is scored on
    ├── SurfaceMaps          maps on the cortex (surface.py)
    ├── Listeners            the same scores listener by listener
    ├── ChosenAlphas         the grid, and what was chosen from it
    └── Provenance           settings, versions, hashes, run time, machine

"Region" stands for whatever the columns are: regions of interest, or parcels of a voxel map.
A value that is not known is NaN (arrays) or None (whole fields); it shows as "n/a".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.encoding.evaluation import BeyondLowLevel, ContentScores
from neurolm.report.alignment import StoryAlignment
from neurolm.report.figures import Picture
from neurolm.report.page import Section
from neurolm.report.references import Reference
from neurolm.report.surface import SurfaceMaps


@dataclass(frozen=True, eq=False, kw_only=True)
class DatasetFacts:
    """What was measured.

    Parameters
    ----------
    name, task, source, licence : str
        As a reader should see them; `task` says what subjects did.
    subjects, stories : tuple of str
    n_words : int
        Words of all stories.
    n_trs : int
        Rows of BOLD per subject, all runs together.
    tr : float
        Seconds.
    left_out : mapping of str to str
        What was not used, and why.
    known_problems : tuple of str
        Documented facts about the data set that a reader must know.
    is_simulated : bool
        True for made-up data; the page then says so before anything else.
    simulated_because : str
        Why there are no real data, in plain words.
    """

    name: str
    task: str
    subjects: tuple[str, ...]
    stories: tuple[str, ...]
    n_words: int
    n_trs: int
    tr: float
    source: str = ""
    licence: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    known_problems: tuple[str, ...] = ()
    is_simulated: bool = False
    simulated_because: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodFacts:
    """What the methods paragraph states. A field left at its default is not mentioned.

    Parameters
    ----------
    model : str
        "SmolLM2-135M".
    n_model_layers, n_units : int
        Layers without the embeddings; units per layer.
    context : str
        "each word saw up to 256 preceding tokens, in overlapping chunks".
    word_vector : str
        "the state at its last sub-word token".
    lobes : int
        Of the Lanczos kernel; 0 when another resampling was used (`resampling` then says which).
    delays : tuple of int
        TRs.
    preprocessing : str
        Of the BOLD, per run.
    n_folds, gap_trs, n_inner_folds : int
        Outer contiguous folds, rows left out on either side of each, inner folds for alpha.
        `n_folds` = 0 with `outer` for other schemes ("one story was held out at a time").
    null : "shift BOLD" | "shift prediction" | "block" | other text
    n_null : int
    stop_after : int
        Of a sequential null: exceedances after which a column left it; 0 where all stayed.
    interval : str
        "95% t interval over subjects".
    fdr : float
        Level of the false discovery rate.
    ceiling : str
        How the noise ceilings were made; a sentence.
    low_level : tuple of str
        Low-level features that were fitted beside the language model.
    """

    model: str
    n_model_layers: int = 0
    n_units: int = 0
    context: str = ""
    word_vector: str = ""
    lobes: int = 3
    resampling: str = ""
    delays: tuple[int, ...] = ()
    preprocessing: str = ""
    n_folds: int = 0
    gap_trs: int = 0
    outer: str = ""
    n_inner_folds: int = 0
    null: str = ""
    n_null: int = 0
    stop_after: int = 0
    interval: str = ""
    fdr: float = 0.05
    ceiling: str = ""
    low_level: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Baseline:
    """What a model without the language model reaches, and how the scores of the table differ from it.

    Arrays are (n_regions,) unless said. A baseline without `difference_p` was not compared by a test: no sentence counts it.

    Parameters
    ----------
    r : held-out correlation
    interval : array of shape (2, n_regions), optional
    q : false discovery rate of the baseline's own score
    difference : the table's r less the baseline's
    difference_interval : array of shape (2, n_regions)
    difference_p, difference_q : two-sided, of the paired difference
    """

    name: str
    r: np.ndarray
    interval: np.ndarray | None = None
    description: str = ""
    q: np.ndarray | None = None
    difference: np.ndarray | None = None
    difference_interval: np.ndarray | None = None
    difference_p: np.ndarray | None = None
    difference_q: np.ndarray | None = None

    @property
    def is_tested(self) -> bool:
        """Whether the difference from it was."""
        return self.difference_p is not None and bool(np.isfinite(self.difference_p).any())


@dataclass(frozen=True, eq=False, kw_only=True)
class ChosenLayers:
    """One layer per region, chosen without the data that it is scored on.

    Parameters
    ----------
    layer : array of int of shape (n_regions,)
        Layer numbers (0 = embeddings), not positions.
    r, p, q : array of shape (n_regions,)
    interval : array of shape (2, n_regions), optional
    how : str
        "inside the training folds", "on the other listeners".
    """

    layer: np.ndarray
    r: np.ndarray
    p: np.ndarray
    q: np.ndarray
    interval: np.ndarray | None = None
    how: str


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerScores:
    """Held-out correlations of every layer and region, and what they must be compared with.

    An optional array that holds nothing but NaN (a single subject has no ceiling) counts as not given.

    Parameters
    ----------
    who : str
        What was predicted: "mean listener", "single listeners", "sub-UTS03".
    layers : tuple of int
        0 = embeddings.
    r : array of shape (n_layers, n_regions)
    interval, null : array of shape (2, n_layers, n_regions), optional
        Lower and upper end of the interval; quantiles of the null.
    p, q : array of shape (n_layers, n_regions), optional
    ceiling : array of shape (n_regions,), optional
        The noise ceiling that belongs to exactly this score.
    ceiling_interval : array of shape (2, n_regions), optional
    ceiling_name : str
        "√ρ_N, reliability of the mean of 27 listeners".
    interval_name : str
        "95% t interval over subjects"; default: what the methods say.
    n_null : int
        Draws behind null and p; default: what the methods say.
    chosen : ChosenLayers, optional
        Without it the table shows the best layer of the curve and says that this is optimistic.
    baselines : tuple of Baseline
    content : ContentScores, optional
        Content-free draws of the same features.
    beyond : BeyondLowLevel, optional
        Low-level features with and without the language model; `MethodFacts.low_level` names them.
    """

    who: str
    layers: tuple[int, ...]
    r: np.ndarray
    interval: np.ndarray | None = None
    null: np.ndarray | None = None
    p: np.ndarray | None = None
    q: np.ndarray | None = None
    ceiling: np.ndarray | None = None
    ceiling_interval: np.ndarray | None = None
    ceiling_name: str = ""
    interval_name: str = ""
    n_null: int = 0
    chosen: ChosenLayers | None = None
    baselines: tuple[Baseline, ...] = ()
    content: ContentScores | None = None
    beyond: BeyondLowLevel | None = None

    @property
    def whose(self) -> str:
        """`who` inside a sentence: "the mean listener", "sub-01"."""
        return f"the {self.who}" if "listener" in self.who else self.who

    def __post_init__(self) -> None:
        if list(self.layers) != sorted(set(self.layers)):
            raise bad(f"layers of {self.who}", "rise", self.layers, "A curve over layers is drawn in their order.")
        shape = (len(self.layers), np.asarray(self.r).shape[-1])
        for name, expected in (("r", shape), ("p", shape), ("q", shape), ("ceiling", shape[1:])):
            _check_shape(f"{name} of {self.who}", getattr(self, name), expected)
        for name in ("interval", "null"):
            _check_shape(f"{name} of {self.who}", getattr(self, name), (2, *shape))
        _check_shape(f"ceiling_interval of {self.who}", self.ceiling_interval, (2, shape[1]))
        for name in ("interval", "null", "p", "q", "ceiling", "ceiling_interval"):
            values = getattr(self, name)
            if values is not None and np.isnan(values).all():
                object.__setattr__(self, name, None)
        for baseline in self.baselines:
            _check_shape(f"r of {baseline.name}", baseline.r, shape[1:])
            for name in ("interval", "difference_interval"):
                _check_shape(f"{name} of {baseline.name}", getattr(baseline, name), (2, shape[1]))
            for name in ("q", "difference", "difference_p", "difference_q"):
                _check_shape(f"{name} of {baseline.name}", getattr(baseline, name), shape[1:])
        if self.chosen is not None:
            for name in ("layer", "r", "p", "q"):
                _check_shape(f"chosen.{name}", getattr(self.chosen, name), shape[1:])
            _check_shape("chosen.interval", self.chosen.interval, (2, shape[1]))


@dataclass(frozen=True, eq=False)
class Listeners:
    """Scores listener by listener: r (n_subjects, n_layers, n_regions), baselines (n_subjects, n_regions)."""

    names: tuple[str, ...]
    r: np.ndarray
    baselines: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class ChosenAlphas:
    """The grid of ridge penalties and every alpha chosen from it (any shape, NaN for none).

    `is_extended` where the grid was widened until its ends no longer mattered.
    """

    grid: np.ndarray
    chosen: np.ndarray
    is_extended: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Provenance:
    """With what the numbers were made.

    Parameters
    ----------
    settings : mapping
        The resolved config; may be nested.
    versions, inputs, machine : mapping of str to str
        Software and its version; file and its SHA-256; hardware.
    stages_s : mapping of str to float
        Seconds of each stage.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    stages_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodingReport:
    """Everything that the page of one encoding analysis shows.

    Parameters
    ----------
    regions : tuple of str, n_regions
    scores : tuple of LayerScores
        The first one makes the verdict. All have the same regions and layers.
    surface : SurfaceMaps, optional
        Maps on the cortex, one per layer.
    references : tuple of Reference
        Of the data; those that the methods paragraph names are added by themselves.
    sections : tuple of Section
        Of other analyses of the same data: timescales, decoding.
    pictures : mapping of str to Picture
        The figures of these sections under their file names.
    notes : tuple of str
        Shown under what was analysed.
    columns : str
        What the regions are, in the plural: "regions", "voxels", "vertices".
    override : tuple of str
        Alignment checks that may fail, as the config asks: the scores are reported in spite of them.
    """

    title: str
    dataset: DatasetFacts
    methods: MethodFacts
    regions: tuple[str, ...]
    scores: tuple[LayerScores, ...]
    alignment: tuple[StoryAlignment, ...]
    listeners: Listeners | None = None
    surface: SurfaceMaps | None = None
    alphas: ChosenAlphas | None = None
    provenance: Provenance = field(default_factory=Provenance)
    references: tuple[Reference, ...] = ()
    sections: tuple[Section, ...] = ()
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    columns: str = "regions"
    override: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.scores:
            raise bad("scores", "hold at least one LayerScores", "none")
        for score in self.scores:
            _check_shape(f"r of {score.who}", score.r, (len(score.layers), len(self.regions)))
        if self.listeners is not None:
            shape = (len(self.listeners.names), len(self.scores[0].layers), len(self.regions))
            _check_shape("listeners.r", self.listeners.r, shape)
            for name, values in self.listeners.baselines.items():
                _check_shape(f"listeners.baselines[{name!r}]", values, (shape[0], shape[2]))


def _check_shape(name: str, values: Any, expected: tuple[int, ...]) -> None:
    if values is not None and np.shape(values) != expected:
        raise bad(name, f"have shape {expected}", np.shape(values))
