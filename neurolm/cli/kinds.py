"""Which kind of analysis a config describes, and the plan that `neurolm run` carries out for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from neurolm.checks import bad_file, nearest
from neurolm.cli.comparison_config import ComparisonConfig
from neurolm.cli.comparison_plan import make_comparison
from neurolm.cli.config import AnalysisConfig, read_config_as, read_yaml
from neurolm.cli.plan import make_plan
from neurolm.cli.timescales_config import ContrastConfig, TimescalesConfig
from neurolm.cli.timescales_plan import make_timescales_plan


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
    kinds: dict[str, Any] = {
        "encoding": AnalysisConfig,
        "comparison": ComparisonConfig,
        "timescales": TimescalesConfig,
        "contrast": ContrastConfig,
    }
    values, lines = read_yaml(path)
    kind = values.get("analysis", "encoding")
    if kind not in kinds:
        hint = nearest(kind, kinds) if isinstance(kind, str) else ""
        valid = f"`neurolm run` carries out: {', '.join(kinds)}."
        raise bad_file(path, f"'analysis' is {kind!r}", f"{hint} {valid}".strip(), line=lines.get(("analysis",)))
    config = with_options(read_config_as(kinds[kind], path), **options)
    if isinstance(config, ComparisonConfig):
        return config, make_comparison(config, output=output, look=look)
    if isinstance(config, (TimescalesConfig, ContrastConfig)):
        return config, make_timescales_plan(config, output=output)
    return config, make_plan(config, output=output)


def with_options(config: Any, **options: Any) -> Any:
    """The config with what was given on the command line put over it."""
    return config.model_copy(update={key: value for key, value in options.items() if value is not None})
