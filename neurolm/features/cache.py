"""Features that were computed once are read from disk the next time.

One HDF5 file for each (stimulus, model, context), a data set for each layer. The file's name ends
with a hash over the words, the weights, the tokenizer and every setting that changes the numbers,
so that a file is either exactly what is asked for or is not looked at. Files are whole or hidden
(see `cache_file`); two processes that want the same file wait for one another; an interrupted one
is continued; a damaged one is made again, with a warning. A disk that cannot be written to costs the
cache, not the result.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from neurolm import __version__
from neurolm.checks import FileError, bad_file
from neurolm.features import cache_file
from neurolm.features.cache_file import FileSink
from neurolm.features.reading import Reads, Sink
from neurolm.features.reading_plan import ReadingPlan
from neurolm.lm.language_model import LanguageModel
from neurolm.locks import exclusive_lock
from neurolm.progress import Progress, silent
from neurolm.storage import cache_folder, content_hash


class Stored(Protocol):
    """Arrays (n_words, width), in memory or on disk."""

    def read(self, name: str, context: int = 0) -> np.ndarray: ...


@dataclass(frozen=True)
class StoredFile:
    """Arrays in a file, read when asked for."""

    path: Path
    groups: tuple[str, ...]

    def read(self, name: str, context: int = 0) -> np.ndarray:
        return cache_file.read_dataset(self.path, self.groups[context] + name)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of the cache.

    key : every setting that changes the numbers, JSON-able
    label : words for the file's name (story, model, context); no part of the identity
    names : arrays of each context
    groups : one prefix per context, ending in "/"; ("",) for a single one
    n_words : rows of every array
    made : what made it, for the record (device, versions); an interrupted extraction is continued
        only by the same
    """

    key: Mapping[str, Any]
    label: Sequence[str]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    n_words: int
    made: Mapping[str, str] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        return [group + name for group in self.groups for name in self.names]


def made_by(lm: LanguageModel) -> dict[str, str]:
    """For `Wanted.made`: what the last bits of a model's numbers depend on, beside the batches."""
    return {"device": str(lm.device), "torch": str(torch.__version__), "neurolm": __version__}


# Computes the named arrays and hands them to the sink.
Make = Callable[[Sequence[str], Sink], None]


def fetch(cache: FeatureCache | None, wanted: Wanted, make: Make, progress: Progress = silent) -> Stored:
    """The wanted arrays, from a cache or, without one, computed into memory."""
    if cache is not None:
        return cache.fetch(wanted, make, progress)
    memory = MemorySink(wanted.n_words, len(wanted.groups))
    make(wanted.names, memory)
    return memory


class FeatureCache:
    """A folder of computed features.

    Parameters
    ----------
    folder : path, optional
        By default the folder `features` of the user's cache (environment variable NEUROLM_CACHE, or
        the system's place for caches).
    sync_every_s : float
        How often an extraction that is under way makes safe what it has.
    required : bool
        True: a folder that cannot be written to is an error, before the work, and not only a warning.
    """

    def __init__(self, folder: str | Path | None = None, *, sync_every_s: float = 2.0, required: bool = False) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder("features")
        self.sync_every_s, self.required = sync_every_s, required

    def path(self, wanted: Wanted) -> Path:
        """The file that holds this, or will."""
        label = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.") for part in wanted.label)
        return self.folder / f"{label[:120]}_{content_hash('features', wanted.key)[:16]}.h5"

    def fetch(self, wanted: Wanted, make: Make, progress: Progress = silent) -> Stored:
        """The wanted arrays: from the cache, else computed and kept there.

        Raises
        ------
        FileError
            If the disk fails half way. What was computed until then is kept, and the next run goes on. Where
            the cache is required, also if nothing can be written at all.
        """
        path = Path(os.path.realpath(self.path(wanted)))  # where it is a link, what it points to is filled: the link stays
        if _holds(path, wanted.datasets):
            with contextlib.suppress(OSError):
                os.utime(path)  # when it was last used, for `prune_cache`
                cache_file.forget_finished(path)
            return StoredFile(path, wanted.groups)
        with contextlib.ExitStack() as held:
            try:
                self._lock(path, held, progress)
            except FileError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                _no_cache(path, error.__cause__, self.required)
                return fetch(None, wanted, make)
            if _holds(path, wanted.datasets):  # another process was faster
                return StoredFile(path, wanted.groups)
            return self._fill(path, wanted, make)

    def _lock(self, path: Path, held: contextlib.ExitStack, progress: Progress) -> None:
        lock = path.with_name(f".{path.name}.lock")
        if not held.enter_context(exclusive_lock(lock, wait=False)):
            progress(0, 1, "", "another process is computing these features; waiting for it")
            held.enter_context(exclusive_lock(lock))

    def _fill(self, path: Path, wanted: Wanted, make: Make) -> Stored:
        """Compute what the file lacks, beside what it has."""
        kept = _is_whole(path)
        there = cache_file.dataset_names(path) if kept else []
        missing = [name for name in wanted.names if any(group + name not in there for group in wanted.groups)]
        about = {"key": dict(wanted.key), "label": list(wanted.label), "made": dict(wanted.made), "format": 1}
        datasets = [group + name for group in wanted.groups for name in missing]
        sink = FileSink(
            path,
            about,
            datasets,
            wanted.groups,
            wanted.n_words,
            kept=path if kept else None,
            sync_every_s=self.sync_every_s,
        )
        either = _FileOrMemory(sink, wanted, self.required)
        try:
            make(missing, either)
            if either.memory is None:
                sink.finish()
        finally:
            sink.close()
        return StoredFile(path, wanted.groups) if either.memory is None else either


