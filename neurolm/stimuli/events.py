"""Tables of timed words: BIDS events.tsv, CSV with a header, and gentle's CSV without one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurolm.checks import bad, bad_file, nearest
from neurolm.stimuli.labels import Label, transcript_from_labels
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.transcript import Transcript
from neurolm.tables import Row, column_names, even_rows, plain, split_rows

WORD_COLUMNS = ("word", "words", "text", "token", "label")
ONSET_COLUMNS = ("onset", "onsets", "start", "start_time", "xmin", "tmin")
OFFSET_COLUMNS = ("offset", "offsets", "end", "end_time", "stop", "xmax", "tmax")
DURATION_COLUMNS = ("duration", "dur")
GENTLE_COLUMNS = ("word", "token", "onset", "offset")
MISSING = frozenset({"", "n/a", "na", "nan", "null", "none"})  # BIDS writes n/a


def read_events(
    path: str | Path, *, word_column: str | None = None, where: Mapping[str, object] | None = None, delimiter: str | None = None
) -> Transcript:
    """Read a table with one row per word.

    Parameters
    ----------
    path : path
        Tab-separated (.tsv) or comma-separated text, UTF-8, UTF-16, Windows-1252 or Mac-Roman. A first row that names
        columns is a header; without one the columns must be gentle's: word, token, onset, offset.
    word_column : str, optional
        By default the first of word, words, text, token, label (any case).
    where : mapping, optional
        Keep rows whose columns have these values: {"trial_type": "word"}, {"section": 1}. Others are
        not part of the transcript and are not counted.
    delimiter : str, optional
        By default a tab for .tsv and where the first line holds a tab, else a comma.

    Returns
    -------
    transcript : Transcript
        Onset columns: onset, start, xmin; the end is offset, end, xmax, or else onset + duration. Columns
        `sentence` and `paragraph`, where present, give the marks: a new index begins where the value
        changes. Rows without an onset or an end (blank or n/a) are left out and counted as "untimed" in
        `left_out`; so are labels that are not words (`neurolm.stimuli.labels`).

    Raises
    ------
    FileError
        With the line: a row of another length, a time that is no number, words out of time order.
    """
    text = read_annotation(path)
    columns, rows = _header(split_rows(text, path, delimiter or _delimiter(path, text)), path)
    kept = _filter(columns, rows, where or {}, path)
    labels = _labels(columns, kept, word_column, path)
    return transcript_from_labels(labels, path, what="the table", name=story_name(path))


def story_name(path: str | Path) -> str:
    """A story's name from its file's: `sub-01_task-pieman_events.tsv` and `pieman_align.csv` are pieman."""
    stem = Path(path).name.split(".")[0]
    task = [part for part in stem.split("_") if part.startswith("task-")]
    return task[0].removeprefix("task-") if task else stem.removesuffix("_align").removesuffix("_events")


def _delimiter(path: str | Path, text: str) -> str:
    return "\t" if Path(path).suffix.lower() == ".tsv" or "\t" in text.split("\n", 1)[0] else ","


def _header(rows: list[Row], path: str | Path) -> tuple[list[str], list[Row]]:
    names = [plain(cell).lower() for cell in rows[0].cells]
    if set(names) & {*ONSET_COLUMNS, *OFFSET_COLUMNS, *DURATION_COLUMNS}:
        return column_names(rows[0].cells, path, rows[0].line), even_rows(rows, path, has_header=True)[1:]
    if len(names) == len(GENTLE_COLUMNS) and _is_time(names[2]) and _is_time(names[3]):
        return list(GENTLE_COLUMNS), even_rows(rows, path, has_header=False)
    problem = f"the first row names no onset column: {', '.join(rows[0].cells)[:120]}"
    hint = "Name the columns (word, onset, offset), or give gentle's four: word, token, onset, offset."
    raise bad_file(path, problem, hint, line=rows[0].line)


def _filter(columns: list[str], rows: list[Row], where: Mapping[str, object], path: str | Path) -> list[Row]:
    for name, value in where.items():
        index = _find(columns, (name.lower(),), name, path)
        found = sorted({plain(row.cells[index]) for row in rows})
        rows = [row for row in rows if plain(row.cells[index]) == str(value)]
        if not rows:
            raise bad(f"where[{name!r}]", f"be a value of that column in {path} ({', '.join(found)[:120]})", value)
    return rows


def _labels(columns: list[str], rows: list[Row], word_column: str | None, path: str | Path) -> list[Label]:
    word = _find(columns, (word_column.lower(),) if word_column else WORD_COLUMNS, "word", path)
    onset = _find(columns, ONSET_COLUMNS, "onset", path)
    end = next((columns.index(name) for name in OFFSET_COLUMNS if name in columns), None)
    duration = _find(columns, DURATION_COLUMNS, "offset or duration", path) if end is None else None
    marks = {name: _changes(columns.index(name), rows) if name in columns else None for name in ("sentence", "paragraph")}
    labels = []
    for i, row in enumerate(rows):
        start = _time(row, onset, path)
        stop = _time(row, end, path) if end is not None else _plus(start, _time(row, duration, path))
        sentence, paragraph = (None if mark is None else mark[i] for mark in marks.values())
        labels.append(Label(row.cells[word], start, stop, row.line, sentence, paragraph))
    return labels


def _find(columns: Sequence[str], names: Sequence[str], what: str, path: str | Path) -> int:
    for name in names:
        if name in columns:
            return columns.index(name)
    listed = ", ".join(map(repr, columns))
    raise bad_file(path, f"has no column for {what} among {listed}", nearest(names[0], columns) or "Name it in the header.")


def _changes(index: int, rows: Sequence[Row]) -> list[int]:
    """Number runs of equal values."""
    numbers: list[int] = []
    for i, row in enumerate(rows):
        numbers.append(numbers[-1] + (row.cells[index] != rows[i - 1].cells[index]) if i else 0)
    return numbers


def _time(row: Row, index: int | None, path: str | Path) -> float | None:
    if index is None:
        return None
    cell = plain(row.cells[index])
    if cell.lower() in MISSING:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_file(path, f"{cell!r} is not a time in seconds", "Blank or n/a leaves a word untimed.", line=row.line)
    return value


def _plus(onset: float | None, duration: float | None) -> float | None:
    return None if onset is None or duration is None else onset + duration


def _is_time(cell: str) -> bool:
    try:
        return cell in MISSING or math.isfinite(float(cell))
    except ValueError:
        return False
