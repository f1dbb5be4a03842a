"""The config of a model comparison: several language models, one data set, one way of scoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neurolm.workflows.config import (
    MOST_DRAWS,
    Analysis,
    AnalysisConfig,
    ContextConfig,
    DatasetConfig,
    DesignConfig,
    EncodeConfig,
    ExtendedAlphasConfig,
    FeaturesConfig,
    Layers,
    PreprocessConfig,
    Section,
)
from neurolm.workflows.output_folder import label


class ComparedModel(Section):
    """One of the models, and how it is read."""

    name: str = Field(min_length=1, description="What it is called in table and figure.")
    model: str = Field(description="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")
    optional: bool = Field(False, description="Leave it out, and say so, where it is not available.")
    layers: Literal["all"] | Layers = Field("all", description="Hidden layers to choose from; 0 is the embeddings.")
    context: ContextConfig | None = Field(None, description="Instead of the context that all models get.")


class ReadingConfig(Section):
    """How every model reads the stories."""

    context: ContextConfig = ContextConfig()
    pooling: Literal["last", "mean", "sum"] = Field("last", description="How a word's sub-word tokens become one row.")
    lowercase: bool | None = Field(None, description="Read the words in lower case; null: only a story that is all in capitals.")
    spaces: Literal["auto", "always", "never"] = Field(
        "auto", description="Between words; auto: none where both are of scripts written without (Chinese, Thai ...)."
    )


class ScoringConfig(Section):
    """Ridge, its cross-validation and the statistics over listeners."""

    alphas: ExtendedAlphasConfig = Field(ExtendedAlphasConfig(extend=True), description="Ridge penalties.")
    folds: int = Field(5, ge=2, description="Contiguous blocks held out in turn, where there is one run; else whole runs.")
    gap: int = Field(5, ge=0, description="TRs left out on both sides of a held-out block.")
    inner_folds: int = Field(5, ge=2, description="Blocks within the training part: they choose penalty and layer.")
    permutations: int = Field(
        199,
        ge=0,
        le=MOST_DRAWS,
        description="Circular shifts of all listeners' BOLD, with every fit repeated, to test differences; 0: flips of signs.",
    )
    bootstrap: int = Field(2000, ge=100, le=MOST_DRAWS, description="Without effect: intervals over subjects are Student's.")


class ComparisonConfig(Analysis):
    """Everything that a comparison is; `neurolm run FILE` carries it out."""

    analysis: Literal["comparison"] = Field("comparison", description="Which workflow.")
    dataset: DatasetConfig
    models: list[ComparedModel] = Field(min_length=1, description="Language models to compare.")
    reading: ReadingConfig = ReadingConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    design: DesignConfig = DesignConfig()
    encode: ScoringConfig = ScoringConfig()
    override: list[str] = Field([], description="Names of failed alignment checks to go on in spite of.")
    left_out: dict[str, str] = Field({}, description="Written by a run: optional models that could not be had, and why.")
    output: str = Field(
        "derivatives/comparison", min_length=1, description="Folder for results, relative to where the command is started."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> ComparisonConfig:
        labels = [label(model.name) for model in self.models]
        twice = sorted({name for name in labels if labels.count(name) > 1})
        if twice:
            raise ValueError(f"names of models must differ in letters and digits; {', '.join(twice)} is there twice")
        return self

    def analysis_of(self, model: ComparedModel, output: str) -> AnalysisConfig:
        """The encoding analysis of one of the models, whose features the comparison takes."""
        features = FeaturesConfig(
            model=model.model,
            layers=model.layers,
            context=model.context or self.reading.context,
            pooling=self.reading.pooling,
            lowercase=self.reading.lowercase,
            spaces=self.reading.spaces,
        )
        scoring = self.encode
        return AnalysisConfig(
            title=model.name,
            dataset=self.dataset,
            features=features,
            preprocess=self.preprocess,
            design=self.design,
            encode=EncodeConfig(alphas=scoring.alphas, folds=scoring.folds, gap=scoring.gap, inner_folds=scoring.inner_folds),
            override=self.override,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
            output=output,
        )
