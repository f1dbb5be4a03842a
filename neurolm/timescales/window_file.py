"""Windows in one HDF5 file, as a whole and without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.space import space_arrays, space_from_arrays
from neurolm.storage import read_h5_of, write_h5
from neurolm.timescales.window_result import WindowResult

FORMAT = "neurolm windows 1"
ARRAYS = ("scales", "curve", "index", "interval", "p", "valid")
BESIDE = ("model", "untrained")


def save_windows(path: str | Path, result: WindowResult, provenance: Mapping[str, Any] | None = None) -> None:
    """Write a result, those beside it and those in its details.

    Parameters
    ----------
    provenance : mapping
        Settings, versions and hashes, as JSON-able values.
    """
    arrays, attributes = _taken_apart(result, "")
    write_h5(path, arrays, attributes | {"format": FORMAT, "provenance": dict(provenance or {})})


def load_windows(path: str | Path) -> tuple[WindowResult, dict[str, Any]]:
    """Read what `save_windows` wrote: the result and its provenance.

    Raises
    ------
    FileError
        If the file is missing, cut short or something else.
    """
    arrays, attributes = read_h5_of(path, FORMAT, "Make it anew with `neurolm timescales map`.")
    return _put_together(arrays, attributes, ""), attributes["provenance"]


def _taken_apart(result: WindowResult, prefix: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays: dict[str, np.ndarray] = {f"{prefix}{name}": np.asarray(getattr(result, name)) for name in ARRAYS}
    about: dict[str, Any] = {"estimator": result.estimator, "units": result.units, "details": {}, "inside": []}
    attributes: dict[str, Any] = {}
    if result.space is not None:
        placed, about["space"] = space_arrays(result.space)
        arrays |= {prefix + name: values for name, values in placed.items()}
    inside: dict[str, Any] = {name: getattr(result, name) for name in BESIDE} | dict(result.details)
    for name, value in inside.items():
        if isinstance(value, WindowResult):
            about["inside"].append(name)
            more, told = _taken_apart(value, f"{prefix}{name}/")
            arrays |= more
            attributes |= told
        elif isinstance(value, np.ndarray):
            arrays[f"{prefix}details/{name}"] = value
        elif name not in BESIDE:
            about["details"][name] = value
    return arrays, attributes | {f"{prefix}about": about}


def _put_together(arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any], prefix: str) -> WindowResult:
    about = attributes[f"{prefix}about"]
    own = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    inside = {name: _put_together(arrays, attributes, f"{prefix}{name}/") for name in about["inside"]}
    details = {name.removeprefix("details/"): values for name, values in own.items() if name.startswith("details/")}
    beside: dict[str, Any] = {name: inside.pop(name, None) for name in BESIDE}
    space = space_from_arrays(own, about["space"]) if "space" in about else None
    fields: dict[str, Any] = {name: own[name] for name in ARRAYS} | {"valid": own["valid"].astype(bool)}
    return WindowResult(
        about["estimator"],
        **fields,
        units=about["units"],
        details={**about["details"], **details, **inside},
        space=space,
        **beside,
    )
