"""Sections for timescales and decoding."""

from dataclasses import replace

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.report import DecodedWindow, Page, decoder_section, timescale_section
from neurolm.report.analysis_sections import timescale_pictures
from neurolm.report.decoding_figures import score_over_time
from neurolm.report.timescale_figures import timescale_histogram
from neurolm.report.timescale_page import isc_section
from neurolm.timescales.window_result import WindowResult


def make_result(n_voxels):
    scales = 2.0 ** np.arange(6)
    index = np.geomspace(2, 30, n_voxels)
    valid = np.arange(n_voxels) % 2 == 0
    index[~valid] = np.nan
    curve = 1 - np.exp(-scales[:, None] / np.geomspace(2, 30, n_voxels))
    ends = np.stack([index * 0.8, index * 1.2])
    return WindowResult("context_sweep", scales, curve, index, ends, np.where(valid, 0.001, 0.5), valid, "words")


def test_the_timescale_section_says_where_a_window_was_found():
    section = timescale_section(make_result(4), ["A", "<B>", "C", "D"])
    html = Page(kind="k", title="t", verdict="v", sections=(section,)).html()
    assert "In 2 of 4 regions the prediction is significant; in 2 of these a window is given" in html
    assert "<B>" not in html
    assert html.count('<td class="number">n/a</td>') == 4


def test_a_p_at_its_floor_is_a_bound_in_tables_of_timescales_and_isc():
    result = make_result(4)
    result = replace(result, p=np.where(result.valid, 1 / 200, 0.5), details={"n_null": 199, "level": 0.05})
    html = timescale_section(result, list("ABCD")).children[1:]
    assert "≤\u00a00.005" in "".join(map(str, html))
    isc = {
        "region": ["A", "B"],
        "isc": [0.3, 0.1],
        "low": [0.1, 0.0],
        "high": [0.4, 0.2],
        "p": [1 / 1001, 0.2],
        "q": [0.002, 0.2],
    }
    text = "".join(map(str, isc_section(isc, 1000).children))
    assert "≤\u00a00.001" in text
    assert "Above chance in 1 of 2 at a false discovery rate of 0.05." in text
    assert "0.000" not in text


def test_where_so_few_permutations_can_find_nothing_the_page_says_so_instead_of_0():
    result = make_result(4)
    none = np.full(4, np.nan)
    result = replace(
        result, p=np.full(4, 0.1), valid=np.zeros(4, bool), index=none, interval=np.stack([none, none]), details={"n_null": 9}
    )
    text = "".join(map(str, timescale_section(result, list("ABCD")).children))
    assert "Nothing could have been found: no p is smaller than 1/10 with 9 permutations." in text
    isc = {"region": list("AB"), "isc": [0.3, 0.1], "low": [0.1, 0], "high": [0.4, 0.2], "p": [0.1, 0.2], "q": [0.2, 0.2]}
    assert "Nothing could have been found" in "".join(map(str, isc_section(isc, 9).children))


def test_many_voxels_are_shown_as_a_distribution():
    result = make_result(500)
    pictures = timescale_pictures(result, [str(i) for i in range(500)])
    assert list(pictures) == ["timescales-histogram"]
    assert pictures["timescales-histogram"].data["n_voxels"].sum() == 250
    assert "250 have none" in pictures["timescales-histogram"].description


@pytest.mark.parametrize("index", [[np.nan, np.nan], [5.0, np.nan], [5.0, 5.0], [1.0, 100.0]])
def test_every_window_is_counted_once(index):
    picture = timescale_histogram(np.array(index), units="s")
    assert picture.data["n_voxels"].sum() == np.isfinite(index).sum()
    with pytest.raises(InputError, match="above zero"):
        timescale_histogram(np.array([0.0, 1.0]), units="s")


def test_the_decoder_section_holds_words_and_numbers():
    window = DecodedWindow(start_s=0, end_s=20, heard=("a",), decoded=("a", "b"), marks=("exact", "error"), scores={"WER": 1.0})
    times, rng = np.arange(30.0), np.random.default_rng(0)
    picture = score_over_time(times, np.full(30, 0.5), label="F1", null=rng.random((50, 30)), is_significant=times > 20)
    assert (
        picture.description
        == "F1 of decoded text over 30 windows. 9 of 30 windows lie above the null after correction over windows."
    )
    html = Page(kind="k", title="t", verdict="v", sections=(decoder_section([window], verdict="<i>", over_time=picture),)).html()
    assert "&lt;i&gt;" in html
    assert 'download="decoding-words.csv"' in html
