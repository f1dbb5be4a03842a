"""Atomic writes of whole files, HDF5 and JSON, and content hashes.

A file is written under a temporary name in the same folder, synced, then renamed, so that
a reader never sees half of it and a killed writer leaves the old one. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurolm.checks import InputError, bad_file, check_file
from neurolm.processes import ProcessIdentity, this_process

VERSION = 1  # of our HDF5 files: raised when an older neurolm could misread a newer one
_VERSION = "neurolm_version"
_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?:(?P<machine>[0-9a-f]{12})-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{8}|\d+)\.part$")
_ABANDONED_S = 7 * 86400  # a temporary file of another machine that was not written to for so long is a left-over


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success sync it and rename it to `path`.

    The file gets the mode of a new file (umask, default ACL). A `path` that is a symbolic link stays
    one: the file that it points to is replaced. On any error the temporary file is removed and `path`
    is as it was before.
    """
    path, asked = Path(os.path.realpath(path)), path
    if path.is_symlink():
        raise bad_file(asked, "is a symbolic link to itself", "Remove it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise bad_file(path.parent, f"cannot make this folder ({error.strerror})", "Choose a writable place.") from error
    part = temporary_name(path)
    try:
        remove_parts(path.parent, path.name)
        with open(part, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        if part.stat().st_mode != mode:  # some writers make their files for the owner alone
            part.chmod(stat.S_IMODE(mode))
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise bad_file(
            asked,
            f"could not be written ({error.strerror or error})",
            "Free space or choose a writable place; nothing was changed.",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A hidden name in the folder of `path` that no other process takes, on this machine or another."""
    machine, pid, started = this_process()
    return path.with_name(f".{path.name}.{machine}-{pid}-{started}-{secrets.token_hex(4)}.part")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as a whole."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON as a whole, keys sorted, so that equal content gives equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, default=_plain, allow_nan=True) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a damaged file is named with its line."""
    path = check_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise bad_file(path, f"is not valid JSON ({error.msg})", "Make it again.", line=error.lineno) from None
    except OSError as error:
        raise bad_file(path, f"cannot be read ({error.strerror})", "Check its permissions.") from None
    except (ValueError, RecursionError):
        raise bad_file(path, "is not JSON", "Make it again.") from None


def write_h5(path: str | Path, arrays: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> None:
    """Write named arrays and JSON-able attributes to an HDF5 file as a whole.

    Names may hold slashes (groups). Equal content gives equal bytes: no time stamps are kept.
    """
    plain = {name: a.detach().cpu().numpy() if hasattr(a, "detach") else np.asarray(a) for name, a in arrays.items()}
    notes = {name: json.dumps(value, sort_keys=True, default=_plain) for name, value in (attributes or {}).items()}
    with whole_file(path) as part:
        _take_room(part, plain, notes)
        with h5py.File(part, "w", track_order=True, locking=False) as file:
            for name, array in plain.items():
                text = array.dtype.kind in "UO"
                kind = h5py.string_dtype() if text else None
                file.create_dataset(name, data=array.astype(object) if text else array, dtype=kind)
            for name, value in ({_VERSION: str(VERSION)} | notes).items():
                file.attrs[name] = value


def _take_room(part: Path, arrays: Mapping[str, np.ndarray], notes: Mapping[str, str]) -> None:
    """Fail now, and plainly, if the disk cannot hold these: HDF5 does not survive a disk that fills up."""
    texts = sum(sum(len(str(s)) + 32 for s in a.flat) for a in arrays.values() if a.dtype.kind in "UO")
    n_bytes = sum(a.nbytes for a in arrays.values()) + 2 * (texts + sum(map(len, notes.values()))) + 4096 * (len(arrays) + 4)
    with open(part, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)


@contextlib.contextmanager
def open_h5(path: str | Path, problem: str, hint: str) -> Iterator[h5py.File]:
    """An HDF5 file to read from, also where the file system has no locks.

    Parameters
    ----------
    path : path
    problem, hint : str
        Of the error about a file that cannot be read: what it is not, and what to do.

    Raises
    ------
    FileError
        If the file is damaged or is no HDF5 file; with the advice to wait where another process writes it now.
    """
    try:
        with _opened_h5(path) as file:
            yield file
    except InputError:
        raise
    except FileNotFoundError:
        raise bad_file(path, "no such file") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        if isinstance(error, BlockingIOError) or "already open for write" in str(error):
            advice = "Wait for it, then try again. If nothing writes it, its writer was killed: `h5clear -s FILE` unlocks it."
            raise bad_file(path, "is being written by another process", advice) from error
        raise bad_file(path, f"{problem} ({error})", hint) from error


def _opened_h5(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "unable to lock file" not in str(error) or isinstance(error, BlockingIOError):
            raise
        return h5py.File(path, "r", locking=False)  # this file system has no locks; who only reads needs none


def read_h5(path: str | Path, names: list[str] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read back what `write_h5` wrote: (arrays, attributes); only `names` when given.

    Raises
    ------
    FileError
        If the file is missing, is not HDF5 or was cut short.
    """
    arrays: dict[str, np.ndarray] = {}
    path = check_file(path)
    with open_h5(path, "is not a whole HDF5 file of neurolm", "Delete it and make it again.") as file:

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and (names is None or name in names):
                arrays[name] = np.asarray(item.asstr()[()] if item.dtype.kind == "O" else item[()])

        file.visititems(collect)
        attributes = {name: json.loads(value) for name, value in file.attrs.items()}
        version = attributes.pop(_VERSION, VERSION)
    if version > VERSION:
        raise bad_file(path, f"has version {version} of the format, this neurolm reads up to {VERSION}", "Update neurolm.")
    missing = set(names or ()) - set(arrays)
    if missing:
        raise bad_file(path, f"lacks {', '.join(sorted(missing))}", "Make it again with this version of neurolm.")
    return arrays, attributes


def read_h5_of(path: str | Path, kind: str, make: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """`read_h5` of a file whose attribute `format` must be `kind`; `make` says how to get one."""
    arrays, attributes = read_h5(path)
    if attributes.get("format") != kind:
        raise bad_file(path, f"is not a {kind!r} file", make)
    return arrays, attributes


def remove_parts(folder: str | Path, name: str | None = None) -> list[Path]:
    """Remove temporary files that dead processes left in `folder` (of the file `name` alone); return their paths.

    Dead is a process of this machine and container that no longer runs. Of any other, nothing is known: its
    files go once they have not been written to for a week.
    """
    removed = []
    for part in Path(folder).glob(".*.part"):
        match = _TEMPORARY.match(part.name)
        if match and name in (None, match["name"]) and _is_left_over(part, match):
            part.unlink(missing_ok=True)
            removed.append(part)
    return removed


def _is_left_over(part: Path, match: re.Match[str]) -> bool:
    if match["machine"]:
        writer = ProcessIdentity(match["machine"], int(match["pid"]), int(match["started"]))
        if writer.is_here():
            return not writer.is_running()
    try:
        return time.time() - part.stat().st_mtime > _ABANDONED_S
    except FileNotFoundError:
        return False


def cache_folder(kind: str = "") -> Path:
    """The user's cache, or a part of it: NEUROLM_CACHE, else the system's place for caches. Not made here."""
    import pooch

    return Path(os.environ.get("NEUROLM_CACHE") or pooch.os_cache("neurolm")) / kind


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(*parts: Any) -> str:
    """SHA-256 over arrays, strings, numbers and nested mappings of them, as hex.

    Arrays count by dtype, shape and bytes; mappings by sorted keys. Equal content gives equal
    hashes on every machine and in every process.
    """
    digest = hashlib.sha256()
    for part in parts:
        _update(digest, part)
    return digest.hexdigest()


def _update(digest: Any, part: Any) -> None:
    if hasattr(part, "detach"):
        part = part.detach().cpu().numpy()
    if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
        digest.update(f"array{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, Mapping):
        digest.update(f"map{len(part)}".encode())
        for key in sorted(part, key=str):
            _update(digest, str(key))
            _update(digest, part[key])
    elif isinstance(part, (list, tuple, np.ndarray)):
        digest.update(f"list{len(part)}".encode())
        for item in part:
            _update(digest, item)
    else:
        text = part if isinstance(part, str) else repr(_plain(part))
        digest.update(f"{type(_plain(part)).__name__}{len(text)}:{text}".encode())


def _plain(value: Any) -> Any:
    """A numpy scalar, path or small array as what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    return value


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
