import csv
import io

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.report import Picture, save_figure
from neurolm.report.figures import csv_text, inline_svg, long_table, new_figure, style


def make_picture(title="r < .5 & more $x$"):
    with style():
        figure, axes = new_figure(3, 2)
        axes.plot([0, 1], [0, 1], marker="o", label="line")
        axes.fill_between([0, 1], 0, 1)
        axes.set_title(title)
        axes.legend()
    return Picture(figure, {"x": [0, 1], "y": [0.0, np.nan]}, "A line.")


def test_equal_numbers_give_equal_bytes(tmp_path):
    first, second = (make_picture().save(tmp_path / str(i), "line") for i in range(2))
    assert [p.name for p in first] == ["line.svg", "line.pdf", "line.csv"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_svg_keeps_text_as_text_and_no_date(tmp_path):
    svg, pdf, _ = save_figure(make_picture().figure, {"x": [1]}, tmp_path, "line")
    text = svg.read_text()
    assert "r &lt; .5 &amp; more $x$</text>" in text
    assert "<dc:date>" not in text
    assert b"CreationDate" not in pdf.read_bytes()


def test_inline_figures_share_no_id():
    ids = [set(__import__("re").findall(r'\bid="([^"]+)"', inline_svg(make_picture(), name))) for name in ("a", "b")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_references_inside_an_inline_figure_resolve():
    import re

    svg = inline_svg(make_picture(), "a")
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    assert used
    assert {a or b for a, b in used} <= ids


def test_inline_figures_carry_their_text_alternative_and_no_style_sheet():
    svg = inline_svg(make_picture(), "a")
    assert "<title>A line.</title>" in svg
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_csv_says_not_available_and_refuses_ragged_columns():
    rows = list(csv.reader(io.StringIO(csv_text({"a,b": [1.0, np.nan], "c": ["x", 'y"z']}))))
    assert rows == [["a,b", "c"], ["1", "x"], ["n/a", 'y"z']]
    with pytest.raises(InputError, match="a and b must have the same length; got 2 and 1"):
        csv_text({"a": [1, 2], "b": [1]})


def test_long_table_has_a_row_per_cell():
    made = long_table(("layer", "region"), ((0, 5), ("A", "B", "C")), r=np.arange(6).reshape(2, 3), p=None)
    assert made == {"layer": [0, 0, 0, 5, 5, 5], "region": ["A", "B", "C"] * 2, "r": [0, 1, 2, 3, 4, 5]}


def test_matplotlib_settings_are_left_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    make_picture()
    assert dict(mpl.rcParams) == before
