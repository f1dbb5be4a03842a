"""Kinds of analysis: the class of each kind's config, and the plan that is carried out for it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from neurolm.checks import bad, bad_file, check_file, nearest
from neurolm.workflows.config import Source, read_config_as, read_values
from neurolm.workflows.engine import shipped
from neurolm.workflows.output_folder import CONFIG, kind_in
from neurolm.workflows.stages import Stage
from neurolm.workflows.training import TRAINING_CONFIG, find_training_config, make_training_plan


class Kind(NamedTuple):
    """Module and class of the config, module and function that plans it; imported when used, because some are slow."""

    config_module: str
    config_class: str
    module: str
    make_plan: str


KINDS = {
    "encoding": Kind("config", "AnalysisConfig", "encoding", "make_plan"),
    "comparison": Kind("comparison_config", "ComparisonConfig", "comparison", "make_comparison"),
    "timescales": Kind("timescales_config", "TimescalesConfig", "timescale_maps", "make_timescales_plan"),
    "contrast": Kind("timescales_config", "ContrastConfig", "in_silico_contrast", "make_contrast_plan"),
    "decoding": Kind("decoding_config", "DecodingConfig", "decoding", "make_decoding_plan"),
    "identification": Kind("decoding_config", "IdentificationConfig", "identification", "make_identification_plan"),
    "training": Kind("neurolm.training.config", "TrainConfig", "training", "make_training_plan"),
}


class Runnable(Protocol):
    """What `neurolm run` needs of a plan, whatever is analysed."""

    @property
    def config(self) -> Any: ...
    @property
    def workflow(self) -> str: ...  # name of a Snakemake file in pipelines/
    @property
    def output(self) -> Path: ...
    @property
    def result(self) -> Path: ...  # what to look at when it is done
    def stages(self) -> list[Stage]: ...
    def write(self) -> None: ...


def plan_of(
    config: Source, *, output: str | Path | None = None, look: bool = True, kinds: Sequence[str] = (), **options: Any
) -> tuple[Any, Runnable]:
    """The config with `options` put over it, and the plan for it.

    Parameters
    ----------
    config : path, name or mapping
        A YAML file, the name of a config that comes with neurolm, or the content of a config.
    look : bool
        Look for what may have to be downloaded; False for a dry run.
    kinds : names
        Of which it may be; by default any.

    Raises
    ------
    FileError
        If the config holds a mistake, or an analysis that no workflow carries out.
    """
    source = config if isinstance(config, Mapping) else find_config(str(config))
    kind = kind_of(source)
    if kinds and kind not in kinds:
        raise bad("config", f"be of the kind {' or '.join(kinds)}", kind, "`neurolm run CONFIG` carries out every kind.")
    if kind == "training":
        training = make_training_plan(source, output=output, **options)
        return training.config, training
    asked: Any = with_options(read_config_as(config_class(kind), source), **options)
    more = {} if kind != "comparison" else {"look": look}
    make = getattr(importlib.import_module(f"neurolm.workflows.{KINDS[kind].module}"), KINDS[kind].make_plan)
    return asked, make(asked, output=output, **more)


def find_config(name: str) -> Path:
    """A path as it is, or a config that comes with neurolm by its name or its path in a checkout."""
    path = Path(name)
    if not path.exists():
        folder = shipped("configs")
        for candidate in (folder / f"{name}.yaml", folder / path.name):
            if candidate.is_file():
                return candidate
    return find_training_config(path)


def planned_in(output: Path) -> Runnable:
    """The plan that a run has laid into its output folder."""
    if kind_in(output) in (None, "training") and (output / TRAINING_CONFIG).is_file():
        return plan_of(output / TRAINING_CONFIG, output=output)[1]
    return plan_of(check_file(output / CONFIG, "Start a run with `neurolm run CONFIG`."), output=output, look=False)[1]


def kind_of(source: Path | Mapping[str, Any]) -> str:
    """What the key `analysis` says; a config that has a `trainer` instead is that of a training."""
    values, lines, name = read_values(source, expand=False)
    kind = values.get("analysis", "training" if "trainer" in values else "encoding")
    if kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        valid = f"`neurolm run` carries out: {', '.join(KINDS)}."
        raise bad_file(name, f"'analysis' is {kind!r}", f"{hint} {valid}".strip(), line=lines.get(("analysis",)))
    return str(kind)


def config_class(kind: str) -> Any:
    """The class that a kind of config is checked by."""
    found = KINDS[kind]
    module = found.config_module if "." in found.config_module else f"neurolm.workflows.{found.config_module}"
    return getattr(importlib.import_module(module), found.config_class)


def with_options(config: Any, **options: Any) -> Any:
    """The config with what was given on the command line put over it, checked like the rest.

    Raises
    ------
    InputError
        If an option is beyond what the config may hold.
    """
    changed = {key: value for key, value in options.items() if value is not None}
    try:
        type(config).model_validate({**config.model_dump(), **changed})
    except ValidationError as error:
        key, problem = error.errors()[0]["loc"][0], error.errors()[0]["msg"]
        raise bad(f"--{key}", "be a value that the config may hold", changed.get(str(key)), f"{problem}.") from None
    return config.model_copy(update=changed)
