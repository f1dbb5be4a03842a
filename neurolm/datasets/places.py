"""Where copies of data sets are looked for: a named folder, $NEUROLM_DATA, the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from neurolm.checks import bad_file
from neurolm.datasets.dataset import DatasetNotFound
from neurolm.storage import cache_folder


def cached_copy(folder_name: str) -> Path:
    """Where downloads of a data set go; need not exist."""
    return cache_folder("datasets") / folder_name


def find_copy(folder_name: str, folder: str | Path | None = None) -> Path | None:
    """The first that exists of `folder`, $NEUROLM_DATA/<folder_name> and the cache; None if there is none.

    Raises
    ------
    FileError
        If a folder is named and does not exist.
    """
    if folder is not None:
        if not Path(folder).is_dir():
            raise bad_file(folder, "no such folder", "Name the folder that holds the local copy.")
        return Path(folder)
    places = [Path(named) / folder_name] if (named := os.environ.get("NEUROLM_DATA")) else []
    return next((place for place in [*places, cached_copy(folder_name)] if place.is_dir()), None)


def not_found(name: str, folder_name: str, hint: str) -> DatasetNotFound:
    """The error that says where a data set was looked for and what to do."""
    named = os.environ.get("NEUROLM_DATA")
    first = str(Path(named) / folder_name) if named else "NEUROLM_DATA (not set)"
    return DatasetNotFound(f"{name}: not in {first} nor {cached_copy(folder_name)}. {hint}")
