"""One YAML file for an analysis: every key checked, and every mistake named with its line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurolm.checks import bad_file, nearest, short
from neurolm.workflows.yaml_file import line_of, read_yaml

Config = TypeVar("Config", bound=BaseModel)
MOST_SEED = 2**32 - 1  # what every generator of random numbers takes
MOST_DRAWS = 1_000_000
Names = Annotated[list[str], Field(min_length=1)]
Layers = Annotated[list[int], Field(min_length=1)]


class Section(BaseModel):
    """Keys of a config; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Analysis(Section):
    """What the config of every kind of analysis may say."""

    version: Literal[1] = Field(1, description="Version of this format of configs.")
    title: str = Field("", description="What stands above the report.")
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of everything random.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    threads: int = Field(2, ge=1, le=1024, description="Threads of each step; results are the same bytes at the same number.")


class DatasetConfig(Section):
    """Which brain data, of whom, listening to what."""

    name: str = Field(description="A data set of `neurolm data list`.")
    options: dict[str, Any] = Field({}, description="Options of that data set, for example radius: 10mm.")
    subjects: Literal["all"] | Names = Field("all", description="Subjects to analyse.")
    stories: Literal["all"] | Names = Field("all", description="Stories to analyse.")
    fallback: str | None = Field(None, description="Data set to use, and say so, where the first is not available.")


class ContextConfig(Section):
    """How much of the past a word may see."""

    n: int | None = Field(256, ge=1, description="Length of the window; leave out for unit: story.")
    unit: Literal["words", "tokens", "sliding", "story"] = Field("sliding", description="What n counts.")


class FeaturesConfig(Section):
    """Which hidden states of which language model."""

    model: str = Field("smollm2-135m", description="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")
    layers: Literal["all"] | Layers = Field("all", description="Hidden layers; 0 is the embeddings.")
    context: ContextConfig = ContextConfig()
    pooling: Literal["last", "mean", "sum"] = Field("last", description="How a word's sub-word tokens become one row.")
    lowercase: bool | None = Field(None, description="Read the words in lower case; null: only a story that is all in capitals.")
    spaces: Literal["auto", "always", "never"] = Field(
        "auto", description="Between words; auto: none where both are of scripts written without (Chinese, Thai ...)."
    )


class PreprocessConfig(Section):
    """Per-run steps on the BOLD, in this order."""

    trim_start: int = Field(0, ge=0, description="Volumes dropped at the beginning of every run; the times of the others stay.")
    trim_end: int = Field(0, ge=0, description="Volumes dropped at the end of every run.")
    trim_transients: Literal["auto", "off"] | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description="Rows at the edges of runs that leave the distribution (onset transients): auto finds them by the training rows "
        "and drops as many of every run; a number drops so many seconds at both edges.",
    )
    detrend_degree: int | None = Field(6, ge=0, le=20, description="Degree of the Legendre basis removed; null for none.")
    zscore: bool = Field(True, description="Give every voxel mean 0 and standard deviation 1 in each run.")


class DesignConfig(Section):
    """From word time to TR time."""

    delays: list[Annotated[int, Field(ge=0)]] = Field([1, 2, 3, 4], min_length=1, description="FIR delays in TRs.")
    lobes: int = Field(3, ge=1, le=100, description="Lobes of the Lanczos kernel.")
    max_gap_s: float = Field(
        20.0, ge=0, description="Longest rest (s) in the scan before the first word and after the last one; more stops the check."
    )


class AlphasConfig(Section):
    """A grid of ridge penalties, evenly spaced in the logarithm."""

    low: float = Field(1e1, ge=1e-37, description="The smallest.")
    high: float = Field(1e6, gt=0, le=1e38, description="The largest.")
    count: int = Field(11, ge=1, le=1000, description="How many.")

    def grid(self) -> tuple[float, ...]:
        """The penalties, ascending."""
        import numpy as np

        return tuple(float(a) for a in np.geomspace(self.low, self.high, self.count))

    @model_validator(mode="after")
    def _ordered(self) -> AlphasConfig:
        if self.high < self.low:
            raise ValueError(f"high must be at least low; got {self.high:g} < {self.low:g}")
        return self


class ExtendedAlphasConfig(AlphasConfig):
    """A grid of ridge penalties, evenly spaced in the logarithm, that may extend itself."""

    extend: bool = Field(
        False, description="Go on beyond either end as long as that predicts better; else the grid as it stands."
    )

    @model_validator(mode="after")
    def _extendable(self) -> ExtendedAlphasConfig:
        if self.extend and (self.high == self.low or self.count < 2):
            raise ValueError("extend needs two different penalties: their ratio is that of the further ones")
        return self


class EncodeConfig(Section):
    """Ridge, its cross-validation and its statistics."""

    alphas: ExtendedAlphasConfig = Field(ExtendedAlphasConfig(extend=True), description="Ridge penalties.")
    folds: int = Field(5, ge=2, description="Contiguous blocks held out in turn, where there is one run; else whole runs.")
    gap: int = Field(5, ge=0, description="TRs left out on both sides of a held-out block.")
    test_stories: list[str] = Field(
        [], description="Stories only ever predicted, once, by a fit of all others: for whole brains."
    )
    inner_folds: int = Field(5, ge=2, description="Blocks within the training part, to choose the penalty.")
    permutations: int = Field(
        1000, ge=0, le=MOST_DRAWS, description="Circular shifts of the mean listener's BOLD with the fit repeated."
    )
    subject_permutations: int = Field(400, ge=0, le=MOST_DRAWS, description="The same, for each subject separately.")
    content_free_draws: Literal["auto"] | Annotated[int, Field(ge=0, le=MOST_DRAWS)] = Field(
        "auto",
        description="Draws of the content-free baseline, each feature set moved over the words and the whole fit repeated; auto: 199 "
        "with up to 1,000 TRs and columns, else none.",
    )
    low_level: list[Literal["word_rate", "duration", "length", "pauses", "frequency", "sound"]] = Field(
        ["word_rate", "duration", "length", "pauses", "frequency", "sound"],
        description="Plain properties of words and speech: is anything predicted beyond them? Those that the data set has are used; "
        "[] for no such test.",
    )
    frequency_corpus: str | None = Field(
        None, description="Text file in which words are counted for frequency; null: what the data set publishes, if it does."
    )
    fdr: float = Field(0.05, gt=0, lt=1, description="False discovery rate over regions or voxels.")


