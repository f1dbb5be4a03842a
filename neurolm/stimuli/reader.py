"""Any annotation file as a transcript: what it is, its content says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from neurolm.checks import bad
from neurolm.stimuli.events import read_events
from neurolm.stimuli.gentle import read_gentle
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.textgrid import read_textgrid
from neurolm.stimuli.transcript import Transcript

_TEXTGRID = re.compile(r'\s*(File type\s*=\s*)?"(ooTextFile(?: short)?|Praat chronological TextGrid text file)"|ooBinaryFile')


def read_transcript(
    path: str | Path, *, tier: str | None = None, word_column: str | None = None, where: Mapping[str, object] | None = None
) -> Transcript:
    """Read a Praat TextGrid, gentle's JSON, BIDS events or a CSV; the content decides which it is.

    Parameters
    ----------
    path : path
    tier : str, optional
        Of a TextGrid: see `read_textgrid`.
    word_column, where : optional
        Of a table: see `read_events`.

    Raises
    ------
    FileError
        If the file is missing or damaged; the message names its line.
    InputError
        If an option does not belong to this kind of file.
    """
    kind = _kind(path)
    table_options = {"word_column": word_column, "where": where}
    given = {name for name, value in {"tier": tier, **table_options}.items() if value is not None}
    foreign = given - ({"tier"} if kind == "TextGrid" else set(table_options) if kind == "table" else set())
    if foreign:
        raise bad(sorted(foreign)[0], f"be left out for {path}, which is a {kind}", "a value", "Remove the option.")
    if kind == "TextGrid":
        return read_textgrid(path, tier)
    if kind == "gentle JSON":
        return read_gentle(path)
    return read_events(path, word_column=word_column, where=where)


def _kind(path: str | Path) -> str:
    text = read_annotation(path)
    if _TEXTGRID.match(text) or Path(path).suffix.lower() == ".textgrid":
        return "TextGrid"
    return "gentle JSON" if text.lstrip().startswith(("{", "[")) or Path(path).suffix.lower() == ".json" else "table"