class _FileOrMemory:
    """Writes to a file, or to memory where the file cannot be made."""

    def __init__(self, file: FileSink, wanted: Wanted, required: bool) -> None:
        self.file, self.wanted, self.required = file, wanted, required
        self.memory: MemorySink | None = None

    def begin(self, plan: ReadingPlan, budget: int) -> tuple[int, int]:
        return self.file.begin(plan, budget)

    def write(self, reads: Reads, values: Mapping[str, np.ndarray]) -> None:
        if self.memory is None:
            try:
                self.file.write(reads, values)
                return
            except OSError as error:
                if self.file.is_begun:
                    raise _interrupted(self.file.path, error) from error
                _no_cache(self.file.path, error, self.required)
                self.memory = MemorySink(self.wanted.n_words, len(self.wanted.groups))
        self.memory.write(reads, values)

    def done(self, n_passes: int) -> None:
        self._note(lambda: self.file.done(n_passes))

    def halved(self, budget: int) -> None:
        self._note(lambda: self.file.halved(budget))

    def read(self, name: str, context: int = 0) -> np.ndarray:
        if self.memory is not None and name in self.memory.arrays:
            return self.memory.read(name, context)
        return cache_file.read_dataset(self.file.path, self.wanted.groups[context] + name)

    def _note(self, note: Callable[[], None]) -> None:
        if self.memory is None:
            try:
                note()
            except OSError as error:
                raise _interrupted(self.file.path, error) from error


def _holds(path: Path, datasets: Sequence[str]) -> bool:
    """Whether a file has all of these, unharmed."""
    if not path.is_file():
        return False
    try:
        there = cache_file.dataset_names(path)
        wanted = [name for name in datasets if name in there]
        return not _warn_damaged(path, cache_file.damaged_datasets(path, wanted)) and len(wanted) == len(datasets)
    except FileError as error:
        _warn_damaged(path, [str(error)])
        return False


def _is_whole(path: Path) -> bool:
    """Whether everything in a file is unharmed (no warning: that was given when it was looked for)."""
    try:
        return path.is_file() and not cache_file.damaged_datasets(path)
    except FileError:
        return False


def _warn_damaged(path: Path, what: Sequence[str]) -> bool:
    if what:
        warnings.warn(f"{path} is damaged ({', '.join(what)}) and is made again", stacklevel=5)
    return bool(what)


def _no_cache(path: Path, error: OSError, required: bool) -> None:
    """A warning that nothing will be kept, or an error where it must be."""
    problem, advice = f"cannot be written ({_reason(error)})", "Free space, or set NEUROLM_CACHE to a writable folder"
    if required:
        raise bad_file(path.parent, f"the features cache {problem}", f"{advice}.") from error
    warnings.warn(f"{path.parent}: the features cache {problem}; going on without it. {advice}", stacklevel=5)


def _reason(error: OSError) -> str:
    """What the system says, and not what HDF5 makes of it."""
    return os.strerror(error.errno) if error.errno else str(error)


def _interrupted(path: Path, error: OSError) -> FileError:
    return bad_file(
        path,
        f"could not be written to the end ({_reason(error)})",
        "What was computed is kept: make room and run again, and it goes on from there.",
    )


class MemorySink:
    """Arrays of shape (n_words, width), or (n_contexts, n_words, width), by name."""

    def __init__(self, n_words: int, n_contexts: int = 1) -> None:
        self.shape = (n_contexts, n_words)
        self.arrays: dict[str, np.ndarray] = {}

    def begin(self, plan: ReadingPlan, budget: int) -> tuple[int, int]:
        return 0, budget

    def write(self, reads: Reads, values: Mapping[str, np.ndarray]) -> None:
        for name, rows in values.items():
            if name not in self.arrays:
                self.arrays[name] = np.empty((*self.shape, rows.shape[1]), dtype=rows.dtype)
            self.arrays[name][reads.contexts, reads.words] = rows

    def done(self, n_passes: int) -> None: ...

    def halved(self, budget: int) -> None: ...

    def read(self, name: str, context: int = 0) -> np.ndarray:
        """(n_words, width)."""
        return self.arrays[name][context]
