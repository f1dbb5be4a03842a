"""Praat TextGrids, in all three text forms, as tiers and as transcripts.

Praat's own rule for its text files makes the long and the short form one: only free-standing
numbers, texts in double quotes and flags such as <exists> count; all else (`xmin =`,
`intervals [1]:`, what follows an exclamation mark) is decoration. A doubled quote inside a text is
one quote. The chronological form lists the marks of all tiers in time order.

References
----------
Boersma & Weenink, Praat manual, "TextGrid file formats" and "Special symbols".
"""

from __future__ import annotations

import bisect
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurolm.checks import FileError, bad, bad_file, nearest
from neurolm.stimuli.labels import Label, transcript_from_labels
from neurolm.stimuli.text_file import read_annotation
from neurolm.stimuli.transcript import Transcript

INTERVALS, POINTS = "IntervalTier", "TextTier"

_TOKEN = re.compile(r'"(?P<text>[^"]*+(?:""[^"]*+)*+)"|!.*|<(?P<flag>\w+)>(?!\S)|(?P<bare>[^\s"!][^\s"]*)|(?P<lone>")')
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WORD_TIER = re.compile(r"(?:.* - )?words?", re.IGNORECASE)  # "word", "words", and "speaker - words" of multi-speaker grids
_PART_OF_WORD_TIER = re.compile(r"(?:.* - )?(?:phones?|phonemes?|phonetic|segments?|syllables?)", re.IGNORECASE)
_SYMBOL = re.compile(r"\\(.)(.)", re.DOTALL)
_ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", ",": "\u0327"}
_LETTERS = {"ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o/": "ø", "O/": "Ø", "ao": "å", "Ao": "Å", "` ": "`"}


@dataclass(frozen=True)
class Tier:
    """One tier of a TextGrid, every mark kept as it stands in the file.

    Parameters
    ----------
    name : str
    kind : {"IntervalTier", "TextTier"}
        A TextTier holds points: their onsets and offsets are equal.
    labels : tuple of Label
        Text, onset and offset in seconds, and line of the file of each mark.
    path : str
        The file, for messages.
    n_announced : int or None
        How many marks the file says the tier has. Published files hold more (sentence marks were
        added and the number was not): all are read. Fewer are an error, the file was cut short.
    """

    name: str
    kind: str
    labels: tuple[Label, ...]
    path: str = ""
    n_announced: int | None = None

    def transcript(self) -> Transcript:
        """The words (or phones) of this tier, by the rule of `neurolm.stimuli.labels`.

        Intervals of no length are marks, not words, and are left out; a point is a word of no
        length. Praat's backslash symbols become the letters they stand for (`na\\i"ve`: naïve).
        """
        labels = tuple(Label(praat_symbols(m.text), m.onset, m.offset, m.line) for m in self.labels)
        name = Path(self.path).stem
        is_interval = self.kind == INTERVALS
        return transcript_from_labels(labels, self.path, what=f"tier {self.name!r}", name=name, zero_length_is_mark=is_interval)


def read_textgrid(path: str | Path, tier: str | None = None) -> Transcript:
    """Read the words of a Praat TextGrid.

    Parameters
    ----------
    path : path
        A TextGrid in the long, short or chronological text form; UTF-8, UTF-16, Windows-1252 or Mac-Roman.
    tier : str, optional
        The tier to read; a tier of phones gives a transcript of phones. By default the only one named word or
        words (any case; "speaker - words" too), or the only tier unless it is named phone, phoneme, segment or syllable.

    Returns
    -------
    transcript : Transcript
        What is a word and what is a mark: see `neurolm.stimuli.labels`. Marks are counted in
        `left_out`. SENTENCE_START and SENTENCE_END number the sentences where they are present.
        Times are as in the file; neighbours that overlap stay as they are.

    Raises
    ------
    FileError
        If the file is missing or damaged (with its line), the tier is absent or holds no word, or
        words are out of time order.
    """
    tiers = read_tiers(path)
    return _choose(tiers, tier, path).transcript()


