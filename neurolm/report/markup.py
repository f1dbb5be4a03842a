"""HTML from data, where text can never become markup.

A child that is not `Markup` is escaped, so what a user or a file wrote (words, names, config
values) always shows as the characters it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from neurolm.statistics import written_p

MISSING = "n/a"
_VOID = frozenset({"br", "hr", "img", "input", "meta", "link"})


class Markup(str):
    """Text that is already HTML. Made by `element` and by the figures, never from data."""

    __slots__ = ()


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An HTML element; children and attribute values are escaped unless they are `Markup`.

    `class_` and `for_` stand for the reserved words, underscores inside a name for hyphens.
    An attribute that is None or False is left out, True is written bare.
    """
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(f" {key}" if value is True else f' {key}="{escape(str(value), quote=True)}"')
    opening = f"<{name}{''.join(parts)}>"
    return Markup(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Any]) -> Markup:
    """Children one after the other, each escaped unless it is `Markup`; None is left out."""
    return Markup("".join(c if isinstance(c, Markup) else escape(str(c)) for c in children if c is not None))


def number(value: Any, digits: int = 2) -> str:
    """A number with `digits` decimals and a true minus sign; NaN, infinity and None are "n/a"."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    text = f"{float(value):.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """`low to high`, or "n/a" when either end is unknown."""
    ends = number(low, digits), number(high, digits)
    return MISSING if MISSING in ends else f"{ends[0]} to {ends[1]}"


def probability(value: Any, smallest: float = 0.0) -> str:
    """A p or q value: three decimals, `< 0.001` below that, "n/a" for NaN.

    One that is not above `smallest`, the least that the number of permutations can give, is an upper bound: `≤ 0.010`.
    """
    return written_p(value, smallest).replace(" ", "\u00a0" if smallest else " ")


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], *, caption: Any, text_columns: Sequence[int] = (0,)) -> Markup:
    """A table in a box that scrolls by itself; the first column names the row.

    Parameters
    ----------
    header, rows
        Cells; escaped unless `Markup`.
    caption
        What the numbers are. Also names the scrolling box for screen readers.
    text_columns : sequence of int
        Columns set flush left; all others hold numbers.
    """

    def cell(kind: str, i: int, value: Any, **attributes: Any) -> Markup:
        return element(kind, value, class_="text" if i in text_columns else "number", **attributes)

    head = element("tr", *(cell("th", i, value, scope="col") for i, value in enumerate(header)))
    body = [
        element("tr", *(cell("th", i, v, scope="row") if i == 0 else cell("td", i, v) for i, v in enumerate(row))) for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=_plain(caption))


def facts(pairs: Mapping[str, Any]) -> Markup:
    """A list of named facts."""
    rows = (element("div", element("dt", name), element("dd", value)) for name, value in pairs.items())
    return element("dl", *rows, class_="facts")


def bullets(items: Iterable[Any], *, class_: str | None = None) -> Markup | None:
    """A list, or nothing when there are no items."""
    items = list(items)
    return element("ul", *(element("li", item) for item in items), class_=class_) if items else None


def details(summary: Any, *children: Any, is_printed: bool = True) -> Markup:
    """Content that opens on demand; on paper it stands open unless it is too long for that."""
    return element("details", element("summary", summary), *children, class_=None if is_printed else "unprinted")


def _plain(text: Any) -> str:
    """The words of a caption, without tags, for an attribute."""
    if not isinstance(text, Markup):
        return str(text)
    from html import unescape
    from re import sub

    return unescape(sub(r"<[^>]*>", "", text))
