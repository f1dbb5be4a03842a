import numpy as np

from neurolm.temporal import whole_grid


def test_grid_reaches_back_to_the_story_in_whole_trs():
    grid, n_before = whole_grid(np.arange(20.0, 60.0, 2.0), story_start=12.5)
    assert n_before == 4
    np.testing.assert_allclose(grid[:6], [12, 14, 16, 18, 20, 22])


def test_a_story_that_begins_inside_the_run_adds_nothing():
    grid, n_before = whole_grid(np.arange(0.0, 10.0, 2.0), story_start=3.0)
    assert n_before == 0
    assert len(grid) == 5
