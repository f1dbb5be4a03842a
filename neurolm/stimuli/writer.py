"""A transcript as a file that other programs read: CSV, or a Praat TextGrid."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from neurolm.checks import FileError, bad
from neurolm.stimuli.textgrid import parse_tiers
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

    Raises
    ------
    InputError
        If a word would be lost, because intervals cannot hold two words that begin together, a word of no length among
        words with a duration, or a mark such as "sp" as a word. `write_csv` writes them.
    """
    begin = min([0.0, *transcript.onsets.tolist()])
    end = max([*transcript.offsets.tolist(), end_s or 0.0])
    are_points = bool((transcript.onsets == transcript.offsets).all())
    kind = "TextTier" if are_points else "IntervalTier"
    domain = [f"xmin = {begin!r}" if begin < 0 else "xmin = 0", f"xmax = {end!r}"]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *domain, "tiers? <exists>"]
    lines += ["size = 1", "item []:", "    item [1]:", f'        class = "{kind}"', '        name = "word"']
    lines += [f"        {line}" for line in domain]
    lines += _points(transcript) if are_points else _intervals(transcript, begin, end)
    text = "\n".join(lines) + "\n"
    _check_kept(transcript, text, path)
    write_text(path, text)


def _check_kept(transcript: Transcript, text: str, path: str | Path) -> None:
    """Refuse text from which not every word is read back with its onset."""
    try:
        (tier,) = parse_tiers(text, path)
        found = tier.transcript()
    except FileError as error:
        raise bad("transcript", "be one that a TextGrid can hold", str(error), "Use write_csv.") from None
    read = [*zip(found.words, found.onsets.tolist()), ("", math.nan)]
    for i, word in enumerate(zip(transcript.words, transcript.onsets.tolist())):
        if word != read[min(i, len(read) - 1)]:
            raise bad(
                "words of a TextGrid",
                "begin at different times, have a duration each or none at all, and not be marks of pauses or noises",
                f"{word[0]!r} at {word[1]:g} s (word {i}), which would be lost or changed",
                "write_csv keeps every word.",
            )


def _points(transcript: Transcript) -> list[str]:
    lines = [f"        points: size = {len(transcript)}"]
    for i, (word, time) in enumerate(zip(transcript.words, transcript.onsets.tolist()), start=1):
        lines += [f"        points [{i}]:", f"            number = {time!r}", f"            mark = {_quoted(word)}"]
    return lines


def _intervals(transcript: Transcript, begin: float, end: float) -> list[str]:
    """Words with empty intervals between them; a word that overlaps the next one ends where that begins."""
    marks: list[tuple[float, float, str]] = []
    last = begin
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
