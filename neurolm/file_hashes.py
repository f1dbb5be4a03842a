"""SHA-256 of files, remembered: a file that did not change since it was hashed is not read again.

A file counts as unchanged while its path, size, modification time, change time and inode are those that it had when it
was hashed. Times of files are only ever compared for equality, so that a wrong clock does no harm. A file that was
changed within two seconds before it was hashed is hashed again the next time: a second change may have fallen into the
same tick of the file system's clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from neurolm.checks import InputError, bad_file
from neurolm.storage import cache_folder, file_hash, write_json

SETTLED_S = 2.0
N_THREADS = 4  # hashing lets go of the interpreter's lock; disks seldom serve more readers


class FileHashes:
    """Content hashes of files, kept in one JSON file of the user's cache.

    Parameters
    ----------
    path : path, optional
        Of the JSON file; default: file_hashes.json in the cache. Where it cannot be written, files are hashed each time.
    verify : bool
        True: hash every file, whatever is remembered.
    """

    def __init__(self, path: str | Path | None = None, *, verify: bool = False) -> None:
        self.path = Path(path) if path is not None else cache_folder() / "file_hashes.json"
        self.verify = verify
        self._known = _read(self.path)
        self._new: dict[str, list[object]] = {}

    def of(self, paths: Iterable[str | Path]) -> dict[Path, str]:
        """The hash of every file, in the order given; files that are not remembered are hashed several at a time.

        Raises
        ------
        FileError
            If a file is missing or cannot be read.
        """
        wanted = list(dict.fromkeys(Path(path) for path in paths))
        marks = {path: _mark(path) for path in wanted}
        found = {path: value for path in wanted if (value := self._remembered(path, marks[path])) is not None}
        missing = [path for path in wanted if path not in found]
        if missing:
            with ThreadPoolExecutor(N_THREADS) as pool:
                found |= dict(zip(missing, pool.map(self._hash, missing)))
            self._keep()
        return {path: found[path] for path in wanted}

    def _remembered(self, path: Path, mark: list[int]) -> str | None:
        name = os.path.abspath(path)
        entry = self._new.get(name)
        if entry is None and not self.verify:
            entry = self._known.get(name)
        if not isinstance(entry, list) or len(entry) != 3 or entry[0] != mark:
            return None
        _, hashed_at, value = entry
        return str(value) if isinstance(hashed_at, (int, float)) and _is_settled(mark, hashed_at) else None

    def _hash(self, path: Path) -> str:
        try:
            while True:
                mark, began = _mark(path), time.time()
                value = file_hash(path)
                if _mark(path) == mark:
                    break
        except OSError as error:
            raise bad_file(path, f"cannot be read ({error.strerror or error})", "Check the file and its permissions.") from None
        self._new[os.path.abspath(path)] = [mark, began, value]
        return value

    def _keep(self) -> None:
        """Put what was hashed beside what other processes have put there; one that is lost is only hashed again."""
        with contextlib.suppress(InputError, OSError):
            write_json(self.path, _read(self.path) | self._new)


def _mark(path: Path) -> list[int]:
    """Size, modification time, change time and inode; what a link points to counts."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise bad_file(path, f"cannot be read ({error.strerror})", "Check the file and its permissions.") from None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _is_settled(mark: list[int], hashed_at: float) -> bool:
    """Whether a later change must have got another time than the one that the file had when it was hashed."""
    modified, changed = mark[1] / 1e9, mark[2] / 1e9
    return changed <= hashed_at - SETTLED_S and abs(modified - hashed_at) >= SETTLED_S


def _read(path: Path) -> dict[str, list[object]]:
    """What is remembered; nothing where the file is missing or damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
