"""Stages of an analysis, and whether their results still belong to what they were made from.

.neurolm/records/<stage>.json    what a finished stage was made from and what it made: its settings, the SHA-256 of every
                                 file that it read and of every file that it wrote, and the same of the stages before it

A stage is current while all of that is as it was; content alone decides, never a time. `neurolm run`, its dry run,
`neurolm status` and every command that reuses results ask here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurolm import __version__
from neurolm.checks import FileError, bad_file
from neurolm.file_hashes import FileHashes
from neurolm.progress import say
from neurolm.storage import content_hash, read_json, write_json
from neurolm.workflows.output_folder import file_marks, set_aside

RECORDS = Path(".neurolm") / "records"
OPTIONS = ("device", "seed", "threads")  # settings that options of a single command may set


@dataclass(frozen=True)
class Stage:
    """One step of an analysis.

    Parameters
    ----------
    name : str
        One of its kind in the output folder: "check", "features-alice".
    rule : str
        The rule of the workflow that makes it.
    folder : Path
        The output folder.
    makes : tuple of str
        Files below `folder` that are there when it is finished; the first one stands for it.
    what : str
        What it computes, for a person.
    settings : mapping
        Everything in the config that its results depend on.
    inputs : function
        Gives {name: path} of every file that it reads from outside the folder, or {name: hash} of what is hashed already.
    after : tuple of Stage
        Stages whose results it reads.
    owns : tuple of str
        Patterns of files that no other stage writes; those that it no longer makes are set aside.
    draws : tuple of str
        Patterns of files in folders that it shares.
    function : function
        Computes it and writes its files.
    estimate : function
        Gives lines about sizes and time, for a dry run of this stage.
    """

    name: str
    rule: str
    folder: Path
    makes: tuple[str, ...]
    what: str
    settings: Mapping[str, Any]
    inputs: Callable[[], Mapping[str, Path | str]] = dict
    after: tuple[Stage, ...] = ()
    owns: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()
    function: Callable[[], object] = field(default=lambda: None, compare=False, repr=False)
    estimate: Callable[[], Iterable[str]] = field(default=tuple, compare=False, repr=False)

    @property
    def record(self) -> Path:
        return self.folder / RECORDS / f"{self.name}.json"

    def written(self, patterns: Sequence[str]) -> list[Path]:
        """Files that the stage has made so far, or that its patterns find."""
        found = {self.folder / name for name in self.makes}
        found.update(path for pattern in patterns for path in self.folder.glob(pattern))
        return sorted(path for path in found if path.is_file())


class Judge:
    """Compares stages with their records; every file is looked at once.

    Parameters
    ----------
    verify : bool
        Hash every file, whatever is remembered of it.
    """

    def __init__(self, *, verify: bool = False) -> None:
        self.hashes = FileHashes(verify=verify)
        self._states: dict[Path, dict[str, Any]] = {}
        self._reasons: dict[Path, str] = {}

    def outdated(self, stages: Iterable[Stage]) -> dict[Path, str]:
        """{record: why} of every stage that has to be made: new, changed, or after one that has to be made."""
        return {stage.record: reason for stage in stages if (reason := self.reason(stage))}

    def reason(self, stage: Stage) -> str:
        """Why a stage has to be made; empty if its results are there and belong to its inputs."""
        if stage.record not in self._reasons:
            before = next((up for up in stage.after if self.reason(up)), None)
            own = self.own_reason(stage)
            self._reasons[stage.record] = own or (f"{before.name} is made first" if before else "")
        return self._reasons[stage.record]

    def own_reason(self, stage: Stage, *, but: Sequence[str] = ()) -> str:
        """The same, leaving aside the stages before it where settings named in `but` may differ."""
        record = read_record(stage)
        if record is None:
            is_there = any((stage.folder / name).exists() for name in stage.makes)
            return "not finished, or made by an older neurolm" if is_there else "not made yet"
        return _difference(record, self.state(stage), but) or self._changed_output(stage, record["outputs"])

    def state(self, stage: Stage) -> dict[str, Any]:
        """What a stage would be made from now."""
        if stage.record not in self._states:
            inputs = stage.inputs()
            hashes = self.hashes.of(value for value in inputs.values() if isinstance(value, Path))
            named = {name: hashes[value] if isinstance(value, Path) else value for name, value in inputs.items()}
            before = {up.name: content_hash(self.state(up)) for up in stage.after}
            plain = json.loads(json.dumps(dict(stage.settings), default=str))
            self._states[stage.record] = {"neurolm": __version__, "settings": plain, "inputs": named, "after": before}
        return self._states[stage.record]

    def _changed_output(self, stage: Stage, outputs: Mapping[str, str]) -> str:
        paths = {name: stage.folder / name for name in [*stage.makes, *outputs]}
        missing = next((name for name, path in paths.items() if not path.is_file()), None)
        if missing is not None:
            return f"{missing} is missing"
        found = self.hashes.of(paths.values())
        other = next((name for name, path in paths.items() if outputs.get(name) != found[path]), None)
        return "" if other is None else f"{other} is not what was made"


def is_current(stage: Stage) -> bool:
    """Whether a stage's results are there and belong to its inputs."""
    return not Judge().reason(stage)


