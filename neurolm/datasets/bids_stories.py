"""Which story each run of a BIDS data set is: the words that its events.tsv names, else those of its file name.

One rule for every run:

1. `stim_file` of events.tsv names a story when a words file has its stem ("stimuli/Pieman_audio.wav" names
   pieman.TextGrid). Where no stim_file does, a `trial_type` may. Two different stories in one run are refused.
2. Otherwise the words file with the name of the run, or of its task, counts. Runs that share such a file although
   their events name different recordings are refused: some of them would get the words of another story.
3. Otherwise the words stand in events.tsv itself.

A run is called after its story. Where its file name says the same (task-pieman_run-2), it keeps that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neurolm.checks import FileError, bad_file
from neurolm.datasets.bids_times import onset_seconds
from neurolm.stimuli.events import MISSING, WORD_COLUMNS
from neurolm.stimuli.text_file import read_annotation
from neurolm.tables import parse_table

TRANSCRIPTS = (".TextGrid", ".tsv", ".csv", ".json")
NAMES_A_STIMULUS = ("stim_file", "trial_type")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".svg")
Key = tuple[str, str]  # (subject, run), or (subject, story)


@dataclass(frozen=True)
class EventRow:
    """One row of events.tsv: its line, and the cells that may say what was presented, and when."""

    line: int
    onset: str
    stim_file: str = ""
    trial_type: str = ""


@dataclass(frozen=True)
class Events:
    """What an events.tsv says of stimuli."""

    path: Path
    rows: tuple[EventRow, ...] = ()
    has_words: bool = False
    problem: str = ""

    @property
    def recordings(self) -> frozenset[str]:
        """Stems of the sound or video files that it names."""
        files = (row.stim_file for row in self.rows if row.stim_file)
        return frozenset(min(stems(name), key=len) for name in files if not name.lower().endswith(PICTURES))


@dataclass(frozen=True)
class StoryRun:
    """One subject's run and the story that it is.

    Parameters
    ----------
    subject, run : str
        `run` as in the file names: "listening_run-1".
    story : str
        Stem of the words file, or what stands for it.
    words : tuple of Path
        The words files of the story; more than one is an error when they are read.
    events : Events, optional
    rows : tuple of EventRow
        Those that name the story: their onset is when it began.
    by_events : bool
        Whether the events named the story, not the name of the file.
    problem : str
        Why nothing can be read for this run; empty where it can.
    """

    subject: str
    run: str
    story: str
    words: tuple[Path, ...] = ()
    events: Events | None = None
    rows: tuple[EventRow, ...] = ()
    by_events: bool = False
    problem: str = ""

    @property
    def task(self) -> str:
        return self.run.split("_")[0]

    def words_file(self) -> Path | None:
        """The words file, or None where the words stand in events.tsv."""
        if len(self.words) > 1:
            listed = ", ".join(path.name for path in self.words)
            raise bad_file(self.words[0].parent, f"holds the words of {self.story!r} more than once: {listed}", "Keep one.")
        return self.words[0] if self.words else None

    def onset(self) -> float:
        """Scan time (s) at which the story began, as events.tsv says.

        Raises
        ------
        FileError
            If no row of events.tsv names the story, or several do.
        """
        hint = "Or set the option onset_s: the scan time at which the clock of the words began."
        if self.events is None:
            raise bad_file(f"sub-{self.subject} {self.run}", "has no events.tsv that says when the story began", hint)
        if not self.rows:
            said = f"names no stim_file {self.story}.*" + _listed(self.events.recordings)
            raise bad_file(self.events.path, said, f"Give the words file the name of its stim_file or trial_type. {hint}")
        if len(self.rows) > 1:
            raise bad_file(
                self.events.path, f"names {self.story!r} in {len(self.rows)} rows, as if it began more than once", hint
            )
        return onset_seconds(self.events.path, self.rows[0].line, self.rows[0].onset, hint)


def read_stimulus_events(path: Path) -> Events:
    """The rows of an events.tsv that name a stimulus; other columns are ignored."""
    table = parse_table(read_annotation(path), path)
    if "onset" not in table.columns:
        raise bad_file(path, f"has no column onset, only {', '.join(table.columns)[:80]}", "BIDS asks for one.", line=1)
    rows = []
    for row in table.rows:
        found = {name: cell for name in ("onset", *NAMES_A_STIMULUS) if (cell := table.value(row, name)).lower() not in MISSING}
        if found.keys() & set(NAMES_A_STIMULUS):
            rows.append(EventRow(row.line, found.get("onset", "n/a"), found.get("stim_file", ""), found.get("trial_type", "")))
    return Events(path, tuple(rows), bool(set(table.columns) & set(WORD_COLUMNS)))


def _read(path: Path) -> Events:
    try:
        return read_stimulus_events(path)
    except FileError as error:  # of the runs that need it alone
        return Events(path, problem=str(error))


def words_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Words files of a folder by their stem in lower case."""
    found: dict[str, tuple[Path, ...]] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            ending = next((ending for ending in TRANSCRIPTS if path.name.endswith(ending)), None)
            if ending is not None:
                stem = path.name.removesuffix(ending).lower()
                found[stem] = (*found.get(stem, ()), path)
    return found


