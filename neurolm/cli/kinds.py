"""Which kind of analysis a config describes, and the plan that `neurolm run` carries out for it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from neurolm.checks import bad, bad_file, check_file, nearest
from neurolm.cli.config import read_config_as
from neurolm.cli.stages import Stage
from neurolm.cli.yaml_file import read_yaml

CLASSES = {
    "encoding": ("neurolm.cli.config", "AnalysisConfig"),
    "comparison": ("neurolm.cli.comparison_config", "ComparisonConfig"),
    "timescales": ("neurolm.cli.timescales_config", "TimescalesConfig"),
    "contrast": ("neurolm.cli.timescales_config", "ContrastConfig"),
    "decoding": ("neurolm.cli.decode_config", "DecodingConfig"),
    "identification": ("neurolm.cli.decode_config", "IdentificationConfig"),
    "training": ("neurolm.training.config", "TrainConfig"),
}
KINDS = tuple(CLASSES)
TRAINING_CONFIG = Path(".neurolm") / "training.json"  # a model's own config.json has its place in the folder


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
    def steps(self) -> list[tuple[str, str, str]]: ...
    def write(self) -> None: ...


def plan_of(path: Path, *, output: Path | None, look: bool = True, **options: Any) -> tuple[Any, Runnable]:
    """The config in a file, with `options` put over it, and the plan for it.

    Parameters
    ----------
    look : bool
        Look for what may have to be downloaded; False for a dry run.

    Raises
    ------
    FileError
        If the config holds a mistake, or an analysis that no workflow carries out.
    """
    kind = kind_of(path)
    plan: Runnable
    if kind == "training":
        from neurolm.cli.training_plan import make_training_plan

        plan = make_training_plan(path, output=output, **options)
        return plan.config, plan
    config: Any = with_options(read_config_as(config_class(kind), path), **options)
    if kind == "comparison":
        from neurolm.cli.comparison_plan import make_comparison

        return config, make_comparison(config, output=output, look=look)
    if kind in ("timescales", "contrast"):
        from neurolm.cli.timescales_plan import make_timescales_plan

        return config, make_timescales_plan(config, output=output)
    if kind == "decoding":
        from neurolm.cli.decoding_plan import make_decoding_plan

        return config, make_decoding_plan(config, output=output)
    if kind == "identification":
        from neurolm.cli.decoding_plan import make_identification_plan

        return config, make_identification_plan(config, output=output)
    from neurolm.cli.plan import make_plan

    return config, make_plan(config, output=output)


def planned_in(output: Path) -> Runnable:
    """The plan that a run has laid into its output folder."""
    from neurolm.cli.analysis_folder import CONFIG, kind_in

    if kind_in(output) in (None, "training") and (output / TRAINING_CONFIG).is_file():
        return plan_of(output / TRAINING_CONFIG, output=output)[1]
    return plan_of(check_file(output / CONFIG, "Start a run with `neurolm run CONFIG`."), output=output, look=False)[1]


def kind_of(path: Path) -> str:
    """What the key `analysis` says; a config that has a `trainer` instead is that of a training."""
    values, lines = read_yaml(path, expand=False)
    kind = values.get("analysis", "training" if "trainer" in values else "encoding")
    if kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        valid = f"`neurolm run` carries out: {', '.join(KINDS)}."
        raise bad_file(path, f"'analysis' is {kind!r}", f"{hint} {valid}".strip(), line=lines.get(("analysis",)))
    return kind


def config_class(kind: str) -> Any:
    """The class that a kind of config is checked by; found when asked for, because some are slow to import."""
    module, name = CLASSES[kind]
    return getattr(importlib.import_module(module), name)


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
