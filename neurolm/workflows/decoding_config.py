"""What a config of a decoding says: whose BOLD, which language models, how to search, how to judge."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import Field, create_model, model_validator

from neurolm.decoding import DecoderSettings
from neurolm.workflows.config import (
    MOST_DRAWS,
    Analysis,
    ContextConfig,
    DatasetConfig,
    Names,
    PreprocessConfig,
    Section,
    read_config_as,
)
from neurolm.workflows.yaml_file import read_yaml


class SimulatedConfig(Section):
    """A simulated subject: real stories, planted weights and noise."""

    training: list[str] = Field(["souls", "avatar", "legacy"], min_length=2, description="Moth stories to learn from.")
    test: str = Field("wheretheressmoke", description="The Moth story to decode.")
    training_s: float | None = Field(None, gt=0, description="Seconds of each training story; null: all of it.")
    test_s: float | None = Field(60.0, gt=0, description="Seconds of the test story; null: all of it.")
    n_voxels: int = Field(300, ge=2, description="Voxels of the listener.")
    share_with_signal: float = Field(0.7, ge=0, le=1, description="Share of voxels that follow the words.")
    snr: float = Field(1.0, ge=0, description="Variance of the signal over that of the noise, in these voxels.")
    rank: int = Field(30, ge=1, description="Mixtures of features that voxels read.")
    ar1: float = Field(0.4, ge=0, lt=1, description="Autocorrelation of the noise from TR to TR.")


class TrainingConfig(Section):
    """What the decoder is learned from."""

    dataset: str = Field(description="A data set of `neurolm data list`.")
    options: dict[str, Any] = Field({}, description="Options of that data set, for example folder.")
    stories: Literal["all"] | Names = Field("all", description="Stories to learn from.")
    leave_out: list[str] = Field([], description="Stories never learned from; the decoded one always is left out.")


class TargetConfig(Section):
    """What is decoded: a story of the same data set, or a task of ds004510."""

    story: str | None = Field(None, description="A story of the training data set.")
    folder: str | None = Field(None, description="A copy of ds004510.")
    experiment: str = Field("perceived_speech", description="Of ds004510.")
    task: str | None = Field(None, description="Of ds004510.")
    segments: str | None = Field(None, description="JSON file of {task: [start, end]}: the part that is judged; null: all.")
    rate_voxels: str | None = Field(None, description="JSON file of {region: [columns]} for the word rate; null: decoded voxels.")

    @model_validator(mode="after")
    def _one(self) -> TargetConfig:
        if (self.story is None) == (self.folder is None) or (self.folder is not None and self.task is None):
            raise ValueError("give either story, or folder and task")
        return self


class StatesConfig(Section):
    """The language model whose states predict BOLD."""

    model: str = Field("smollm2-135m", description="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")
    vocabulary: str | None = Field(None, description="JSON list of words: for a model with one token a word.")
    layer: int = Field(8, ge=0, description="Hidden layer; 0 is the embeddings.")
    context: ContextConfig = ContextConfig(n=6, unit="words")
    pooling: Literal["last", "mean", "sum"] = Field("last", description="How a word's tokens become one row.")
    lowercase: bool = Field(True, description="Read the words in lower case, as decoded words are.")
    spaces: Literal["auto", "always", "never"] = Field(
        "auto", description="Between words; auto: none where both are of scripts written without (Chinese, Thai ...)."
    )
    bos: bool | None = Field(None, description="Begin windows with the beginning-of-text token; null: where there is one.")


class ProposalsConfig(Section):
    """The language model that proposes words."""

    model: str | None = Field(None, description="null: the model of the features.")
    vocabulary: str | None = Field(None, description="As for the features.")


class NullsConfig(Section):
    """How many null decodes; p is never below 1 / (n + 1)."""

    circular_shift: int = Field(19, ge=0, description="Of the same BOLD rolled in time, at the same beam width.")
    random_likelihood: int = Field(0, ge=0, description="With random likelihoods, as published (200 there).")
    min_shift_s: float = Field(30.0, gt=0, description="Least lag of a shift, either way.")


class EvaluationConfig(Section):
    """How the decoded words are judged."""

    window_s: float = Field(20.0, gt=0, description="Length of the windows that are compared.")
    step_s: float = Field(1.0, gt=0, description="From one window to the next.")
    scores: list[Literal["wer", "bleu1", "meteor", "bertscore", "embedding"]] = Field(
        ["wer", "bleu1", "meteor", "embedding"],
        min_length=1,
        description="bertscore needs roberta-large on this machine; embedding is recall by the features' model.",
    )
    nulls: NullsConfig = NullsConfig()
    teacher_forced: bool = Field(True, description="Rank each true word among its candidates after the true words.")


def _decoder_section() -> Any:
    """`DecoderSettings` as a section, so that its names and defaults are written once."""
    kinds = get_type_hints(DecoderSettings)
    own: dict[str, Any] = {
        f.name: (kinds[f.name], f.default if f.default is not MISSING else ...) for f in fields(DecoderSettings)
    }
    return create_model("DecoderConfig", __base__=Section, __doc__=DecoderSettings.__doc__, **own)


if TYPE_CHECKING:
    DecoderConfig = Section
else:
    DecoderConfig = _decoder_section()


class DecodingConfig(Analysis):
    """Everything that one decoding is; `neurolm decode FILE` carries it out."""

    analysis: Literal["decoding"] = Field(description="Which workflow.")
    subject: str = Field("", description="The listener; not for a simulated one.")
    simulated: SimulatedConfig | None = Field(None, description="Instead of training and test.")
    training: TrainingConfig | None = None
    test: TargetConfig | None = None
    features: StatesConfig = StatesConfig()
    proposals: ProposalsConfig = ProposalsConfig()
    word_times: Literal["predicted", "true"] = Field("predicted", description="Told from BOLD, or those of the story.")
    decoder: DecoderConfig = DecoderConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    output: str = Field(
        "derivatives/neurolm", min_length=1, description="Folder for results, relative to where the command is started."
    )

    @model_validator(mode="after")
    def _whose(self) -> DecodingConfig:
        if self.simulated is None and (self.training is None or self.test is None or not self.subject):
            raise ValueError("give subject, training and test, or simulated")
        if self.simulated is not None and (self.training is not None or self.test is not None):
            raise ValueError("give either simulated, or training and test")
        self.settings()
        return self

    def settings(self) -> DecoderSettings:
        """The section `decoder` as the library takes it."""
        return DecoderSettings(**self.decoder.model_dump())


class IdentifyConfig(Section):
    """How windows are identified."""

    window_trs: int = Field(15, ge=1, description="Length of the windows, which do not overlap, in TRs.")
    by: list[Literal["likelihood", "correlation"]] = Field(
        ["likelihood", "correlation"], min_length=1, description="How windows and predictions are compared."
    )
    features: list[Literal["word_rate", "word_length", "states"]] = Field(
        ["word_rate", "word_length"], min_length=1, description="What predicts BOLD."
    )
    delays: tuple[int, ...] = Field((1, 2, 3, 4), min_length=1, description="In TRs.")
    shrinkage: float = Field(0.3, ge=0, le=1, description="Of the noise covariance.")
    folds: int = Field(6, ge=2, description="Blocks of time, each predicted by a fit of the others.")
    permutations: int = Field(2000, ge=1, le=MOST_DRAWS, description="Random pairings of windows, the same for every listener.")


class IdentificationConfig(Analysis):
    """Which stretch of a story was heard, in listeners held out; `neurolm decode FILE` carries it out."""

    analysis: Literal["identification"] = Field(description="Which workflow.")
    dataset: DatasetConfig
    states: StatesConfig = Field(StatesConfig(), description="Where identify.features holds states.")
    preprocess: PreprocessConfig = PreprocessConfig()
    identify: IdentifyConfig = IdentifyConfig()
    output: str = Field(
        "derivatives/neurolm", min_length=1, description="Folder for results, relative to where the command is started."
    )


def read_decode_config(path: str | Path) -> DecodingConfig | IdentificationConfig:
    """Read and check a config for `neurolm decode`; what `analysis` says decides of which kind."""
    values, _ = read_yaml(path)
    if values.get("analysis") == "identification":
        return read_config_as(IdentificationConfig, path)
    return read_config_as(DecodingConfig, path)
