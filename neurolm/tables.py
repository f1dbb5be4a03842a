"""Delimited text tables (TSV, CSV): rows with their lines, a checked header, cells by the names of columns.

A column without a name (pandas writes its index so) is kept in its place and read by nobody; a name that
comes twice, and a row of another length than the header, are errors with their line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from neurolm.checks import bad_file


class Row(NamedTuple):
    """The cells of one row, and the line of the file on which it begins."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table whose first row names its columns.

    Parameters
    ----------
    columns : sequence of str
        In lower case, without blanks around them; "" for a column without a name.
    rows : sequence of Row
        All as long as `columns`.
    """

    columns: Sequence[str]
    rows: Sequence[Row]

    def value(self, row: Row, name: str) -> str:
        """A cell without quotes and blanks around it; "" where the table has no such column."""
        return plain(row.cells[self.columns.index(name)]) if name in self.columns else ""


def parse_table(text: str, path: str | Path, delimiter: str = "\t") -> Table:
    """A table with a header, from the text of a file.

    Raises
    ------
    FileError
        With the line: a name that comes twice, a row of another length.
    """
    rows = split_rows(text, path, delimiter)
    return Table(column_names(rows[0].cells, path, rows[0].line), even_rows(rows, path, has_header=True)[1:])


def split_rows(text: str, path: str | Path, delimiter: str) -> list[Row]:
    """Rows with the line that each begins on; blank rows are dropped.

    In a tab-separated file a quote is part of a word, unless the names of the header are quoted.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    if delimiter == "\t" and not _has_quoted_header(text):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows: list[Row] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise bad_file(path, f"is not a table ({error})", "Check the quotes in that row.", line=line) from None
    if not rows:
        raise bad_file(path, "holds no rows, only delimiters", "Copy it again from its source.")
    return rows


def even_rows(rows: Sequence[Row], path: str | Path, *, has_header: bool) -> list[Row]:
    """The rows, all as long as the first one; blank cells behind its end are cut off.

    Under a header that ends in cells without a name, rows may end before these.
    """
    width = len(rows[0].cells)
    n_named = max((i + 1 for i, cell in enumerate(rows[0].cells) if cell.strip()), default=0) if has_header else width
    even = []
    for row in rows:
        n = len(row.cells)
        if n < n_named or any(cell.strip() for cell in row.cells[width:]):
            hint = "Quote words that hold the delimiter."
            if has_header and all(len(other.cells) == width + 1 for other in rows[1:]):
                hint = "Its first column has no name: write the table without row names, or name them in the header."
            raise bad_file(path, f"{n} columns, the first row has {width}", hint, line=row.line)
        even.append(Row(row.line, [*row.cells[:width], *[""] * (width - n)]))
    return even


def column_names(cells: Iterable[str], path: str | Path, line: int = 1) -> list[str]:
    """The names of a header in lower case; one that comes twice is an error."""
    return check_unique([plain(cell).lower() for cell in cells], path, line)


def check_unique(names: list[str], path: str | Path, line: int = 1) -> list[str]:
    """Return the names of columns; refuse one that comes twice."""
    repeated = next((name for i, name in enumerate(names) if name and name in names[:i]), None)
    if repeated is not None:
        raise bad_file(path, f"names the column {repeated!r} twice", "Rename one, or remove it.", line=line)
    return names


def first_named(names: Sequence[str]) -> str:
    """The first column that has a name: what stands before it is an index."""
    return next(name for name in names if name)


def plain(cell: str) -> str:
    """A cell without the blanks, and without the pair of quotes, around it."""
    cell = cell.strip()
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"').strip() if is_quoted else cell


def _has_quoted_header(text: str) -> bool:
    first = next((line for line in text.split("\n") if line.strip()), "")
    names = [cell.strip() for cell in first.split("\t") if cell.strip()]
    return all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
