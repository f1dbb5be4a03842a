import numpy as np
import pytest
from sklearn.model_selection import KFold, LeaveOneGroupOut

from neurolm.checks import InputError
from neurolm.encoding import contiguous_blocks, leave_one_run_out
from neurolm.encoding.crossval import LeaveOneRunOut, blocks_of_rows, resolve_folds


def same_folds(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for pair in zip(a, b) for x, y in zip(*pair))


@pytest.mark.parametrize(("n_trs", "n_folds"), [(10, 5), (11, 3), (7, 7)])
def test_blocks_without_gap_are_those_of_kfold(n_trs, n_folds):
    assert same_folds(contiguous_blocks(n_trs, n_folds), list(KFold(n_folds).split(np.zeros(n_trs))))


def test_no_training_row_lies_within_the_gap():
    for train, test in contiguous_blocks(100, 4, gap=6):
        distance = np.abs(train[:, None] - test[None]).min(1)
        assert distance.min() == 7
        assert len(train) + len(test) == 100 - 6 * (int(test[0] > 0) + int(test[-1] < 99))


def test_gap_is_counted_in_trs_of_the_whole_run():
    rows = np.r_[0:20, 40:60]  # an outer test block of 20 rows is missing
    folds = blocks_of_rows(rows, 2, gap=5)
    np.testing.assert_array_equal(folds[0][0], np.arange(40, 60))  # 20 rows away: nothing to drop
    folds = blocks_of_rows(rows, 4, gap=5)
    np.testing.assert_array_equal(folds[2][0], np.r_[0:20, 55:60])


def test_runs_are_held_out_whole():
    onsets, n_trs = [0, 30, 50], 90
    groups = np.repeat([0, 1, 2], [30, 20, 40])
    expected = list(LeaveOneGroupOut().split(np.zeros(n_trs), groups=groups))
    assert same_folds(leave_one_run_out(onsets, n_trs), expected)
    splitter = leave_one_run_out(onsets)
    assert isinstance(splitter, LeaveOneRunOut)
    assert same_folds(resolve_folds(splitter, np.zeros((n_trs, 2))), expected)


def test_a_single_run_cannot_be_left_out():
    with pytest.raises(InputError, match=r"run_onsets must hold at least two runs; got \[0\]. With one run hold out blocks"):
        leave_one_run_out([0])


def test_fewer_trs_than_folds_is_an_error():
    with pytest.raises(InputError, match=r"n_folds must be at most the number of TRs, here 4; got 5"):
        contiguous_blocks(4, 5)


def test_gap_that_leaves_nothing_to_fit_is_an_error():
    with pytest.raises(InputError, match="gap must leave rows to train on; got 10"):
        contiguous_blocks(20, 2, gap=10)


@pytest.mark.parametrize("onsets", [[1, 5], [0, 5, 5], [0, 5, 3], [0, 2.5]])
def test_impossible_onsets_are_refused(onsets):
    with pytest.raises(InputError, match="run_onsets must be whole numbers that begin with 0 and rise"):
        leave_one_run_out(onsets)


def test_onset_beyond_the_matrix_is_refused():
    with pytest.raises(InputError, match="run_onsets must lie below the number of rows, here 9"):
        leave_one_run_out([0, 9], 9)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([([0, 1, 2], [2, 3])], "hold folds whose test rows are not fitted"),
        ([([0, 1], [7])], r"Rows lie in \[0, 6\)"),
        ([([0, 0], [1])], "named once"),
        ([([0, 1], [])], "at least one"),
        ([([0.5], [1])], "whole numbers"),
        ([], "hold at least one fold"),
        ("five", "be an int, a scikit-learn splitter or"),
        (7, "n_folds must be at most the number of TRs"),
        (1, "n_folds must be a whole number >= 2"),
    ],
)
def test_impossible_folds_are_refused(cv, message):
    with pytest.raises(InputError, match=message):
        resolve_folds(cv, np.zeros((6, 1)))


def test_masks_and_generators_of_pairs_are_folds():
    mask = np.array([True, False, True])
    folds = resolve_folds(((m, ~m) for m in (mask, ~mask)), np.zeros((3, 1)))
    assert same_folds(folds, [(np.array([0, 2]), np.array([1])), (np.array([1]), np.array([0, 2]))])
