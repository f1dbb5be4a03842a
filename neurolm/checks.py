"""One wording for every bad-input error.

    InputError (a ValueError)      an argument, a key or a choice that cannot work
    └── FileError                  a file that is missing, damaged or says something impossible

Every message reads `<argument> must <rule>; got <value>. <what to do next>`; for a file it
begins with `path:line`. The command line shows these messages alone and exits with code 2;
any other exception is a defect of neurolm and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

POINTERS = (b"/annex/objects/", b"version https://git-lfs.github.com/")
MOST_BYTES_OF_A_POINTER = 1000


class InputError(ValueError):
    """What the user gave cannot work; the message says what, and what to do next."""


class FileError(InputError):
    """A file is missing, damaged or says something impossible."""


def bad(argument: str, rule: str, got: object, hint: str = "") -> InputError:
    """Word an error: `raise bad("delays", "be >= 0", -1, "Delays are in TRs.")`."""
    message = f"{argument} must {rule}; got {short(got)}."
    return InputError(f"{message} {hint}".rstrip())


def bad_file(path: str | Path, problem: str, hint: str = "", *, line: int | None = None) -> FileError:
    """Word an error about a file: `path:line: problem. hint`."""
    place = f"{path}:{line}" if line is not None else str(path)
    return FileError(f"{place}: {problem}. {hint}".rstrip())


def check_file(path: str | Path, hint: str = "") -> Path:
    """Return `path` as a Path, or say that no such file exists."""
    path = Path(path)
    if is_not_fetched(path):
        raise bad_file(path, "stands for a file whose content is not here", f"Fetch it, for example: datalad get {path}")
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise bad_file(path, what, hint or "Check the path.")
    return path


def is_not_fetched(path: Path) -> bool:
    """True for a link that leads nowhere, and for the pointer that git-annex or Git LFS leaves instead of a file."""
    try:
        size = path.stat().st_size
    except OSError:
        return path.is_symlink()
    if not 0 < size <= MOST_BYTES_OF_A_POINTER or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(60).startswith(POINTERS)
    except OSError:  # whoever reads it says why
        return False


def check_choice(argument: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return `value` if it is one of `choices`; else name the nearest one."""
    choices = list(choices)
    if value in choices:
        return value
    raise bad(argument, f"be one of {', '.join(map(repr, choices))}", value, nearest(value, choices))


def nearest(value: Any, choices: Iterable[Any]) -> str:
    """`Did you mean 'x'?`, or nothing when no choice is near."""
    close = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def check_finite(argument: str, values: Any, hint: str = "") -> None:
    """Refuse NaN and infinity, saying how many there are and where the first one is."""
    finite = np.isfinite(np.asarray(values))
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        count = int((~finite).sum())
        raise bad(argument, "be finite everywhere", f"{count} NaN or infinite value(s), the first at index {where}", hint)


def check_real(argument: str, values: Any) -> None:
    """Refuse complex numbers, of which numpy and torch would keep the real part alone."""
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "") == "c" or getattr(dtype, "is_complex", False):
        raise bad(argument, "hold real numbers", str(dtype), "Take the magnitude (abs), or give real and imaginary part.")


def check_seed(argument: str, value: int) -> int:
    """Return a seed that every random generator takes: an integer in [0, 2^63)."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
        raise bad(argument, "lie in [0, 2^63)", value, "Give a whole number.")
    return int(value)


def check_same_length(first: str, n_first: int, second: str, n_second: int, hint: str = "") -> None:
    """Refuse two things that must go row by row and do not."""
    if n_first != n_second:
        raise bad(f"{first} and {second}", "have the same length", f"{n_first} and {n_second}", hint)


def short(value: object) -> str:
    """A value as text for a message, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
