import numpy as np
import pytest
from sklearn.model_selection import KFold, LeaveOneGroupOut

from neurolm.checks import InputError
from neurolm.encoding import contiguous_blocks, held_out_scores, leave_one_run_out, nested_folds
from neurolm.encoding.crossval import LeaveOneRunOut, blocks_of_rows, resolve_folds, run_folds, without_repeats
from neurolm.encoding.held_out import nested_ridge, train_test_fold


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


# ---------------------------------------------------------------- repeats

LENGTHS = [40, 30, 40, 30, 40]
ONSETS = np.cumsum([0, *LENGTHS[:-1]])
N_ROWS = sum(LENGTHS)
RUN_OF_ROW = np.repeat(np.arange(5), LENGTHS)
GROUPS = np.array([0, 1, 0, 2, 0])  # the first story three times


def stimuli(rows):
    return set(GROUPS[RUN_OF_ROW[rows]].tolist())


def test_runs_of_one_stimulus_never_stand_in_training_and_test():
    for n_folds in (2, 3, 5, None):
        folds = run_folds(ONSETS, N_ROWS, n_folds, run_groups=GROUPS)
        assert len(folds) == min(n_folds or 3, 3)
        for train, test in folds:
            assert not stimuli(train) & stimuli(test)
        np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(N_ROWS))
    splitter = leave_one_run_out(ONSETS, run_groups=GROUPS)
    assert splitter.get_n_splits() == 3
    assert [stimuli(test) for _, test in splitter.split(np.empty((N_ROWS, 1)))] == [{0}, {1}, {2}]


def test_inner_folds_keep_repeats_together_too():
    for fold in nested_folds(ONSETS, N_ROWS, 3, 3, 2, GROUPS):
        assert not stimuli(fold.train) & stimuli(fold.test)
        for train, test in fold.inner:
            shared = stimuli(train) & stimuli(test)
            if len(stimuli(fold.train)) > 1:
                assert not shared
            assert set(np.concatenate([train, test])) <= set(fold.train)


def test_one_stimulus_in_several_runs_is_held_out_in_the_same_blocks_of_all_runs():
    onsets = np.array([0, 40, 80])
    at = np.arange(120) % 40
    for train, test in run_folds(onsets, 120, 4, 3, run_groups=[7, 7, 7]):
        assert len(test) == 30
        assert np.abs(at[train][:, None] - at[test]).min() > 3
    with pytest.raises(InputError, match=r"run_groups must hold at least two stimuli.*run_folds"):
        leave_one_run_out(onsets, run_groups=[7, 7, 7])


def test_test_runs_leave_their_repeats_out_of_the_fit():
    (fold,) = train_test_fold(ONSETS, N_ROWS, [2], 2, 0, GROUPS)
    assert stimuli(fold.train) == {1, 2}
    np.testing.assert_array_equal(fold.test, np.flatnonzero(RUN_OF_ROW == 2))
    with pytest.raises(InputError, match="leave other stories to fit"):
        train_test_fold(ONSETS, N_ROWS, [0, 1, 3], 2, 0, GROUPS)


def test_chunks_of_a_repeated_story_are_not_fitted_in_its_other_runs():
    test = np.arange(5, 15)
    train = np.setdiff1d(np.arange(N_ROWS), test)
    ((kept, same),) = without_repeats([(train, test)], ONSETS, N_ROWS, GROUPS, gap=2)
    np.testing.assert_array_equal(same, test)
    at = np.arange(N_ROWS) - ONSETS[RUN_OF_ROW]
    leaks = np.isin(RUN_OF_ROW, [2, 4]) & (at >= 3) & (at <= 16)
    np.testing.assert_array_equal(kept, train[~leaks[train]])
    plain = [(train, test)]
    assert without_repeats(plain, ONSETS, N_ROWS, None) == plain


def test_a_response_to_a_repeated_story_that_ignores_the_words_scores_zero():
    rng = np.random.default_rng(0)
    n, n_voxels = 80, 60
    features = {story: rng.standard_normal((n, 30)) for story in "abcd"}
    locked = {story: rng.standard_normal((n, n_voxels)) for story in "abcd"}
    heard = "aabcd"
    X = np.concatenate([features[story] for story in heard])
    Y = np.concatenate([locked[story] + 0.5 * rng.standard_normal((n, n_voxels)) for story in heard])
    onsets = n * np.arange(5)
    scores = {}
    for name, groups in (("grouped", [0, 0, 1, 2, 3]), ("by run", None)):
        folds = nested_folds(onsets, 5 * n, 5, 4, 0, groups)
        scores[name] = held_out_scores(nested_ridge(X, folds, [1.0, 100.0]), Y).scores.mean()
    assert scores["by run"] > 0.1  # the leak that grouping prevents
    assert abs(scores["grouped"]) < 0.02
