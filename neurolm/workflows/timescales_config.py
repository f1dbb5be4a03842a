"""Configs of timescales and of contrasts: every key checked, as in `neurolm.workflows.config`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from neurolm.workflows.config import (
    MOST_DRAWS,
    AlphasConfig,
    Analysis,
    ContextConfig,
    DatasetConfig,
    PreprocessConfig,
    Section,
)

Estimator = Literal["context", "surprisal", "bands", "scramble", "swap", "switch", "forecast", "isc"]
ESTIMATORS: tuple[Estimator, ...] = ("context", "surprisal", "bands", "scramble", "swap", "switch", "forecast", "isc")
Words = Annotated[int, Field(ge=1)]


def _rising(values: list[float]) -> list[float]:
    if sorted(set(values)) != list(values):
        raise ValueError("must rise")
    return values


class OneLayerConfig(Section):
    """Hidden states of one layer of a language model."""

    model: str = Field("smollm2-135m", description="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")
    layer: int = Field(20, description="0 is the embeddings; -1 the last layer.")
    context: ContextConfig = ContextConfig()
    pooling: Literal["last", "mean", "sum"] = Field("last", description="How a word's sub-word tokens become one row.")
    lowercase: bool | None = Field(None, description="Read the words in lower case; null: only a story that is all in capitals.")
    spaces: Literal["auto", "always", "never"] = Field(
        "auto", description="Between words; auto: none where both are of scripts written without (Chinese, Thai ...)."
    )


class FitConfig(Section):
    """Ridge, its cross-validation and its statistics."""

    alphas: AlphasConfig = AlphasConfig()
    delays: list[Annotated[int, Field(ge=0)]] = Field([1, 2, 3, 4], min_length=1, description="FIR delays in TRs.")
    max_gap_s: float = Field(20.0, ge=0, description="Longest rest (s) in the scan before the first word and after the last one.")
    folds: int = Field(5, ge=2, description="Contiguous blocks held out in turn, where there is one run; else whole runs.")
    gap: int = Field(5, ge=0, description="TRs left out on both sides of a held-out block.")
    inner_folds: int = Field(5, ge=2, description="Blocks within the training part, to choose the penalty.")
    permutations: int = Field(
        1000, ge=19, le=MOST_DRAWS, description="BOLD made again by circular shifts, each with the fit repeated."
    )
    bootstrap: int = Field(200, ge=20, le=MOST_DRAWS, description="Draws of blocks of time, for the intervals of one subject.")
    fdr: float = Field(0.05, gt=0, lt=1, description="False discovery rate over regions or voxels.")


class WordsConfig(Section):
    """Numbers of words, rising."""

    words: list[Words] = Field([1, 2, 4, 8, 16, 32, 64], min_length=2, description="Context lengths in words.")
    _rise = field_validator("words")(_rising)


class BandsConfig(Section):
    """Bands of timescales that features are split into."""

    kind: Literal["spectral", "units"] = Field(
        "spectral", description="spectral: every feature filtered, for any model; units: an LSTM's units by their forget gates."
    )
    n_bands: int = Field(8, ge=2, description="Of kind units: bands of equally many units each.")
    time_constants: list[Annotated[float, Field(gt=0)]] = Field(
        [2, 4, 8, 16, 32, 64, 128], min_length=2, description="Words; there is one band more than there are constants."
    )
    _rise = field_validator("time_constants")(_rising)


class ScrambleConfig(Section):
    """Stories in pieces."""

    levels: list[Words | Literal["sentence", "paragraph"]] = Field(
        [1, 2, 4, 8, 16, 32, 64, 128, 256], min_length=2, description="Lengths of the pieces: words, sentence, paragraph."
    )
    orders: int = Field(1, ge=1, description="Random orders at each level.")
    criterion: float = Field(0.75, gt=0, lt=1, description="Correlation with the response to the intact story.")


class SwapConfig(Section):
    """One word replaced."""

    swaps: int = Field(40, ge=3, description="Words replaced, each in an excerpt of its own.")
    lags: int = Field(48, ge=1, description="Words read after the swapped one.")
    past: int = Field(64, ge=1, description="Words read before it.")


class SwitchConfig(Section):
    """One story switched to another."""

    segments: int = Field(40, ge=10, description="Places at which the story is switched.")
    past: int = Field(64, ge=1, description="Words read before the switch.")
    words: int = Field(48, ge=8, description="From the switch on.")


class ForecastConfig(Section):
    """Coming words beside past ones."""

    distances: list[Words] = Field([1, 2, 4, 6, 8, 10, 12], min_length=1, description="Words ahead.")
    width: int = Field(7, ge=1, description="Words in the window.")
    components: int = Field(20, ge=1, description="Principal components kept of the coming words.")
    draws: int = Field(100, ge=19, description="Simulated voxels that cannot know the future.")
    _rise = field_validator("distances")(_rising)


class RecoveryConfig(Section):
    """Planted windows on the same features, words and volumes: where they are not found, windows are withheld."""

    least: float = Field(
        0.5, ge=-1, le=1, description="Rank correlation of found with planted windows below which they are withheld; -1: never."
    )
    voxels: int = Field(48, ge=12, le=10_000, description="Planted voxels at each of five strengths of the signal.")


class TimescalesConfig(Analysis):
    """How much of the past each region uses; `neurolm timescales map FILE` finds out."""

    analysis: Literal["timescales"] = Field("timescales", description="Which workflow.")
    dataset: DatasetConfig
    in_silico: DatasetConfig = Field(DatasetConfig(name="simulated"), description="Stories that fitted models hear perturbed.")
    features: OneLayerConfig = OneLayerConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    fit: FitConfig = FitConfig()
    estimators: list[Estimator] = Field(list(ESTIMATORS), min_length=1, description="Which estimates are made.")
    context: WordsConfig = WordsConfig()
    surprisal: WordsConfig = WordsConfig(words=[1, 4, 16, 64])
    bands: BandsConfig = BandsConfig()
    scramble: ScrambleConfig = ScrambleConfig()
    swap: SwapConfig = SwapConfig()
    switch: SwitchConfig = SwitchConfig()
    forecast: ForecastConfig = ForecastConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    untrained: bool = Field(True, description="Also the windows of a model of the same architecture that learned nothing.")
    untrained_words: int = Field(300, ge=50, description="Words of the story that the untrained model reads in a context sweep.")
    override: list[str] = Field([], description="Names of failed alignment checks to go on in spite of.")
    output: str = Field("derivatives/neurolm-timescales", min_length=1, description="Folder for results.")


class ItemsConfig(Section):
    """Which words or phrases are contrasted."""

    norms: str = Field("", description="A table with a header; empty: the concreteness ratings of Brysbaert et al. (2014).")
    rating: str = Field("Conc.M", description="Column that the conditions differ in.")
    frequency: str = Field("SUBTLEX", description="Column with counts in a corpus, to match on; empty for none.")
    only: dict[str, list[str]] = Field({}, description="Columns of the table and the values that a row must have in them.")
    kind: Literal["words", "phrases"] = Field("words", description="Single words, or two-word expressions.")
    pairs: int = Field(60, ge=3, description="Items of each condition.")
    candidates: int = Field(600, ge=20, description="Drawn from the table.")
    share: float = Field(
        0.25,
        gt=0,
        le=0.5,
        description="Of the candidates that count as high, and as low; only these are read for their surprisal.",
    )
    least_frequency: float = Field(100, ge=0, description="Rarer words are left out; only for words.")


class ContrastConfig(Analysis):
    """Which regions answer one kind of items more; `neurolm timescales contrast FILE` finds out."""

    analysis: Literal["contrast"] = Field("contrast", description="Which workflow.")
    names: tuple[str, str] = Field(("concrete", "abstract"), description="The conditions: high rating, low rating.")
    dataset: DatasetConfig
    features: OneLayerConfig = OneLayerConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    fit: FitConfig = FitConfig()
    items: ItemsConfig = ItemsConfig()
    sentences: list[str] = Field(
        [
            "after a while they began to talk about {} with the others",
            "she told me a long story about {} and then went home",
            "we read something about {} in the paper this morning",
        ],
        min_length=1,
        description="Sentences in which the items are heard; {} is their place.",
    )
    permutations: int = Field(10_000, ge=19, le=MOST_DRAWS, description="Of the items' labels.")
    story_bootstrap: int = Field(200, ge=20, le=MOST_DRAWS, description="Draws of stories, or of blocks of a single run.")
    block_trs: int = Field(20, ge=1, description="TRs in a block where there are fewer than three stories.")
    override: list[str] = Field([], description="Names of failed alignment checks to go on in spite of.")
    output: str = Field("derivatives/neurolm-contrast", min_length=1, description="Folder for results.")

    @field_validator("sentences")
    @classmethod
    def _places(cls, sentences: list[str]) -> list[str]:
        for sentence in sentences:
            if sentence.count("{}") != 1 or not sentence.split("{}")[0].strip():
                raise ValueError(f'must each hold "{{}}" once, after at least one word; this one does not: {sentence}')
        return sentences
