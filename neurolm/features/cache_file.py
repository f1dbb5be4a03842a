"""One HDF5 file of the features cache: its layout, its checksums, and how it is filled so that a crash costs nothing.

A file holds (n_words, width) arrays `<group>/layer_NN`, stored contiguously, their SHA-256 and one
attribute that says what they are. While it is filled it is hidden (`.name.partial`) and has a journal
(`.name.journal`, JSON lines: a header, then how many passes are on disk); rows are written in place
with pwrite, which a killed process cannot leave half-known: what the journal does not count is
computed again. Whole, it is synced and renamed, and never written to again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from neurolm.features.reading import Reads
from neurolm.features.reading_plan import ReadingPlan
from neurolm.storage import open_h5, sync_folder

CHECKSUMS = "checksums"
_BLOCK = 1 << 23  # bytes read at a time


def dataset_names(path: Path) -> list[str]:
    """Names of the arrays in a file, in alphabetical order; FileError if it cannot be read."""
    with open_file(path) as file:
        return _names(file)


def about(path: Path) -> dict[str, Any]:
    """What a file says of itself: key, label and how it was made."""
    with open_file(path) as file:
        return dict(json.loads(file.attrs["about"]))


def damaged_datasets(path: Path, names: Sequence[str] | None = None) -> list[str]:
    """Those of `names` (None: all) whose bytes are not what was written; FileError if nothing can be read."""
    with open_file(path) as file:
        every = _names(file)
        sums = dict(zip(every, file[CHECKSUMS][()]))
        wanted = every if names is None else names
        return [name for name in wanted if _checksum(file, name) != sums.get(name, b"").decode()]


def forget_finished(path: Path) -> None:
    """Remove the journal that a process left which was killed between naming a whole file and forgetting how it came about."""
    if not path.with_name(f".{path.name}.partial").exists():
        path.with_name(f".{path.name}.journal").unlink(missing_ok=True)


def read_dataset(path: Path, name: str) -> np.ndarray:
    """(n_words, width) float32."""
    with open_file(path) as file:
        return np.asarray(file[name][()])


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """A cache file to read from; whatever is wrong with it becomes a FileError."""
    with open_h5(path, "is not a whole file of the features cache", "It will be made again.") as file:
        yield file


class FileSink:
    """Takes what a reading plan gives into a cache file; goes on where a killed process stopped.

    Parameters
    ----------
    path : Path
        The file to be.
    about : mapping
        What is said of the arrays: JSON-able, the same for the same numbers.
    datasets : sequence of str
        Arrays that will be written.
    groups : sequence of str
        One per context: the beginning of its arrays' names.
    n_words : int
    kept : Path or None
        An older file, all of whose arrays are taken over.
    sync_every_s : float
        How often what was computed is made safe.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        datasets: Sequence[str],
        groups: Sequence[str],
        n_words: int,
        *,
        kept: Path | None = None,
        sync_every_s: float = 2.0,
    ) -> None:
        self.path, self.about, self.datasets, self.groups = path, dict(about), sorted(datasets), list(groups)
        self.n_words, self.kept = n_words, kept
        self.partial = path.with_name(f".{path.name}.partial")
        self.journal = path.with_name(f".{path.name}.journal")
        self.sync_every_s = sync_every_s
        self._offsets: dict[str, tuple[int, int]] = {}  # name: (place in the file, bytes of a row)
        self._descriptor = -1
        self._header: dict[str, Any] = {}
        self._synced_at = 0.0
        self._n_threads = torch.get_num_threads()

    def begin(self, plan: ReadingPlan, budget: int) -> tuple[int, int]:
        """Read the journal of an interrupted run of the same plan, or make ready for a new one."""
        self._header = {"plan": plan.content_hash(), "about": self.about, "datasets": self.datasets}
        header, n_passes = self._read_journal()
        if header is not None:
            torch.set_num_threads(header["threads"])  # the number of threads changes the last bits
            return n_passes, header["budget"]
        self._header |= {"budget": budget, "threads": self._n_threads}
        return 0, budget

    def write(self, reads: Reads, values: Mapping[str, np.ndarray]) -> None:
        if self._descriptor < 0:
            self._create(values)
        order = np.lexsort((reads.words, reads.contexts))
        contexts, words = reads.contexts[order], reads.words[order]
        ends = np.flatnonzero((np.diff(contexts) != 0) | (np.diff(words) != 1)) + 1  # of words that lie one after another
        for run in np.split(np.arange(len(order)), ends):
            group, word = self.groups[contexts[run[0]]], int(words[run[0]])
            for name, rows in values.items():
                place, size = self._offsets[group + name]
                _write_at(self._descriptor, rows[order[run]].astype(np.float32, copy=False), place + word * size)

    def done(self, n_passes: int) -> None:
        if time.monotonic() - self._synced_at >= self.sync_every_s:
            self._note({"passes": n_passes})

    def halved(self, budget: int) -> None:
        self._header["budget"] = budget
        if self._descriptor >= 0:
            self._note({"budget": budget})

    def finish(self) -> None:
        """Write the checksums, sync, rename."""
        with open_file(self.partial) as file:
            sums = np.array([_checksum(file, name) for name in _names(file)], dtype="S64")
        _write_at(self._descriptor, sums, self._offsets[CHECKSUMS][0])
        os.fsync(self._descriptor)
        os.replace(self.partial, self.path)
        sync_folder(self.path.parent)
        self.journal.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, finished or not; one that was never begun leaves nothing behind."""
        torch.set_num_threads(self._n_threads)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if not self.is_begun:
            self.partial.unlink(missing_ok=True)

    @property
    def is_begun(self) -> bool:
        """True once the room is taken and the journal is open: from then on a crash costs nothing."""
        return self._synced_at > 0

    def _create(self, values: Mapping[str, np.ndarray]) -> None:
        """Lay the file out for arrays of these widths, take the room on the disk, begin the journal."""
        self.journal.unlink(missing_ok=True)
        shapes = {group + name: (self.n_words, rows.shape[1]) for group in self.groups for name, rows in values.items()}
        old = {} if self.kept is None else _shapes(self.kept)
        _lay_out(self.partial, {**old, **shapes}, self.about)
        self._open_partial()
        if hasattr(os, "posix_fallocate"):  # a full disk is known now, not after hours
            os.posix_fallocate(self._descriptor, 0, os.fstat(self._descriptor).st_size)
        if self.kept is not None:
            for name in old:
                _write_at(self._descriptor, read_dataset(self.kept, name), self._offsets[name][0])
        os.fsync(self._descriptor)
        self._header["inode"] = os.fstat(self._descriptor).st_ino
        with open(self.journal, "w", encoding="utf-8") as file:
            file.write(json.dumps(self._header, sort_keys=True) + "\n")
        self._synced_at = time.monotonic()

    def _open_partial(self) -> None:
        with open_file(self.partial) as file:
            self._offsets = {
                name: (file[name].id.get_offset(), file[name].dtype.itemsize * int(np.prod(file[name].shape[1:])))
                for name in [*_names(file), CHECKSUMS]
            }
        self._descriptor = os.open(self.partial, os.O_RDWR)

    def _note(self, line: Mapping[str, Any]) -> None:
        """Say in the journal what is safely on the disk."""
        os.fsync(self._descriptor)
        with open(self.journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._synced_at = time.monotonic()

    def _read_journal(self) -> tuple[dict[str, Any] | None, int]:
        """(header, passes on disk) of an interrupted run of the same plan; (None, 0) if there is none."""
        try:
            text = self.journal.read_text(encoding="utf-8")
            lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
            header, rest = lines[0], lines[1:]
            if any(header[key] != value for key, value in self._header.items()):
                return None, 0
            if header["inode"] != self.partial.stat().st_ino:
                return None, 0  # a copy of both, taken while they were written: the journal may count what the copy lacks
            self._open_partial()
        except (OSError, ValueError, IndexError, KeyError):
            return None, 0
        self._synced_at = time.monotonic()
        for line in rest:
            header["budget"] = line.get("budget", header["budget"])
        return header, max((line.get("passes", 0) for line in rest), default=0)


def _write_at(descriptor: int, array: np.ndarray, place: int) -> None:
    """Write all bytes of a contiguous array; one call of the system may take only a part."""
    rest = array.data.cast("B")
    while rest:
        n_written = os.pwrite(descriptor, rest, place)
        rest, place = rest[n_written:], place + n_written


def _lay_out(path: Path, shapes: Mapping[str, tuple[int, int]], about: Mapping[str, Any]) -> None:
    """An HDF5 file of contiguous arrays with their room taken, the same bytes for the same arguments."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)
    with h5py.File(path, "w", locking=False) as file:  # nobody else knows its name
        file.attrs["about"] = json.dumps(about, sort_keys=True)
        for name in sorted(shapes):
            file.create_dataset(name, shapes[name], "<f4", dcpl=settings)
        file.create_dataset(CHECKSUMS, (len(shapes),), "S64", dcpl=settings)


def _names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(name for name in names if name != CHECKSUMS)


def _shapes(path: Path) -> dict[str, tuple[int, int]]:
    with open_file(path) as file:
        return {name: file[name].shape for name in _names(file)}


def _checksum(file: h5py.File, name: str) -> str:
    """SHA-256 of an array, its name and what the file says of itself; '' if there is no such array."""
    if name not in file:
        return ""
    digest = hashlib.sha256(f"{file.attrs['about']}\n{name}\n".encode())
    array = file[name]
    rows = max(1, _BLOCK // max(1, array.dtype.itemsize * array.shape[1]))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()
