"""Every data set by its name: those of this package, and those that an installed package registers.

A package registers a data set by an entry point of the group `neurolm.datasets` that names a `DatasetPlugin`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from neurolm.checks import bad, check_choice, nearest
from neurolm.datasets import alice, bids, lebel2023, little_prince, narratives, simulated
from neurolm.datasets.dataset import Dataset, DatasetInfo
from neurolm.progress import Progress, silent


@dataclass(frozen=True)
class DatasetPlugin:
    """A data set that can be loaded by its name.

    info : what is known without opening a file
    load : function whose keyword arguments are the options of the data set
    fetch : function of a `Progress` that downloads it; None where that is not possible
    """

    info: DatasetInfo
    load: Callable[..., Dataset]
    fetch: Callable[..., Path] | None = None


_OWN = {
    plugin.info.name: plugin
    for plugin in (
        DatasetPlugin(alice.INFO, alice.load_alice, alice.fetch_alice),
        DatasetPlugin(bids.INFO, bids.Bids),
        DatasetPlugin(lebel2023.INFO, lebel2023.load_lebel2023, lebel2023.fetch_lebel2023),
        DatasetPlugin(little_prince.INFO, little_prince.load_little_prince, little_prince.fetch_little_prince),
        DatasetPlugin(narratives.INFO, narratives.load_narratives, narratives.fetch_narratives),
        DatasetPlugin(simulated.INFO, simulated.load_simulated),
    )
}


def list_datasets() -> list[DatasetInfo]:
    """What is known about each data set; opens no file."""
    return [plugin.info for plugin in _plugins().values()]


def load_dataset(name: str, **options: Any) -> Dataset:
    """Find a data set on this machine, or download it where that is possible.

    Parameters
    ----------
    name : str
        "alice", "bids", "lebel2023", "little_prince", "narratives" or "simulated"; `list_datasets()` says what each is.
    **options
        The data set's own: `folder=` (where a local copy is); `radius=` for alice, `language=` for
        little_prince, `mask=` for little_prince and narratives, `seed=` for simulated; those of `Bids` for bids.

    Raises
    ------
    DatasetNotFound
        If there is no copy and none can be downloaded.

    Examples
    --------
    >>> dataset = load_dataset("simulated", n_subjects=2)
    >>> dataset.subjects(), dataset.bold("sim01", dataset.stories()[0]).n_trs
    (['sim01', 'sim02'], 350)
    """
    plugin = _plugin(name)
    return plugin.load(**checked_options(name, plugin.load, options))


def fetch_dataset(name: str, progress: Progress = silent, **options: Any) -> Path:
    """Download a data set into the user's cache, continuing an earlier try; return its folder.

    Parameters
    ----------
    name : str
    progress : Progress
    **options
        Large data sets come in parts: `subjects=["UTS03"]`, `stories=["life"]` for lebel2023. Without
        them only words and other small files are fetched.
    """
    plugin = _plugin(name)
    if plugin.fetch is None:
        hint = "It is made in memory." if plugin.info.is_simulated else f"Get it from {plugin.info.url}; then pass folder=."
        raise bad("name", "be a data set that neurolm can download", name, hint)
    return plugin.fetch(progress, **checked_options(name, plugin.fetch, options))


def checked_options(name: str, function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options that `function` takes, each of its type; they come from configuration files, so a wrong one is the user's error."""
    from pydantic import TypeAdapter, ValidationError

    known = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    for option, value in options.items():
        if option not in known:
            raise bad(f"option of {name}", f"be one of {', '.join(known) or 'none'}", option, nearest(option, known))
        if callable(value):  # from Python alone, such as progress
            continue
        try:
            TypeAdapter(hints[option]).validate_python(value, strict=True)
        except ValidationError:
            quotes = "Put it into quotes." if isinstance(value, (int, float)) and "text" in _type_text(hints[option]) else ""
            raise bad(f"option {option} of {name}", f"be {_type_text(hints[option])}", repr(value), quotes) from None
        if option == "seed" and value < 0:
            raise bad(f"option {option} of {name}", "be >= 0", value)
    return options


def _type_text(hint: Any) -> str:
    """A type in words: text, a whole number, a list of text."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "", type(None): "null"}
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(filter(None, dict.fromkeys(map(_type_text, get_args(hint)))))
    if get_args(hint):
        return f"a list of {_type_text(get_args(hint)[0]).removeprefix('a ')}"
    return words.get(hint, str(hint))


def _plugin(name: str) -> DatasetPlugin:
    known = _OWN if name in _OWN else _plugins()
    return known[check_choice("dataset", name, known)]


def _plugins() -> dict[str, DatasetPlugin]:
    """Those of this package, then those that installed packages register."""
    registered = {point.name: point.load() for point in entry_points(group="neurolm.datasets") if point.name not in _OWN}
    return {**_OWN, **registered}
