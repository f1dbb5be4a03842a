"""Time courses of regions as tables: one row for each volume, one column for each region."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import Regions
from neurolm.checks import bad_file, check_file

_MISSING = frozenset({"", "n/a", "na", "nan"})


def read_region_table(
    path: str | Path, *, first_tr_s: float, tr: float, names: tuple[str, ...] | None = None, subject: str = "", story: str = ""
) -> BoldRun:
    """A run of regions from CSV, tab-separated or blank-separated text in UTF-8.

    Parameters
    ----------
    path : path
        A first row that is not numbers names the regions. A first column without a name is an index
        (pandas writes it): it must count the rows, and is left out.
    first_tr_s, tr : float
        Story time (s) of the first row; seconds between rows.
    names : tuple of str, optional
        For tables without a header; by default region-1, region-2, ...

    Returns
    -------
    run : BoldRun
        (n_trs, n_regions) float64; NaN where a cell is empty or n/a.

    Raises
    ------
    FileError
        With the line: a row of another length, a cell that is no number.
    """
    rows = _rows(path)
    header = rows.pop(0)[1] if rows and not all(_is_number(cell) for cell in rows[0][1]) else None
    if header is not None and not header[0]:
        header, rows = header[1:], _without_index(path, rows)
    if len(rows) < 2:
        raise bad_file(path, f"has {len(rows)} rows of numbers", "It needs one for each volume.")
    width = len(rows[0][1])
    regions = header or list(names or (f"region-{i + 1}" for i in range(width)))
    for line, cells in rows:
        if len(cells) != len(regions):
            raise bad_file(path, f"has {len(cells)} columns here for {len(regions)} regions", "Mend the row.", line=line)
        for cell in cells:
            if not _is_number(cell):
                raise bad_file(path, f"{cell!r} is not a number", "Leave it empty, or write n/a.", line=line)
    if len(set(regions)) != len(regions) or "" in regions:
        raise bad_file(path, "names two regions alike, or leaves one without a name", "Give every column its own name.", line=1)
    data = np.array([[_value(cell) for cell in cells] for _, cells in rows])
    return BoldRun(data, first_tr_s + tr * np.arange(len(data)), Regions(tuple(regions)), subject, story)


def _without_index(path: str | Path, rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    counts = [cells[0] for _, cells in rows]
    if counts not in ([str(i + first) for i in range(len(rows))] for first in (0, 1)):
        raise bad_file(path, "has a first column without a name that does not count the rows", "Name it, or remove it.", line=1)
    return [(line, cells[1:]) for line, cells in rows]


def _rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of every row that is not empty."""
    try:
        text = check_file(path).read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise bad_file(path, "is not a text file", "Save it as CSV in UTF-8.")
        lines = text.splitlines()
        first = next((line for line in lines if line.strip()), "")
        separator = next((sign for sign in "\t;," if sign in first), None)
        if separator is None:
            split = [line.split() for line in lines]
        else:
            split = [next(csv.reader([line], delimiter=separator), []) for line in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_file(path, f"is not a table of text ({error})", "Save it as CSV in UTF-8.") from None
    return [(i + 1, [cell.strip() for cell in cells]) for i, cells in enumerate(split) if any(cell.strip() for cell in cells)]


def _is_number(cell: str) -> bool:
    try:
        return cell.lower() in _MISSING or np.isfinite(float(cell))
    except ValueError:
        return False


def _value(cell: str) -> float:
    return float("nan") if cell.lower() in _MISSING else float(cell)
