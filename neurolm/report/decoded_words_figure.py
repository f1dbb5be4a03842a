"""What was heard beside what was decoded, as a picture: exact, gist and error told by colour, weight and line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from neurolm.report.decoder_table import ERROR, EXACT, GIST, MARKS, DecodedWindow
from neurolm.report.figures import BLUE, INK, ORANGE, SOFT, Picture, new_figure, style

WIDTH_IN, SIZE_PT, LINE_PT = 9.6, 9.0, 14.0
COLUMNS = (0.09, 0.545)  # left edges of heard and decoded, as shares of the width
COLOURS = {EXACT: BLUE, GIST: ORANGE, ERROR: SOFT}


def decoded_words(windows: Sequence[DecodedWindow], *, n_most: int = 12) -> Picture:
    """The table of actual and decoded words, its first windows.

    Exact words are bold and blue, gist words orange and underlined, errors grey.

    Parameters
    ----------
    n_most : int
        Windows shown; a page holds them all as text.
    """
    shown = list(windows[:n_most])
    room = (COLUMNS[1] - COLUMNS[0] - 0.02) * WIDTH_IN * 72
    heard = [_lines([(word, INK, False) for word in window.heard], room) for window in shown]
    marked = [[(word, COLOURS[mark], mark == EXACT) for word, mark in zip(w.decoded, w.marks, strict=True)] for w in shown]
    decoded = [_lines(words, room) for words in marked]
    heights = [max(len(a), len(b), 1) + 0.6 for a, b in zip(heard, decoded)]
    total = (sum(heights) + 2.6) * LINE_PT
    with style():
        figure, axes = new_figure(WIDTH_IN, total / 72, margins={"left": 0, "right": 1, "bottom": 0, "top": 1})
        axes.set(xlim=(0, WIDTH_IN * 72), ylim=(total, 0))
        axes.axis("off")
        _head(axes)
        y = 2.6 * LINE_PT
        for window, a, b, height in zip(shown, heard, decoded, heights):
            axes.plot([0, WIDTH_IN * 72], [y - LINE_PT] * 2, color="#d0d7de", lw=0.6)
            axes.text(2, y, f"{window.start_s:.0f}–{window.end_s:.0f} s", size=SIZE_PT, color=SOFT)
            _draw(axes, COLUMNS[0] * WIDTH_IN * 72, y, a)
            _draw(axes, COLUMNS[1] * WIDTH_IN * 72, y, b)
            y += height * LINE_PT
    data: dict[str, list[Any]] = {
        "start_s": [w.start_s for w in shown],
        "end_s": [w.end_s for w in shown],
        "heard": [" ".join(w.heard) for w in shown],
        "decoded": [" ".join(w.decoded) for w in shown],
        "marks": [" ".join(w.marks) for w in shown],
    }
    marks = [mark for w in shown for mark in w.marks]
    counts = ", ".join(f"{marks.count(mark)} {mark}" for mark in MARKS)
    return Picture(figure, data, f"Heard and decoded words of {len(shown)} windows side by side; decoded words: {counts}.")


Word = tuple[str, str, bool]  # text, colour, bold


def _head(axes: Any) -> None:
    y = LINE_PT
    axes.text(COLUMNS[0] * WIDTH_IN * 72, y, "Heard", size=SIZE_PT + 1, weight="bold", color=INK)
    key: list[Word] = [("Decoded:", INK, True), ("exact", BLUE, True), ("gist", ORANGE, False), ("error", SOFT, False)]
    _draw(axes, COLUMNS[1] * WIDTH_IN * 72, y, [_placed(key)])


def _lines(words: Sequence[Word], room: float) -> list[list[tuple[float, Word]]]:
    """Words broken into lines of at most `room` points, each with its place on its line."""
    lines: list[list[Word]] = [[]]
    used = 0.0
    for word in words:
        width = _width(word[0], word[2])
        if lines[-1] and used + width > room:
            lines.append([])
            used = 0.0
        lines[-1].append(word)
        used += width + _width(" ", False)
    return [_placed(line) for line in lines]


def _placed(line: Sequence[Word]) -> list[tuple[float, Word]]:
    x, out = 0.0, []
    for word in line:
        out.append((x, word))
        x += _width(word[0], word[2]) + _width(" ", False)
    return out


def _draw(axes: Any, x: float, y: float, lines: Sequence[Sequence[tuple[float, Word]]]) -> None:
    for i, line in enumerate(lines):
        for dx, (text, colour, bold) in line:
            below = y + i * LINE_PT
            axes.text(x + dx, below, text, size=SIZE_PT, color=colour, weight="bold" if bold else "normal", parse_math=False)
            if colour == ORANGE:
                axes.plot([x + dx, x + dx + _width(text, bold)], [below + 2.2] * 2, color=ORANGE, lw=0.8)


@cache
def _width(text: str, bold: bool) -> float:
    """Width in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if text == " ":
        return SIZE_PT * 0.45
    font = FontProperties(family="sans-serif", weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=SIZE_PT, prop=font, usetex=False).get_extents().x1)