def read_tiers(path: str | Path) -> tuple[Tier, ...]:
    """Read every tier of a TextGrid, every mark as it stands in the file."""
    return parse_tiers(read_annotation(path, "Export the annotation again from Praat."), path)


def parse_tiers(text: str, path: str | Path) -> tuple[Tier, ...]:
    """The tiers of a TextGrid's text; `path` is for messages."""
    if text.startswith("ooBinaryFile"):
        raise bad_file(path, "is a binary TextGrid", 'In Praat, choose "Save as text file".')
    tokens = _Tokens(text, path)
    header = tokens.text("a TextGrid's first line")
    if header == "Praat chronological TextGrid text file":
        return _chronological(tokens)
    if header not in ("ooTextFile", "ooTextFile short") or tokens.text("the kind of object") != "TextGrid":
        raise bad_file(path, "is not a TextGrid", 'Its first lines must say "ooTextFile" and "TextGrid".', line=1)
    return _by_tier(tokens)


def praat_symbols(text: str) -> str:
    """Replace Praat's backslash symbols for letters: `\\e'` by é, `\\c,` by ç, `\\ss` by ß.

    Symbols that are not letters of Western languages (phonetic signs, mathematics) stay.
    """

    def letter(match: re.Match[str]) -> str:
        first, second = match.groups()
        if first + second in _LETTERS:
            return _LETTERS[first + second]
        if first.isascii() and first.isalpha() and second in _ACCENTS:
            composed = unicodedata.normalize("NFC", first + _ACCENTS[second])
            return composed if len(composed) == 1 else match.group()
        return match.group()

    return _SYMBOL.sub(letter, text)


def _choose(tiers: Sequence[Tier], name: str | None, path: str | Path) -> Tier:
    names = [t.name for t in tiers]
    listed = ", ".join(map(repr, names)) or "none"
    if not tiers:
        raise bad_file(path, "has no tiers", "Export the annotation again from Praat.")
    if name is not None:
        matches = [t for t in tiers if t.name == name]
        if not matches:
            raise bad(f"tier of {path}", f"be one of its tiers ({listed})", repr(name), nearest(name, names))
    else:
        matches = [t for t in tiers if _WORD_TIER.fullmatch(t.name.strip())] or list(tiers)
    if len(matches) > 1:
        raise bad_file(path, f"has more than one tier that could hold the words: {listed}", "Name one with tier=.")
    if name is None and _PART_OF_WORD_TIER.fullmatch(matches[0].name.strip()):
        hint = f"To read these marks instead of words, say tier={matches[0].name!r}."
        raise bad_file(path, f"has no tier of words, only {matches[0].name!r}", hint)
    return matches[0]


class _Tokens:
    """The numbers, texts and flags of a TextGrid, one after the other, each with its line."""

    def __init__(self, text: str, path: str | Path) -> None:
        self.path = path
        self._text = text
        self._matches = (m for m in _TOKEN.finditer(text) if _counts(m))
        self._line_ends = [m.start() for m in re.finditer("\n", text)]
        self._position = 0
        self._ahead: re.Match[str] | None = None

    @property
    def line(self) -> int:
        """Line of the token that was read last."""
        return bisect.bisect_left(self._line_ends, self._position) + 1

    def text(self, what: str) -> str:
        value = self._next("text", what)
        return value.replace('""', '"')

    def number(self, what: str) -> float:
        value = float(self._next("bare", what))
        if not math.isfinite(value):
            raise self.error(f"{what} must be finite; got {value}")
        return value

    def count(self, what: str) -> int:
        value = self.number(what)
        if value != int(value) or value < 0:
            raise self.error(f"{what} must be a whole number; got {value:g}")
        return int(value)

    def flag(self, what: str) -> str:
        return self._next("flag", what)

    def is_at_end(self) -> bool:
        return self._peek() is None

    def next_is_number(self) -> bool:
        ahead = self._peek()
        return ahead is not None and ahead.lastgroup == "bare"

    def _peek(self) -> re.Match[str] | None:
        self._ahead = self._ahead or next(self._matches, None)
        return self._ahead

    def error(self, problem: str) -> FileError:
        return bad_file(self.path, problem, "The file is damaged or cut short; export it again.", line=self.line)

    def _next(self, kind: str, what: str) -> str:
        match, self._ahead = self._peek(), None
        if match is None:
            self._position = len(self._text.rstrip())
            raise self.error(f"the file ends where {what} should be")
        self._position = match.start()
        if match.lastgroup != kind:
            raise self.error(f"expected {what}, found {match.group()[:40]!r}")
        return match[kind]


