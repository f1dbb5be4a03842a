"""The JSON of the forced aligner gentle."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from neurolm.checks import FileError, InputError, bad_file
from neurolm.stimuli.events import story_name
from neurolm.stimuli.labels import Label, transcript_from_labels
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.text_marks import mark_sentences, words_of_text
from neurolm.stimuli.transcript import Transcript

_HINT = 'gentle\'s JSON holds {"transcript": ..., "words": [{"case": ..., "word": ..., "start": ..., "end": ...}]}.'


def read_gentle(path: str | Path) -> Transcript:
    """Read gentle's JSON: words as written, with their times.

    Words that gentle did not find in the audio have no time; they are left out and counted as
    "untimed" in `left_out`. Where the text in the file has more than one sentence, its punctuation gives
    sentences and its blank lines paragraphs.

    Raises
    ------
    FileError
        If the file is not JSON (with its line), not gentle's, or a time is impossible.
    """
    data = _parse(path)
    words = data.get("words") if isinstance(data, dict) else None
    if not isinstance(words, list):
        raise bad_file(path, 'holds no list "words"', _HINT)
    labels = [_label(entry, i, path) for i, entry in enumerate(words)]
    transcript = transcript_from_labels(labels, path, what="the alignment", name=story_name(path))
    text = data.get("transcript")
    if not isinstance(text, str) or len({word.sentence for word in words_of_text(text)}) < 2:
        return transcript
    try:
        return mark_sentences(transcript, text).transcript
    except InputError as error:
        raise bad_file(path, f"its words are not those of its text ({error})", "Align the story again.") from None


def _parse(path: str | Path) -> Any:
    try:
        return json.loads(read_annotation(path))
    except json.JSONDecodeError as error:
        raise bad_file(path, f"is not valid JSON ({error.msg})", _HINT, line=error.lineno) from None
    except (RecursionError, ValueError) as error:
        raise bad_file(path, f"is not JSON of an alignment ({type(error).__name__})", _HINT) from None


def _label(entry: Any, index: int, path: str | Path) -> Label:
    if not isinstance(entry, dict) or not isinstance(entry.get("word"), str):
        raise _bad_word(path, index, "has no text")
    if entry.get("case", "success") != "success":
        return Label(entry["word"], None, None)
    return Label(entry["word"], _time(entry, "start", index, path), _time(entry, "end", index, path))


def _time(entry: dict[str, Any], key: str, index: int, path: str | Path) -> float | None:
    time = entry.get(key)
    if time is None:
        return None
    if not isinstance(time, (int, float)) or isinstance(time, bool) or not math.isfinite(time):
        raise _bad_word(path, index, f"({entry['word']!r}) has the {key} {time!r}")
    return float(time)


def _bad_word(path: str | Path, index: int, problem: str) -> FileError:
    return bad_file(path, f"word {index} {problem}", _HINT)
