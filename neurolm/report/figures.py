"""How figures look, and how they leave: inline SVG, SVG and PDF files, numbers as CSV.

A figure is a `Picture`: the matplotlib figure, the numbers that it shows, and a sentence for
those who cannot see it. The same numbers give the same bytes: no dates, no random ids.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import check_same_length
from neurolm.report.markup import Markup, element
from neurolm.storage import whole_file, write_text

# Okabe and Ito's colours, distinct with any colour vision; dark enough as lines on white.
INK = "#1b1f24"
SOFT = "#57606a"
FAINT = "#e4e7eb"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#00795a"
PURPLE = "#a8477f"
SKY = "#56b4e9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, INK, SKY)
MARKERS = "osD^vX"  # beside the colours, so that lines are distinct on a grey print too

_STYLE: dict[str, Any] = {
    "axes.edgecolor": SOFT,
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": ["sans-serif"],
    "font.size": 10,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "path.simplify": True,
    "pdf.fonttype": 42,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "neurolm",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its numbers.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    data : mapping of str to sequence
        Columns of equal length: every number that is drawn.
    description : str
        What is seen, in a sentence; the text alternative.
    """

    figure: Any
    data: Mapping[str, Any]
    description: str

    def save(self, folder: str | Path, name: str) -> list[Path]:
        """Write name.svg, name.pdf and name.csv into `folder`."""
        return save_figure(self.figure, self.data, folder, name)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return svg_text(self.figure)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The look of every figure; matplotlib's own settings are left as they were."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float, *, margins: Mapping[str, float] | None = None, **subplots: Any) -> tuple[Any, Any]:
    """A figure of so many inches without pyplot's global state, and its axes.

    `margins` (left, right, bottom, top as shares) fixes where the axes are, so that figures of
    one size line up; without it the labels decide.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
    if margins:
        figure.subplots_adjust(**margins)
    return figure, figure.subplots(**subplots)


def short(name: str, n_most: int = 24) -> str:
    """A name that fits beside an axis: the middle of a long one is left out."""
    return name if len(name) <= n_most else f"{name[: n_most // 2]}…{name[len(name) - n_most // 2 + 1 :]}"


def power(value: float) -> str:
    """A number as it is read on a logarithmic scale: 250, 10⁵, 3.2·10⁴."""
    if value > 0 and not 1e-3 < value < 1e4:
        exponent = int(np.floor(np.log10(value) + 1e-9))
        lead = value / 10.0**exponent
        raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{raised}" if abs(lead - 1) < 0.01 else f"{lead:.2g}·10{raised}"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def plain_log_axis(axis: Any, subs: Sequence[float] = (1.0,)) -> None:
    """Label a logarithmic axis with `power`, without minor ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_locator(NullLocator())


def svg_text(figure: Any) -> str:
    """The figure as an SVG document, the same bytes every time."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode("utf-8")


def inline_svg(picture: Picture, name: str) -> Markup:
    """The figure as an <svg> element for a page, its ids made unique by `name`."""
    svg = svg_text(picture.figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: (?:\w+ )?(?:\w+ )?([\d.]+px) [^;\"]*", _keep_weight, svg)
    width, height = (float(v) for v in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())  # type: ignore[union-attr]
    label = element("title", picture.description)
    opening = (
        f'<svg class="chart" role="img" viewBox="0 0 {width:g} {height:g}" style="--width:{width * 4 / 3:.0f}px"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(re.sub(r"^<svg[^>]*>", lambda _: opening + label, svg).strip())


def _keep_weight(match: re.Match[str]) -> str:
    weight = "bold " if "bold" in match[0] or " 700 " in match[0] else ""
    return f"font: {weight}{match[1]} var(--sans)"


def save_figure(figure: Any, data: Mapping[str, Any], folder: str | Path, name: str) -> list[Path]:
    """Write a figure as SVG and PDF and its numbers as CSV.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    data : mapping of str to sequence
        Columns of equal length.
    folder : path
        Made when missing.
    name : str
        File name without suffix.

    Returns
    -------
    paths : list of Path
        name.svg, name.pdf, name.csv.
    """
    paths = [Path(folder) / f"{name}.{suffix}" for suffix in ("svg", "pdf", "csv")]
    write_text(paths[0], svg_text(figure))
    with style(), whole_file(paths[1]) as part:
        figure.savefig(part, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    write_text(paths[2], csv_text(data))
    return paths


def csv_text(data: Mapping[str, Any]) -> str:
    """Columns as CSV; NaN is written `n/a`, as in BIDS tables."""
    lengths = {name: len(column) for name, column in data.items()}
    first = next(iter(lengths), "")
    for name, length in lengths.items():
        check_same_length(first, lengths[first], name, length)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(data)
    writer.writerows([_cell(value) for value in row] for row in zip(*data.values(), strict=True))
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}" if np.isfinite(value) else "n/a"
    return value


def long_table(names: Sequence[str], axes: Sequence[Sequence[Any]], **values: Any) -> dict[str, list[Any]]:
    """Arrays over the same axes as one long table: a row per cell, first axis slowest.

    Values that are None are left out.
    """
    shape = tuple(len(axis) for axis in axes)
    index = np.indices(shape).reshape(len(shape), -1)
    columns: dict[str, list[Any]] = {n: [axis[i] for i in where] for n, axis, where in zip(names, axes, index, strict=True)}
    for name, array in values.items():
        if array is not None:
            columns[name] = list(np.broadcast_to(np.asarray(array), shape).reshape(-1))
    return columns
