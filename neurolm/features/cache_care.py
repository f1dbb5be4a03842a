"""What is in the features cache, whether it is unharmed, and what can go."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neurolm.checks import FileError, bad
from neurolm.features.cache import FeatureCache
from neurolm.features.cache_file import about, damaged_datasets, dataset_names
from neurolm.locks import exclusive_lock, is_locked
from neurolm.progress import Progress, silent

WHOLE, DAMAGED, UNFINISHED, IN_USE = "whole", "damaged", "unfinished", "in use"


@dataclass(frozen=True)
class CachedFeatures:
    """One file of the cache.

    path : Path
    label : what it holds, for people: story, model, context
    datasets : names of its arrays; empty if they cannot be read
    n_bytes : size on disk
    used_at : when features were last taken from it, seconds since 1970
    state : "whole"; "damaged"; "unfinished" (an extraction that was interrupted, and will go on
        from there); "in use" (an extraction is writing it now)
    problem : what is wrong with a damaged file
    """

    path: Path
    label: tuple[str, ...]
    datasets: tuple[str, ...]
    n_bytes: int
    used_at: float
    state: str
    problem: str = ""


def list_cache(cache: FeatureCache | None = None) -> list[CachedFeatures]:
    """Every file, by name. Sizes and labels only: `verify_cache` reads the numbers too."""
    cache = cache or FeatureCache()
    return [_describe(path) for path in sorted(_files(cache.folder))]


def verify_cache(cache: FeatureCache | None = None, progress: Progress = silent) -> list[CachedFeatures]:
    """Every file, with the checksums of all its arrays compared."""
    cache = cache or FeatureCache()
    paths = sorted(_files(cache.folder))
    verified = []
    for i, path in enumerate(paths):
        progress(i, len(paths), "files", path.name)
        verified.append(_describe(path, verify=True))
    progress(len(paths), len(paths), "files")
    return verified


def prune_cache(
    cache: FeatureCache | None = None, *, unused_days: float | None = None, everything: bool = False, dry_run: bool = False
) -> list[CachedFeatures]:
    """Remove damaged files and interrupted extractions; on request also what was long unused, or all.

    Parameters
    ----------
    cache : FeatureCache, optional
    unused_days : float, optional
        Remove whole files too that were not read or written for this long.
    everything : bool
        Remove all that no process is writing.
    dry_run : bool
        Remove nothing.

    Returns
    -------
    removed : list of CachedFeatures
        What was removed, or with `dry_run` would be. Nothing that a process is writing.
    """
    if unused_days is not None and unused_days < 0:
        raise bad("unused_days", "be >= 0", unused_days)
    cache = cache or FeatureCache()
    limit = None if unused_days is None else time.time() - unused_days * 86400
    removed = []
    for one in verify_cache(cache):
        is_old = limit is not None and one.used_at <= limit
        if one.state in (DAMAGED, UNFINISHED) or (one.state == WHOLE and (everything or is_old)):
            removed.append(one)
            if not dry_run:
                _remove(one.path)
    return removed


def _files(folder: Path) -> Iterator[Path]:
    """Finished and unfinished files, links followed; nothing if there is no such folder."""
    finished = {Path(os.path.realpath(path)) for path in folder.glob("*.h5")}
    unfinished = {path.with_name(f".{path.name}.partial") for path in finished}
    unfinished |= {Path(os.path.realpath(path)) for path in folder.glob(".*.h5.partial")}
    yield from (path for path in finished | unfinished if path.is_file())


def _describe(path: Path, *, verify: bool = False) -> CachedFeatures:
    status = path.stat()
    label: tuple[str, ...] = (path.name,)
    datasets: tuple[str, ...] = ()
    state, problem = WHOLE, ""
    try:
        datasets = tuple(dataset_names(path))
        label = tuple(about(path)["label"])
        harmed = damaged_datasets(path) if verify and path.suffix != ".partial" else []
        if harmed:
            state, problem = DAMAGED, f"checksums differ: {', '.join(harmed)}"
    except (FileError, KeyError) as error:
        state, problem = DAMAGED, str(error)
    if path.suffix == ".partial":
        state, problem = IN_USE if is_locked(_beside(path, "lock")) else UNFINISHED, ""
    return CachedFeatures(path, label, datasets, status.st_blocks * 512, status.st_mtime, state, problem)


def _beside(path: Path, ending: str) -> Path:
    """The lock or the journal of a file, finished or not."""
    name = path.name.removeprefix(".").removesuffix(".partial")
    return path.with_name(f".{name}.{ending}")


def _remove(path: Path) -> None:
    with exclusive_lock(_beside(path, "lock"), wait=False) as held:
        if held:
            path.unlink(missing_ok=True)
            _beside(path, "journal").unlink(missing_ok=True)
