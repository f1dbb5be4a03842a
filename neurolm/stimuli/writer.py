"""A transcript as a file that other programs read: CSV, or a Praat TextGrid."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from neurolm.stimuli.transcript import Transcript
from neurolm.storage import write_text


def write_csv(transcript: Transcript, path: str | Path) -> None:
    """Write one row per word: onset and offset in seconds, and the word. `read_events` reads it back."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("onset", "offset", "word"))
    for word, onset, offset in zip(transcript.words, transcript.onsets.tolist(), transcript.offsets.tolist(), strict=True):
        rows.writerow((repr(onset), repr(offset), word))
    write_text(path, out.getvalue())


def write_textgrid(transcript: Transcript, path: str | Path, *, end_s: float | None = None) -> None:
    """Write a tier "word" in Praat's long text form: points where no word has a duration, else intervals.

    Parameters
    ----------
    end_s : float, optional
        End of the file's time; default: the last offset.
    """
    ends = [*transcript.offsets.tolist(), end_s or 0.0]
    end = max(ends)
    are_points = bool((transcript.onsets == transcript.offsets).all())
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end!r}", "tiers? <exists>"]
    kind = "TextTier" if are_points else "IntervalTier"
    lines += ["size = 1", "item []:", "    item [1]:", f'        class = "{kind}"', '        name = "word"', "        xmin = 0"]
    lines.append(f"        xmax = {end!r}")
    lines += _points(transcript) if are_points else _intervals(transcript, end)
    write_text(path, "\n".join(lines) + "\n")


def _points(transcript: Transcript) -> list[str]:
    lines = [f"        points: size = {len(transcript)}"]
    for i, (word, time) in enumerate(zip(transcript.words, transcript.onsets.tolist()), start=1):
        lines += [f"        points [{i}]:", f"            number = {time!r}", f"            mark = {_quoted(word)}"]
    return lines


def _intervals(transcript: Transcript, end: float) -> list[str]:
    """Words with empty intervals between them; a word that overlaps the next one ends where that begins."""
    marks: list[tuple[float, float, str]] = []
    last = 0.0
    onsets = transcript.onsets.tolist()
    for word, onset, offset, following in zip(transcript.words, onsets, transcript.offsets.tolist(), [*onsets[1:], end]):
        if onset > last:
            marks.append((last, onset, ""))
        last = min(offset, max(following, onset))
        marks.append((onset, last, word))
    if end > last:
        marks.append((last, end, ""))
    lines = [f"        intervals: size = {len(marks)}"]
    for i, (start, stop, text) in enumerate(marks, start=1):
        lines += [f"        intervals [{i}]:", f"            xmin = {start!r}", f"            xmax = {stop!r}"]
        lines.append(f"            text = {_quoted(text)}")
    return lines


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
