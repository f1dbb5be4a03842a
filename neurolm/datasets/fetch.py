"""Files from their public home: pinned by hash, whole or not at all, continued where they broke off."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from neurolm.checks import bad_file, is_not_fetched
from neurolm.datasets.dataset import Finding
from neurolm.locks import exclusive_lock
from neurolm.progress import Progress, silent

TIMEOUT_S = (10, 30)  # to connect, and between two pieces
N_AT_ONCE = 8
PIECE = 1 << 16  # bytes; a broken download loses at most its last piece


class Pinned(NamedTuple):
    """What a file must be: its hash ("sha256:..." or, where the publisher gives no other, "md5:...") and its bytes."""

    hash: str
    n_bytes: int


def read_registry(name: str) -> dict[str, Pinned]:
    """The pinned files of a data set by their paths, from `neurolm/datasets/registries/<name>.txt`."""
    text = (resources.files("neurolm.datasets") / "registries" / f"{name}.txt").read_text(encoding="utf-8")
    rows = (line.split(maxsplit=2) for line in text.splitlines() if line and not line.startswith("#"))
    return {path: Pinned(known, int(n_bytes)) for known, n_bytes, path in rows}


def fetch_files(registry: Mapping[str, Pinned], base_url: str, folder: Path, progress: Progress = silent) -> None:
    """Download what is missing or wrong in `folder`, several files at once.

    Parameters
    ----------
    registry : mapping of str to Pinned
        By relative path (POSIX). Paths that lead out of `folder` are refused.
    base_url : str
        What the paths are appended to.
    folder : path
        Made if missing. Each file appears whole, under its own name, once its hash is right.

    Raises
    ------
    FileError
        If a download fails, naming its address; what was finished stays and is not fetched again.
    """
    wanted = _missing(registry, folder)
    if wanted:  # a whole copy is only read: it may lie on a read-only disk
        with exclusive_lock(folder / ".lock"):
            wanted = _missing(wanted, folder)  # without what another process fetched while this one waited
            _fetch_all(wanted, base_url, folder, len(registry), progress)


def _missing(registry: Mapping[str, Pinned], folder: Path) -> dict[str, Pinned]:
    return {path: known for path, known in registry.items() if not is_intact(inside(folder, path), known)}


def _fetch_all(missing: Mapping[str, Pinned], base_url: str, folder: Path, n_files: int, progress: Progress) -> None:
    done = n_files - len(missing)
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        jobs = [pool.submit(fetch_file, base_url + path, known, inside(folder, path)) for path, known in missing.items()]
        try:
            for job in as_completed(jobs):
                job.result()
                done += 1
                progress(done, n_files, "files", "downloading")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def fetch_file(url: str, pinned: Pinned, target: Path) -> Path:
    """Download one file to `target`, continuing an earlier try; a wrong hash is an error and leaves nothing.

    A `target` that is a symbolic link stays one: the file that it points to is made or replaced.
    """
    import requests

    if target.is_symlink() and is_not_fetched(target) and ".git/annex" in os.readlink(target):
        raise bad_file(target, "belongs to a DataLad clone that has not fetched it", f"Run `datalad get {target}`.")
    target = Path(os.path.realpath(target))
    part = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download_rest(url, part, pinned.n_bytes)
        if not is_intact(part, pinned):
            part.unlink()
            raise bad_file(url, "arrived with a wrong checksum", "The source has changed or the download was damaged.")
        part.replace(target)
    except requests.RequestException as error:
        raise bad_file(url, f"could not be downloaded ({type(error).__name__})", "Check the network and try again.") from error
    except OSError as error:
        raise bad_file(target, f"could not be written ({error})", "Free space or set NEUROLM_CACHE.") from error
    return target


def is_intact(path: Path, pinned: Pinned) -> bool:
    """True if the file is there with this content."""
    if not path.is_file() or path.stat().st_size != pinned.n_bytes:
        return False
    algorithm, digest = pinned.hash.split(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == digest


def check_files(registry: Mapping[str, Pinned], folder: Path, progress: Progress = silent) -> list[Finding]:
    """Compare the files that are in `folder` with what is published; missing files are not a problem here."""
    findings, n_there = [], 0
    for i, (path, pinned) in enumerate(registry.items()):
        if inside(folder, path).is_file():
            n_there += 1
            if not is_intact(inside(folder, path), pinned):
                findings.append(Finding("problem", "differs from the published file", path))
        progress(i + 1, len(registry), "files", "checking hashes")
    summary = f"{n_there - len(findings)} of {len(registry)} published files are here as published"
    return [Finding("ok" if n_there and not findings else "problem", summary), *findings]


def inside(folder: Path, relative: str) -> Path:
    """`folder / relative`, refusing absolute paths and `..`: nothing is written outside the folder."""
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts or "\\" in relative or ":" in relative:
        raise bad_file(relative, "leads out of its folder", "The registry or archive is not to be trusted.")
    return folder.joinpath(*parts.parts)


def _download_rest(url: str, part: Path, n_bytes: int) -> None:
    """Write a file to `part`, asking only for what an earlier try did not get; stops where it is longer than published."""
    import requests

    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the earlier try got everything, or too much: the hash will tell
        response.raise_for_status()
        mode = "ab" if response.status_code == requests.codes.partial_content else "wb"
        with open(part, mode) as file:
            for chunk in response.iter_content(PIECE):
                file.write(chunk)
                if file.tell() > n_bytes:
                    break
