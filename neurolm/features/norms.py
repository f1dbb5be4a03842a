"""Ratings of words from a table: concreteness, valence, age of acquisition, or any other column."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, bad_file, nearest
from neurolm.features.feature_space import Features
from neurolm.features.word_values import MissingRule, look_up, word_features
from neurolm.letters import plain_spelling
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash
from neurolm.tables import check_unique, first_named

_NO_VALUE = {"", "na", "n/a", "#n/a", "nan", "null", "."}


class Norms:
    """Columns of a table of words.

    Parameters
    ----------
    path : path
        Text with a header line, columns separated by tabs, commas or semicolons.
    columns : str or sequence of str
        Columns to use, by their names in the header.
    word_column : str, optional
        Column with the words; the first one that has a name if not given.
    missing : "error", "mean" or number
        For words that the table lacks; see `MissingRule`. Lower case and the signs around a word
        are tried before it counts as missing.
    """

    def __init__(
        self, path: str | Path, columns: str | Sequence[str], *, word_column: str | None = None, missing: str | float = "error"
    ) -> None:
        self.path = Path(path)
        self.columns = (columns,) if isinstance(columns, str) else tuple(columns)
        self.missing = MissingRule(missing)
        self.table = _read_table(self.path, word_column, self.columns)  # word: (n_columns,) float64

    def extract(self, transcript: Transcript) -> Features:
        rows = look_up(transcript.words, self.table.get)
        values = self.missing.fill(rows, self._mean, transcript.words, self.path.name)
        n_missing = sum(row is None for row in rows)
        return word_features(values, transcript, self.columns, "norms", self.settings(), n_missing)

    def settings(self) -> dict[str, Any]:
        table = content_hash(list(self.table), np.array(list(self.table.values())))
        return {"kind": "norms", "columns": list(self.columns), "table": table, "missing": self.missing.rule}

    def _mean(self) -> np.ndarray:
        return np.asarray(np.mean(list(self.table.values()), axis=0))


def _read_table(path: Path, word_column: str | None, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Words with a number in every column asked for; a word that comes twice, in whatever Unicode form, keeps its first row."""
    lines = read_annotation(path, "Give a table with a header line.").splitlines()
    separator = max("\t,;", key=lines[0].count)
    reader = csv.reader(lines, delimiter=separator)
    header = check_unique([name.strip() for name in next(reader, [])], path)
    if not any(header):
        raise bad_file(path, "begins with an empty row", "Give a table with a header line.", line=1)
    word_at = _column(path, header, first_named(header) if word_column is None else word_column)
    value_at = [_column(path, header, name) for name in columns]
    table: dict[str, np.ndarray] = {}
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise bad_file(path, f"has {len(row)} columns here and {len(header)} in its header", line=reader.line_num)
        cells = [row[at].strip() for at in value_at]
        if not any(cell.lower() in _NO_VALUE for cell in cells):
            table.setdefault(
                plain_spelling(row[word_at]).strip(), np.array([_number(path, reader.line_num, cell) for cell in cells])
            )
    if not table:
        raise bad_file(path, "holds no word with a value in every column asked for")
    return table


def _column(path: Path, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise bad_file(path, f"has no column {name!r}, only {', '.join(header)}", nearest(name, header))
    return header.index(name)


def _number(path: Path, line: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise bad_file(path, f"holds {cell!r} where a number should be", line=line) from None
    if not np.isfinite(value):
        raise bad("a norm", "be finite", f"{cell} at {path}:{line}")
    return value
