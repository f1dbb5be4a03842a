"""Decoded words beside what was heard, window by window: exact, gist or error, as HTML and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from neurolm.checks import bad, check_same_length
from neurolm.letters import lower_case
from neurolm.report.markup import Markup, element, join, number, table

EXACT, GIST, ERROR = MARKS = ("exact", "gist", "error")
_AS_TEXT = {EXACT: "*{}*", GIST: "~{}~", ERROR: "{}"}


@dataclass(frozen=True, kw_only=True)
class DecodedWindow:
    """One window of time.

    Parameters
    ----------
    start_s, end_s : float
        Seconds on the story's clock.
    heard, decoded : tuple of str
    marks : tuple of str
        "exact", "gist" or "error" for each decoded word; see `mark_words`.
    scores : mapping of str to float
        Similarity of the two texts by name, NaN where it is not defined.
    """

    start_s: float
    end_s: float
    heard: tuple[str, ...]
    decoded: tuple[str, ...]
    marks: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_same_length("decoded", len(self.decoded), "marks", len(self.marks))
        for mark in self.marks:
            if mark not in MARKS:
                raise bad("marks", f"be among {', '.join(MARKS)}", mark)


def mark_words(
    heard: Sequence[str], decoded: Sequence[str], *, is_similar: Callable[[str, str], bool] | None = None
) -> tuple[str, ...]:
    """Say of each decoded word whether it was heard (exact), something like it was (gist), or neither (error).

    Exact words are those of a common subsequence in order, compared without case; each heard word
    counts once. Gist words are similar to a heard word that is left.

    Parameters
    ----------
    is_similar : callable, optional
        is_similar(heard_word, decoded_word); without it no word is gist.
    """
    a, b = [lower_case(word) for word in heard], [lower_case(word) for word in decoded]
    marks, left = [ERROR] * len(b), set(range(len(a)))
    for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            marks[block.b + i] = EXACT
            left.discard(block.a + i)
    if is_similar is not None:
        for j in (j for j, mark in enumerate(marks) if mark == ERROR):
            match = next((i for i in sorted(left) if is_similar(heard[i], decoded[j])), None)
            if match is not None:
                marks[j] = GIST
                left.discard(match)
    return tuple(marks)


def decoder_table(windows: Sequence[DecodedWindow], *, caption: str = "") -> Markup:
    """Windows as rows: time, heard, decoded with marks, scores. Marks differ by shape as well as by colour."""
    names = list(dict.fromkeys(name for window in windows for name in window.scores))
    rows = (
        (
            f"{round(window.start_s, 1):g}–{round(window.end_s, 1):g}",
            " ".join(window.heard),
            _marked(window),
            *(number(window.scores.get(name, float("nan"))) for name in names),
        )
        for window in windows
    )
    key = element(
        "p", "Decoded words: ", *(piece for mark in MARKS for piece in (_mark(mark, _MEANING[mark]), " ")), class_="note"
    )
    body = table(
        ("Time (s)", "Heard", "Decoded", *names),
        rows,
        caption=caption or "What was heard and what was decoded, window by window.",
        text_columns=(0, 1, 2),
    )
    return element("div", key, body, class_="decoded")


_MEANING = {EXACT: "the word that was heard", GIST: "something like it", ERROR: "another word"}


def decoder_text(windows: Sequence[DecodedWindow]) -> str:
    """The same for a terminal: *exact*, ~gist~, and errors bare."""
    lines = []
    for window in windows:
        decoded = " ".join(_AS_TEXT[mark].format(word) for word, mark in zip(window.decoded, window.marks, strict=True))
        scores = "  ".join(f"{name} {number(value)}" for name, value in window.scores.items())
        lines += [
            f"{round(window.start_s, 1):g}-{round(window.end_s, 1):g} s  {scores}".rstrip(),
            f"  heard    {' '.join(window.heard)}",
            f"  decoded  {decoded}",
        ]
    return "\n".join(lines)


def decoder_data(windows: Sequence[DecodedWindow]) -> dict[str, list]:
    """The table's content as columns, for CSV: a row per window."""
    names = list(dict.fromkeys(name for window in windows for name in window.scores))
    columns: dict[str, list] = {
        "start_s": [w.start_s for w in windows],
        "end_s": [w.end_s for w in windows],
        "heard": [" ".join(w.heard) for w in windows],
        "decoded": [" ".join(w.decoded) for w in windows],
        **{f"n_{mark}": [w.marks.count(mark) for w in windows] for mark in MARKS},
    }
    return columns | {name: [w.scores.get(name, float("nan")) for w in windows] for name in names}


def _marked(window: DecodedWindow) -> Markup:
    words = zip(window.decoded, window.marks, strict=True)
    return join(piece for word, mark in words for piece in (_mark(mark, word), " "))


def _mark(mark: str, text: str) -> Markup:
    """Neighbours in the page; screen readers hear the kind of every word that is not an error."""
    if mark == ERROR:
        return element("span", text, class_=mark)
    return element("span", element("span", f"{mark}: ", class_="sr"), text, class_=mark)
