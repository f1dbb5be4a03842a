"""One YAML file for an analysis: every key checked, and every mistake named with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurolm.checks import bad_file, check_file, nearest

Config = TypeVar("Config", bound=BaseModel)
VERSION = 1  # of configs: raised when an older neurolm could misread a newer one


class Section(BaseModel):
    """Keys of a config; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Analysis(Section):
    """What the config of every kind of analysis may say."""

    version: Literal[1] = Field(1, description="Version of this format of configs.")
    title: str = Field("", description="What stands above the report.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    threads: int = Field(2, ge=1, description="Threads of each step; results are the same bytes at the same number.")


class DatasetConfig(Section):
    """Which brain data, of whom, listening to what."""

    name: str = Field(description="A data set of `neurolm data list`.")
    options: dict[str, Any] = Field({}, description="Options of that data set, for example radius: 10mm.")
    subjects: Literal["all"] | list[str] = Field("all", description="Subjects to analyse.")
    stories: Literal["all"] | list[str] = Field("all", description="Stories to analyse.")
    fallback: str | None = Field(None, description="Data set to use, and say so, where the first cannot be had.")


class ContextConfig(Section):
    """How much of the past a word may see."""

    n: int | None = Field(256, ge=1, description="Length of the window; leave out for unit: story.")
    unit: Literal["words", "tokens", "sliding", "story"] = Field("sliding", description="What n counts.")


class FeaturesConfig(Section):
    """Which hidden states of which language model."""

    model: str = Field("smollm2-135m", description="smollm2-135m, a hub name, neurolm/lstm-small ..., or a folder.")
    layers: Literal["all"] | list[int] = Field("all", description="Hidden layers; 0 is the embeddings.")
    context: ContextConfig = ContextConfig()
    pooling: Literal["last", "mean", "sum"] = Field("last", description="How a word's sub-word tokens become one row.")
    lowercase: bool | None = Field(None, description="Read the words in lower case; null: only a story that is all in capitals.")


class PreprocessConfig(Section):
    """Per-run steps on the BOLD, in this order."""

    trim_start: int = Field(0, ge=0, description="Volumes dropped at the beginning of every run; the times of the others stay.")
    trim_end: int = Field(0, ge=0, description="Volumes dropped at the end of every run.")
    detrend_degree: int | None = Field(6, ge=0, le=20, description="Degree of the Legendre basis removed; null for none.")
    zscore: bool = Field(True, description="Give every voxel mean 0 and standard deviation 1 in each run.")


class DesignConfig(Section):
    """From word time to TR time."""

    delays: list[Annotated[int, Field(ge=0)]] = Field([1, 2, 3, 4], min_length=1, description="FIR delays in TRs.")
    lobes: int = Field(3, ge=1, description="Lobes of the Lanczos kernel.")


class AlphasConfig(Section):
    """A grid of ridge penalties, evenly spaced in the logarithm."""

    low: float = Field(1e1, gt=0, description="The smallest.")
    high: float = Field(1e6, gt=0, description="The largest.")
    count: int = Field(11, ge=1, description="How many.")

    def grid(self) -> tuple[float, ...]:
        """The penalties, ascending."""
        import numpy as np

        return tuple(float(a) for a in np.geomspace(self.low, self.high, self.count))

    @model_validator(mode="after")
    def _ordered(self) -> AlphasConfig:
        if self.high < self.low:
            raise ValueError(f"high must be at least low; got {self.high:g} < {self.low:g}")
        return self


class EncodeConfig(Section):
    """Ridge, its cross-validation and its statistics."""

    alphas: AlphasConfig | None = Field(
        None, description="A grid of penalties, taken as it stands; null for one that extends itself where that predicts better."
    )
    folds: int = Field(5, ge=2, description="Contiguous blocks held out in turn, where there is one run; else whole runs.")
    gap: int = Field(5, ge=0, description="TRs left out on both sides of a held-out block.")
    test_stories: list[str] = Field(
        [], description="Stories only ever predicted, once, by a fit of all others: for whole brains."
    )
    inner_folds: int = Field(5, ge=2, description="Blocks within the training part, to choose the penalty.")
    permutations: int = Field(1000, ge=0, description="Circular shifts of the mean listener's BOLD with the fit repeated.")
    subject_permutations: int = Field(100, ge=0, description="The same, for every listener by himself.")
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
    output: str = Field("derivatives/neurolm", description="Folder for results, relative to where the command is started.")


def read_config(path: str | Path) -> AnalysisConfig:
    """Read and check the config of an analysis.

    Raises
    ------
    FileError
        With file and line: YAML that does not parse, an unknown key (and the nearest valid
        one), a value of the wrong kind, a key given twice.
    """
    return read_config_as(AnalysisConfig, path)


def read_config_as(kind: type[Config], path: str | Path) -> Config:
    """Read and check a config of another kind of analysis, with the same messages as `read_config`."""
    path = Path(path)
    values, lines = read_yaml(path)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _explain(kind, path, error, lines) from None


def read_yaml(path: str | Path) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    """A YAML file's keys and values, and the line of every key by its way from the top."""
    path = check_file(path, "Configs that come with neurolm are listed by `neurolm run --list`.")
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _key_lines(node, path) if node is not None else {}
        values = yaml.safe_load(text)
    except UnicodeDecodeError:
        raise bad_file(path, "is not UTF-8 text", "Save the config as UTF-8.") from None
    except RecursionError:
        raise bad_file(path, "is nested too deeply, or refers to itself", "Write it out plainly.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise bad_file(path, f"is not valid YAML ({problem})", line=mark.line + 1 if mark else None) from None
    if not isinstance(values, dict):
        raise bad_file(path, "holds no keys", "Begin with a copy of one of the configs that come with neurolm.")
    version = values.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        problem = f"has version {version} of the format, this neurolm reads up to {VERSION}"
        raise bad_file(path, problem, "Update neurolm.", line=lines.get(("version",)))
    return values, lines


def _key_lines(node: Any, path: Path, prefix: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], int]:
    """Line of every key, by its way from the top; a key given twice is an error."""
    lines: dict[tuple[Any, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*prefix, key.value)
            if place in lines:
                raise bad_file(path, f"{key.value!r} is given twice", "Keep one.", line=key.start_mark.line + 1)
            lines[place] = key.start_mark.line + 1
            lines |= _key_lines(value, path, place)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*prefix, i)] = value.start_mark.line + 1
            lines |= _key_lines(value, path, (*prefix, i))
    return lines


def _explain(kind: type[BaseModel], path: Path, error: ValidationError, lines: dict[tuple[Any, ...], int]) -> Exception:
    """The first mistake, as one sentence with its line."""
    first = error.errors()[0]
    place = tuple(first["loc"])
    line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
    key = ".".join(str(p) for p in place if not str(p).startswith(("literal[", "list["))) or "the config"
    if first["type"] == "extra_forbidden":
        valid = valid_keys(place[:-1], kind)
        hint = nearest(place[-1], valid) or f"Valid here: {', '.join(valid)}."
        return bad_file(path, f"unknown key {key!r}", hint, line=line)
    if first["type"] == "missing":
        return bad_file(path, f"{key!r} is missing", "Add it.", line=line)
    return bad_file(path, f"{key!r}: {first['msg'].removeprefix('Value error, ')}; got {first['input']!r}", line=line)


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
