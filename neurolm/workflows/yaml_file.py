"""YAML files as YAML 1.2 has them: only what is plainly a number is one, with the line of every key.

`no`, `off`, `1:30`, `010`, `0x10`, `1_000` and dates are text here, where YAML 1.1 makes them false, 90, 8, 16, 1000 and a
date: a setting that wants a number refuses them, and a subject's label such as 010 stays as it was typed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from neurolm.checks import FileError, bad_file, check_file

VERSION = 1  # of configs: raised when an older neurolm could misread a newer one
_IN_PATH = re.compile(r"^~[^/\s]*/|^~$|(?:^|/)\$(?:\w+|\{\w+\})")  # "~/", "~name/", "$VAR" and "${VAR}" in a path
LARGEST = 2**63 - 1
_PLAIN = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?(?:0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"),
}
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


class _Loader(yaml.SafeLoader):
    """A SafeLoader whose plain words become null, true, false and numbers by the rules above, and else text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0]:
            if value == "<<":
                return "tag:yaml.org,2002:merge"
            if not _LEADING_ZERO.fullmatch(value):
                for name, pattern in _PLAIN.items():
                    if pattern.fullmatch(value):
                        return f"tag:yaml.org,2002:{name}"
            return "tag:yaml.org,2002:str"
        return super().resolve(kind, value, implicit)


def read_value(text: str) -> Any:
    """One value as a config has it: `[motion, csf]`, `10mm`, `2.0`.

    Raises
    ------
    ValueError
        If it is not valid YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None


def read_yaml(path: str | Path, *, expand: bool = True) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    """A YAML file's keys and values, and the line of every key by its way from the top; `expand`: put in `~` and `$VAR`."""
    path = check_file(path, "Configs that come with neurolm are listed by `neurolm run --list`.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=_Loader)
        lines = _key_lines(node, path) if node is not None else {}
        values = yaml.load(text, Loader=_Loader)
    except UnicodeDecodeError:
        raise bad_file(path, "is not UTF-8 text", "Save the config as UTF-8.") from None
    except RecursionError:
        raise bad_file(path, "is nested too deeply, or refers to itself", "Write it out plainly.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise bad_file(path, f"is not valid YAML ({problem})", line=mark.line + 1 if mark else None) from None
    except FileError:
        raise
    except ValueError as error:  # of an explicit tag such as !!int
        raise bad_file(path, f"is not valid YAML ({str(error).splitlines()[0]})", "Remove the tag.") from None
    if not isinstance(values, dict):
        raise bad_file(path, "holds no keys", "Begin with a copy of one of the configs that come with neurolm.")
    _check_plain(values, path, lines)
    version = values.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        problem = f"has version {version} of the format, this neurolm reads up to {VERSION}"
        raise bad_file(path, problem, "Update neurolm.", line=lines.get(("version",)))
    return _expand(values, path, lines) if expand else values, lines


def _expand(value: Any, path: Path, lines: Mapping[tuple[Any, ...], int], place: tuple[Any, ...] = ()) -> Any:
    """Every `~` and `$VAR` that begins a path, or is a folder in it, put in; an undefined one is refused with its line."""
    if isinstance(value, dict):
        return {key: _expand(one, path, lines, (*place, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_expand(one, path, lines, (*place, i)) for i, one in enumerate(value)]
    if not isinstance(value, str) or place == ("title",) or not _IN_PATH.search(value) or os.path.exists(value):
        return value
    expanded = os.path.expandvars(os.path.expanduser(value))
    left = _IN_PATH.search(expanded)
    if left:
        problem = f"{left[0].strip('/')} in {value!r} is not known here"
        raise bad_file(path, problem, "Define it, or write the path out.", line=lines.get(place))
    return expanded


def line_of(place: tuple[Any, ...], lines: dict[tuple[Any, ...], int]) -> int | None:
    """The line of a key, or of the nearest section above it that stands in the file."""
    return next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)


def _check_plain(value: Any, path: Path, lines: dict[tuple[Any, ...], int], place: tuple[Any, ...] = ()) -> None:
    """Refuse what no setting is: keys that are not text, bytes, dates, sets, and numbers beyond all bounds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise bad_file(
                    path, f"the key {key!r} is not text", "Put it into quotes.", line=line_of((*place, str(key)), lines)
                )
            _check_plain(inner, path, lines, (*place, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_plain(inner, path, lines, (*place, i))
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise bad_file(path, f"{_name(place)} is too large a number", "Take a smaller one.", line=line_of(place, lines))
    elif isinstance(value, float) and not math.isfinite(value):
        raise bad_file(path, f"{_name(place)} must be finite; got {value}", "Give a number.", line=line_of(place, lines))
    elif not isinstance(value, (str, int, float, type(None))):
        problem = f"{_name(place)} is neither text, a number, true, false, null, a list nor keys"
        raise bad_file(path, problem, "Put it into quotes.", line=line_of(place, lines))


def _name(place: tuple[Any, ...]) -> str:
    return repr(".".join(map(str, place)))


def _key_lines(node: Any, path: Path, prefix: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], int]:
    """Line of every key, by its way from the top; a key given twice is an error."""
    lines: dict[tuple[Any, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise bad_file(path, "a key is not text", "Name it in one word.", line=key.start_mark.line + 1)
            place = (*prefix, key.value)
            if place in lines:
                raise bad_file(path, f"{key.value!r} is given twice", "Keep one.", line=key.start_mark.line + 1)
            lines[place] = key.start_mark.line + 1
            lines |= _key_lines(value, path, place)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            lines[(*prefix, i)] = value.start_mark.line + 1
            lines |= _key_lines(value, path, (*prefix, i))
    return lines