def _counts(match: re.Match[str]) -> bool:
    """Not a comment, and not a bare word that is no number."""
    if match.lastgroup == "bare":
        return _NUMBER.fullmatch(match.group()) is not None
    return match.lastgroup is not None


def _by_tier(tokens: _Tokens) -> tuple[Tier, ...]:
    """The long and the short form: tier after tier."""
    _skip_domain(tokens)
    if tokens.flag("the flag <exists>") != "exists":
        return ()
    n_tiers = tokens.count("the number of tiers")
    tiers: list[Tier] = []
    while len(tiers) < n_tiers or not tokens.is_at_end():
        tiers.append(_tier(tokens))
    if len(tiers) > n_tiers:
        raise tokens.error(f"the file announces {n_tiers} tier(s) and holds {len(tiers)}")
    return tuple(tiers)


def _tier(tokens: _Tokens) -> Tier:
    kind, name = _kind_and_name(tokens)
    _skip_domain(tokens)
    n_announced = tokens.count(f"the number of marks of tier {name!r}")
    labels: list[Label] = []
    while len(labels) < n_announced or tokens.next_is_number():
        onset = tokens.number(f"a time of mark {len(labels) + 1} of the {n_announced} announced of tier {name!r}")
        offset = tokens.number(f"a time of tier {name!r}") if kind == INTERVALS else onset
        labels.append(_label(tokens, name, onset, offset))
    return Tier(name, kind, tuple(labels), str(tokens.path), n_announced)


def _chronological(tokens: _Tokens) -> tuple[Tier, ...]:
    """The chronological form: all tiers declared first, then the marks of all in time order."""
    _skip_domain(tokens)
    kinds, names = [], []
    for _ in range(tokens.count("the number of tiers")):
        kind, name = _kind_and_name(tokens)
        _skip_domain(tokens)
        kinds.append(kind)
        names.append(name)
    labels: list[list[Label]] = [[] for _ in names]
    while not tokens.is_at_end():
        number = tokens.count("a tier's number")
        if not 1 <= number <= len(names):
            raise tokens.error(f"tier {number} is not one of the {len(names)} tiers of this file")
        onset = tokens.number("a time")
        offset = tokens.number("a time") if kinds[number - 1] == INTERVALS else onset
        labels[number - 1].append(_label(tokens, names[number - 1], onset, offset))
    return tuple(Tier(n, k, tuple(marks), str(tokens.path)) for n, k, marks in zip(names, kinds, labels, strict=True))


def _kind_and_name(tokens: _Tokens) -> tuple[str, str]:
    kind = tokens.text("a tier's class")
    if kind not in (INTERVALS, POINTS):
        raise tokens.error(f"a tier's class must be {INTERVALS} or {POINTS}; got {kind!r}")
    return kind, tokens.text("a tier's name")


def _skip_domain(tokens: _Tokens) -> None:
    if tokens.number("the beginning of the time domain") > tokens.number("the end of the time domain"):
        raise tokens.error("the time domain ends before it begins")


def _label(tokens: _Tokens, tier: str, onset: float, offset: float) -> Label:
    text = tokens.text(f"a text of tier {tier!r}")
    if offset < onset:
        raise tokens.error(f"{text!r} of tier {tier!r} ends at {offset:g} s, before it begins at {onset:g} s")
    return Label(text, onset, offset, tokens.line)