class AnalysisConfig(Analysis):
    """Everything that one analysis is; `neurolm run FILE` carries it out."""

    analysis: Literal["encoding"] = Field("encoding", description="Which workflow.")
    dataset: DatasetConfig
    features: FeaturesConfig = FeaturesConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    design: DesignConfig = DesignConfig()
    encode: EncodeConfig = EncodeConfig()
    override: list[str] = Field([], description="Names of failed alignment checks to go on in spite of.")
    output: str = Field(
        "derivatives/neurolm", min_length=1, description="Folder for results, relative to where the command is started."
    )


Source = str | Path | Mapping[str, Any]  # a YAML file, or the content of one


def read_values(source: Source, *, expand: bool = True) -> tuple[dict[str, Any], dict[tuple[Any, ...], int], Path]:
    """The content of a config, the lines of its keys, and the file that errors name."""
    if isinstance(source, Mapping):
        return dict(source), {}, Path("config")
    values, lines = read_yaml(Path(source), expand=expand)
    return values, lines, Path(source)


def read_config(path: Source) -> AnalysisConfig:
    """Read and check the config of an analysis.

    Raises
    ------
    FileError
        With file and line: YAML that does not parse, an unknown key (and the nearest valid
        one), a value of the wrong kind, a key given twice.
    """
    return read_config_as(AnalysisConfig, path)


def read_config_as(kind: type[Config], source: Source) -> Config:
    """Read and check a config of another kind of analysis, with the same messages as `read_config`."""
    values, lines, path = read_values(source)
    try:
        return kind.model_validate_json(json.dumps(values), strict=True)  # as JSON, where a list may be a tuple
    except ValidationError as error:
        raise _explain(kind, path, error, lines) from None


def _explain(kind: type[BaseModel], path: Path, error: ValidationError, lines: dict[tuple[Any, ...], int]) -> Exception:
    """The first mistake, as one sentence with its line."""
    first = _first_mistake(error)
    place = tuple(part for part in first["loc"] if not str(part).startswith(_BRANCHES))
    line, key = line_of(place, lines), ".".join(map(str, place)) or "the config"
    if first["type"] == "extra_forbidden":
        valid = valid_keys(place[:-1], kind)
        hint = nearest(place[-1], valid) or f"Valid here: {', '.join(valid)}."
        return bad_file(path, f"unknown key {key!r}", hint, line=line)
    if first["type"] == "missing":
        return bad_file(path, f"{key!r} is missing", "Add it.", line=line)
    if first["type"] == "value_error":
        return bad_file(path, f"{key!r}: {first['msg'].removeprefix('Value error, ')}; got {short(first['input'])}", line=line)
    hint = "Put it into quotes." if first["type"] == "string_type" and isinstance(first["input"], (int, float)) else ""
    return bad_file(path, f"{key!r} must {_rule(first)}; got {short(first['input'])}", hint, line=line)


_BRANCHES = ("literal[", "list[", "constrained-", "tuple[", "lax-or-strict")  # of a union, in the place of an error
_RULES = {
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "finite_number": "be finite",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "string_type": "be text",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "model_type": "be a section of keys",
    "dict_type": "be a section of keys",
    "literal_error": "be {expected}",
    "too_short": "hold at least {min_length}",
    "too_long": "hold at most {max_length}",
    "string_too_short": "not be empty",
    "greater_than": "be > {gt}",
    "greater_than_equal": "be >= {ge}",
    "less_than": "be < {lt}",
    "less_than_equal": "be <= {le}",
}


def _rule(mistake: Any) -> str:
    """What a value must be, in words."""
    rules = [_RULES.get(one["type"], one["msg"]).format(**one.get("ctx", {})) for one in mistake["all"]]
    return " or ".join([rules[0], *(rule.removeprefix("be ") for rule in rules[1:])])


def _first_mistake(error: ValidationError) -> Any:
    """The first mistake; of a value that may be one of several kinds, the branch that got furthest, or all of them."""
    mistakes: list[Any] = error.errors(include_url=False)
    ways = [tuple(p for p in one["loc"] if not str(p).startswith(_BRANCHES)) for one in mistakes]
    of_a_union = len(mistakes[0]["loc"]) > len(ways[0])
    same = [one for one, way in zip(mistakes, ways) if of_a_union and way[: len(ways[0])] == ways[0]] or mistakes[:1]
    deepest = max(len(one["loc"]) for one in same)
    inside = [one for one in same if len(one["loc"]) == deepest and one["type"] not in ("literal_error", "list_type")]
    return {**(inside or same)[0], "all": inside[:1] or same}


def valid_keys(place: tuple[Any, ...], kind: type[BaseModel] = AnalysisConfig) -> list[str]:
    """The keys that may stand at a place of the config; numbers in `place` are places in a list."""
    section: Any = kind
    for part in place:
        if isinstance(part, str):
            section = _section_in(section.model_fields[part].annotation)
    return list(section.model_fields)


def _section_in(annotation: Any) -> Any:
    """The kind of section that an annotation allows, be it in a list or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