def stems(name: str) -> frozenset[str]:
    """What a stim_file or trial_type may be called without folder, ending and _audio, in lower case."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    kept = {base, base.rsplit(".", 1)[0], base.split(".")[0]}
    return frozenset({*kept, *(stem.removesuffix("_audio") for stem in kept)})


def story_runs(runs: Iterable[Key], events: Mapping[Key, Path | None], words: Path) -> dict[Key, StoryRun]:
    """The story of every run, by (subject, name of the story).

    Parameters
    ----------
    runs : iterable of (subject, run)
    events : mapping of (subject, run) to the run's events.tsv, or None
    words : the folder of words files
    """
    known = words_files(words)
    read = {path: _read(path) for path in {path for path in events.values() if path is not None}}
    found = [_story_of(*key, read.get(path) if (path := events.get(key)) else None, known) for key in sorted(runs)]
    found = _named_in_events(_with_contradictions(found, words))
    names = story_names(found)
    named: dict[Key, StoryRun] = {}
    for run in found:
        key = run.subject, names[run.subject, run.run]
        if key in named:
            both = f"sub-{run.subject} {named[key].run} and {run.run}"
            raise bad_file(words, f"gives {both} the same name, {key[1]!r}", "Rename one of their words files.")
        named[key] = run
    return named


def _story_of(subject: str, run: str, events: Events | None, known: Mapping[str, tuple[Path, ...]]) -> StoryRun:
    """The story of one run by its own events and file name."""
    task = run.split("_")[0]
    plain = StoryRun(subject, run, run, events=events, problem=events.problem if events else "")
    for column in NAMES_A_STIMULUS if events else ():
        assert events is not None
        named: dict[str, list[EventRow]] = {}
        for row in events.rows:
            cell = getattr(row, column)
            if cell and not (column == "trial_type" and cell.lower() == task.lower()):  # says no more than the file name
                for stem in sorted(stems(cell) & known.keys(), key=len)[-1:]:
                    named.setdefault(stem, []).append(row)
        if len(named) > 1:
            listed = " and ".join(repr(_stem(known[stem])) for stem in sorted(named))
            problem = f"{events.path}: names {listed}, and a run holds one story. Leave the run out with `stories`."
            return replace(plain, problem=problem)
        if named:
            ((stem, rows),) = named.items()
            return replace(plain, story=_stem(known[stem]), words=known[stem], rows=tuple(rows), by_events=True)
    for name in (run.lower(), task.lower()):
        if name in known:
            said = {run.lower(), name}
            rows = [row for row in events.rows if said & (stems(row.stim_file) | stems(row.trial_type))] if events else []
            return replace(plain, story=_stem(known[name]), words=known[name], rows=tuple(rows))
    return plain


def _with_contradictions(found: Sequence[StoryRun], words: Path) -> list[StoryRun]:
    """Runs that share words by their file name although their events name different recordings have a problem."""
    heard: dict[tuple[Path, ...], dict[frozenset[str], StoryRun]] = {}
    for run in found:
        if other_recordings(run):
            heard.setdefault(run.words, {}).setdefault(other_recordings(run), run)
    checked = []
    for run in found:
        said = heard.get(run.words, {}) if other_recordings(run) else {}
        if len(said) > 1:
            first, second = list(said.values())[:2]
            named = [", ".join(sorted(other_recordings(one))) for one in (first, second)]
            problem = (
                f"{words}: {run.words[0].name} would give its words to runs that heard different recordings: {named[0]} in "
                f"sub-{first.subject} {first.run}, {named[1]} in sub-{second.subject} {second.run}, as events.tsv says. "
                f"Name the words files after the recordings: {named[0]}.TextGrid, {named[1]}.TextGrid."
            )
            run = replace(run, problem=problem)
        checked.append(run)
    return checked


def other_recordings(run: StoryRun) -> frozenset[str]:
    """Recordings in the events of a run that got its words by its file name; its own name says nothing more."""
    if not run.words or run.by_events or run.events is None:
        return frozenset()
    return run.events.recordings - {run.run.lower()}


def _named_in_events(found: Sequence[StoryRun]) -> list[StoryRun]:
    """Runs whose words stand in events.tsv: called after their recording where file names do not tell stories apart."""
    recordings: dict[str, set[frozenset[str]]] = {}
    for run in found:
        if _has_own_words(run) and run.events:
            recordings.setdefault(run.run, set()).add(run.events.recordings)
    mixed = {run.split("_")[0] for run, said in recordings.items() if len(said) > 1}
    renamed = []
    for run in found:
        if _has_own_words(run) and run.task in mixed and run.events and len(run.events.recordings) == 1:
            run = replace(run, story=next(iter(run.events.recordings)), by_events=True)
        renamed.append(run)
    return renamed


def _has_own_words(run: StoryRun) -> bool:
    return not run.words and not run.problem and run.events is not None and run.events.has_words


def story_names(found: Sequence[StoryRun]) -> dict[Key, str]:
    """The name of every run for analyses, by (subject, run).

    Runs keep the names of their files where these name the story. Otherwise a story that nobody heard twice gives its
    name, and one that was heard again gives pieman_run-1, pieman_run-2 in the order of sessions and runs.
    """
    names: dict[Key, str] = {}
    for story in dict.fromkeys(run.story for run in found):
        heard: dict[str, list[str]] = {}
        for one in sorted((one for one in found if one.story == story), key=lambda one: _in_order(one.run)):
            heard.setdefault(one.subject, []).append(one.run)
        most = max(heard.values(), key=len)
        all_runs = {run for runs in heard.values() for run in runs}
        from_files = all(story.lower() in (run.lower(), run.split("_")[0].lower()) for run in all_runs)
        keep = from_files and all_runs <= set(most)
        for subject, runs in heard.items():
            for i, run in enumerate(runs, 1):
                names[subject, run] = run if keep else story if len(most) == 1 else f"{story}_run-{i}"
    return names


def refuse(run: StoryRun) -> None:
    """Raise what is wrong with a run, if anything is."""
    if run.problem:
        raise FileError(run.problem)


def _in_order(run: str) -> list[tuple[int, int | str]]:
    """run-2 before run-10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", run)]


def _stem(paths: Sequence[Path]) -> str:
    name = paths[0].name
    return next(name.removesuffix(ending) for ending in TRANSCRIPTS if name.endswith(ending))


def _listed(recordings: Iterable[str]) -> str:
    names = ", ".join(sorted(recordings))
    return f" (it names {names})" if names else ""
