"""Exclusive locks of files, for writers: they end with their process, and readers never need them.

The lock is the operating system's own (flock on Unix, LockFileEx on Windows), which a killed
process cannot leave behind. Where the file system has none, a file beside it (`<name>.held`) that
names its process takes its place; one that a dead process of this machine left is ignored.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from neurolm.checks import bad_file

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_RETRY_S = 0.2  # a reader that looks at a lock holds it for a moment
_POLL_S = 0.05


@contextlib.contextmanager
def exclusive_lock(path: str | Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the file `path`, which is made if missing and stays.

    Yields True when the lock is held; with `wait=False` yields False if another process holds it.

    Raises
    ------
    FileError
        If the file cannot be made or opened, as in a folder of somebody else or on a read-only disk.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        try:
            held = _take(path, stack, wait)
        except OSError as error:
            advice = "Choose a folder that you can write to (`output`, --output; for the cache NEUROLM_CACHE)."
            raise bad_file(path, f"cannot be locked ({error.strerror or error})", advice) from error
        yield held


def is_locked(path: str | Path) -> bool:
    """Whether a process holds the lock of `path`. Writes nothing: for readers, on any file system."""
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return held_file(path).exists()
    from filelock import lock_descriptor

    try:
        return not lock_descriptor(descriptor, blocking=False)
    except OSError:  # none here, or not for a file that is open for reading alone
        return held_file(path).exists()
    finally:
        os.close(descriptor)


def held_file(path: Path) -> Path:
    """The file that takes the place of the lock of `path` where the file system has no locks."""
    return path.with_name(path.name + ".held")


def _take(path: Path, stack: contextlib.ExitStack, wait: bool) -> bool:
    from filelock import lock_descriptor

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    stack.callback(os.close, descriptor)
    deadline = time.monotonic() + _RETRY_S
    while True:
        try:
            if lock_descriptor(descriptor, blocking=False):
                return True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return _take_file(path, stack, wait, error)
        if not wait and time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def _take_file(path: Path, stack: contextlib.ExitStack, wait: bool, why: OSError) -> bool:
    from filelock import SoftFileLock, Timeout

    held = held_file(path)
    warnings.warn(
        f"{path}: this file system has no locks ({why.strerror}); {held.name} takes their place. "
        "If a process that was killed on another machine left it behind, delete it",
        stacklevel=5,
    )
    try:
        stack.enter_context(SoftFileLock(held).acquire(timeout=-1 if wait else 0))
    except Timeout:
        return False
    return True