def stage_path(output: Path, stage: Stage) -> str:
    """The file that stands for a stage, below the output folder."""
    return str((stage.folder / stage.makes[0]).relative_to(output))


def say_states(output: Path, stages: Iterable[Stage], reasons: Mapping[Path, str] | None = None) -> None:
    """Say of every stage what it makes, and whether or why it has to be made: what a dry run begins with.

    Parameters
    ----------
    reasons : mapping, optional
        From `Judge.outdated`.
    """
    stages = list(stages)
    reasons = Judge().outdated(stages) if reasons is None else reasons
    for stage in stages:
        reason = reasons.get(stage.record)
        state, why = ("to make", f" ({reason})") if reason else ("there already", "")
        say(f"{stage.name:<16} {stage_path(output, stage):<48} {state:<14} {stage.what}{why}")


def check_before(stage: Stage, advice: str = "Run `neurolm run CONFIG`: it makes what is missing.") -> None:
    """Refuse to work on results of stages before this one that are missing or do not belong to their inputs.

    Options of a command (device, seed, threads) may differ from those that the earlier stage was made with.

    Parameters
    ----------
    advice : str
        `{stage}` stands for the stage that has to be made first.
    """
    judge = Judge()
    for before in _all_before(stage):
        reason = judge.own_reason(before, but=OPTIONS)
        if reason:
            path = before.folder / before.makes[0]
            problem = f"is out of date: {reason}" if path.exists() else "no such file"
            raise bad_file(path, problem, advice.format(stage=before.name))


def _all_before(stage: Stage) -> list[Stage]:
    """Every stage whose results it needs, the first one first."""
    found = {one.record: one for before in stage.after for one in (*_all_before(before), before)}
    return list(found.values())


@contextlib.contextmanager
def making(stage: Stage) -> Iterator[None]:
    """Make a stage inside this block: its record is written at the end, and files of an earlier config are set aside.

    What it is made from is looked at before anything is read: an input that changes meanwhile is noticed by the next run.
    """
    judge = Judge()
    state = judge.state(stage)
    record = read_record(stage)
    earlier = [] if record is None else [stage.folder / name for name in record["outputs"]]
    patterns = (*stage.owns, *stage.draws)
    before = file_marks([*stage.written(patterns), *earlier])
    yield
    made = [path for path, mark in file_marks(stage.written(patterns)).items() if before.get(path) != mark]
    set_aside(stage.folder, (set(stage.written(stage.owns)) | set(earlier)) - set(made))
    outputs = {str(path.relative_to(stage.folder)): value for path, value in judge.hashes.of(made).items()}
    write_json(stage.record, {**state, "outputs": outputs})


def set_aside_unplanned(folder: Path, stages: Iterable[Stage]) -> None:
    """Set aside what stages made that the config no longer asks for: another estimator, story or model."""
    planned = {stage.record for stage in stages}
    for path in [*folder.glob(f"{RECORDS}/*.json"), *folder.glob(f"models/*/{RECORDS}/*.json")]:
        if path in planned:
            continue
        home = path.parents[len(RECORDS.parts)]
        try:
            outputs = list(read_json(path)["outputs"])
        except (FileError, KeyError, TypeError):
            outputs = []
        set_aside(home, {home / name for name in outputs})
        path.unlink()


def read_record(stage: Stage) -> dict[str, Any] | None:
    """What a finished stage was made from and what it made; None without a whole record."""
    try:
        record = read_json(stage.record)
    except FileError:
        return None
    parts = ("settings", "inputs", "after", "outputs")
    return record if isinstance(record, dict) and all(isinstance(record.get(part), dict) for part in parts) else None


def _difference(record: Mapping[str, Any], state: Mapping[str, Any], but: Sequence[str]) -> str:
    """The first thing in which what a stage was made from differs from what it would be made from now."""
    if record.get("neurolm") != state["neurolm"]:
        return f"made by neurolm {record.get('neurolm')}"
    old, new = ({key: value for key, value in one["settings"].items() if key not in but} for one in (record, state))
    if old != new:
        return f"{_changed_key(old, new)} differs in the config"
    inputs, now = record["inputs"], state["inputs"]
    changed = sorted(name for name in inputs.keys() | now.keys() if inputs.get(name) != now.get(name))
    if changed:
        how = "is new" if changed[0] not in inputs else "is gone" if changed[0] not in now else "changed"
        return f"{changed[0]} {how}" + (f", and {len(changed) - 1} more" if len(changed) > 1 else "")
    if not but and record["after"] != state["after"]:
        names = [name for name in state["after"] if record["after"].get(name) != state["after"][name]]
        return f"{', '.join(names[:1]) or 'a stage before it'} was made again"
    return ""


def _changed_key(old: Any, new: Any) -> str:
    """`encode.gap`: the way to the first key that differs."""
    for key in [*new, *(key for key in old if key not in new)]:
        if old.get(key) != new.get(key):
            both = isinstance(old.get(key), dict) and isinstance(new.get(key), dict)
            return f"{key}.{_changed_key(old[key], new[key])}" if both else str(key)
    return "a key"
