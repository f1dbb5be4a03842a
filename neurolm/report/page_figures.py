"""The figures of a written page as files: each <figure> once more as SVG, its numbers as CSV."""

from __future__ import annotations

import base64
import re
from html import unescape
from pathlib import Path

from neurolm.storage import write_text

_FIGURE = re.compile(r"<figure>.*?</figure>", re.DOTALL)
_CHART = re.compile(r'<svg class="chart".*?</svg>', re.DOTALL)
_NUMBERS = re.compile(r'href="data:text/csv;charset=utf-8;base64,([^"]*)" download="([^"]*)\.csv"')


def save_page_figures(html: str, folder: str | Path) -> list[Path]:
    """Write the charts of a page as they are in it; drawing them again would take longer than the page.

    Parameters
    ----------
    html : str
        A page of `neurolm.report`.
    folder : path

    Returns
    -------
    paths : list of Path
        name.svg and name.csv of each figure; the panels of one as name-1.svg, name-2.svg, ...
    """
    paths = []
    for figure in _FIGURE.findall(html):
        numbers, charts = _NUMBERS.search(figure), _CHART.findall(figure)
        if numbers is None or not charts:
            continue
        name = unescape(numbers[2])
        names = [name] if len(charts) == 1 else [f"{name}-{i + 1}" for i in range(len(charts))]
        for path, chart in zip((Path(folder) / f"{n}.svg" for n in names), charts, strict=True):
            write_text(path, _alone(chart))
            paths.append(path)
        paths.append(Path(folder) / f"{name}.csv")
        write_text(paths[-1], base64.b64decode(numbers[1]).decode("utf-8"))
    return paths


def _alone(chart: str) -> str:
    """A chart without the page's style sheet around it."""
    return chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace("var(--sans)", "sans-serif") + "\n"
