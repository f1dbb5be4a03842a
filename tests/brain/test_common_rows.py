"""Runs of one story on the rows that all have."""

import numpy as np
import pytest

from neurolm.brain import BoldRun, Unplaced
from neurolm.brain.preprocess import common_rows
from neurolm.checks import InputError

SPACE = Unplaced("test", 2)


def run(first_s, n, tr=2.0):
    """Data that say the story time of their row."""
    times = first_s + tr * np.arange(n)
    return BoldRun(np.stack([times, -times], axis=1), times, SPACE, f"from {first_s:g}")


def test_a_story_that_begins_later_in_one_scan_keeps_the_rows_of_its_clock():
    cut = common_rows([run(-10, 60), run(-16, 63), run(-10, 58)])
    assert {len(one.data) for one in cut} == {58}
    for one in cut:
        np.testing.assert_array_equal(one.data[:, 0], cut[0].tr_times)
    assert cut[0].tr_times[0] == -10


def test_onsets_that_differ_by_milliseconds_share_the_first_grid():
    first, late = common_rows([run(0, 40), run(0.014, 40)])
    np.testing.assert_array_equal(first.tr_times, late.tr_times)
    np.testing.assert_allclose(late.data[:, 0], late.tr_times + 0.014)


def test_equal_rows_are_left_as_they_are():
    runs = [run(0, 40), run(0, 40)]
    assert all(a is b for a, b in zip(common_rows(runs), runs, strict=True))


@pytest.mark.parametrize("other", [run(0.5, 40), run(0, 40, tr=2.02)], ids=["between", "another TR"])
def test_rows_between_those_of_the_first_are_refused(other):
    with pytest.raises(InputError, match=r"lie on one grid within 0\.1 TR"):
        common_rows([run(0, 40), other])


def test_runs_that_share_few_rows_are_refused():
    with pytest.raises(InputError, match="share at least half of their rows; got 10 of 40 rows"):
        common_rows([run(0, 40), run(60, 40)])
