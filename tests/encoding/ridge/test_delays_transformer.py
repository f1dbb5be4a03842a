import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurolm.checks import InputError
from neurolm.encoding import Delays, RidgeCV, leave_one_run_out
from neurolm.temporal import delay_run


def test_delays_never_cross_runs():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    delayed = Delays([1, 3], run_onsets=[0, 12]).fit_transform(X)
    np.testing.assert_array_equal(delayed[:12], delay_run(X[:12], [1, 3]))
    np.testing.assert_array_equal(delayed[12:], delay_run(X[12:], [1, 3]))
    changed = X.copy()
    changed[:12] += 100  # another first run
    np.testing.assert_array_equal(Delays([1, 3], run_onsets=[0, 12]).fit_transform(changed)[12:], delayed[12:])


@pytest.mark.filterwarnings("ignore:.*extend alphas:UserWarning")
def test_a_planted_response_is_recovered_through_a_pipeline():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 4))
    onsets, hrf = [0, 200, 400], np.array([0.5, 1.0, 0.3])
    delayed = np.concatenate([delay_run(X[a:b], [1, 2, 3]) for a, b in [(0, 200), (200, 400), (400, 600)]])
    W = np.concatenate([h * rng.standard_normal((4, 5)) for h in hrf])
    Y = delayed @ W + 0.1 * rng.standard_normal((600, 5))
    model = make_pipeline(Delays([1, 2, 3], run_onsets=onsets), RidgeCV([0.01, 0.1, 1.0, 10.0], cv=leave_one_run_out(onsets)))
    assert np.abs(model.fit(X, Y)[-1].coef_ - W).max() < 0.05


def test_torch_gives_the_same_as_numpy():
    X = np.random.default_rng(0).standard_normal((20, 2))
    delays = Delays([0, 2], run_onsets=[0, 8])
    np.testing.assert_array_equal(delays.fit_transform(torch.tensor(X)).numpy(), delays.fit_transform(X))


def test_new_runs_bring_their_own_onsets():
    X = np.arange(20.0)[:, None]
    delays = Delays([1], run_onsets=[0, 10]).fit(X)
    np.testing.assert_array_equal(delays.transform(X[:6], run_onsets=[0, 3])[:, 0], [0, 0, 1, 0, 3, 4])
    with pytest.raises(InputError, match="X must have the 20 rows that run_onsets describe; got 6"):
        delays.transform(X[:6])


def test_names_say_which_delay():
    frame = pd.DataFrame(np.zeros((9, 2)), columns=["pitch", "rate"])
    names = Delays([1, 2]).fit(frame).get_feature_names_out()
    assert names.tolist() == ["pitch_delay1", "rate_delay1", "pitch_delay2", "rate_delay2"]


def test_run_shorter_than_the_delays_is_named():
    with pytest.raises(InputError, match="delays must be shorter than every run; run 1 has 4 TRs; got"):
        Delays([1, 4], run_onsets=[0, 10, 14]).fit(np.zeros((30, 1)))


@pytest.mark.parametrize("onsets", [[1, 5], [0, 40], [0, 9, 9]])
def test_impossible_onsets_are_refused(onsets):
    with pytest.raises(InputError, match="run_onsets must be whole numbers that begin with 0 and rise below n_trs, here 30"):
        Delays([1], run_onsets=onsets).fit(np.zeros((30, 1)))


def test_negative_delays_are_refused():
    with pytest.raises(InputError, match="Delays are in TRs, not in seconds"):
        Delays([-1]).fit(np.zeros((30, 1)))


def test_clone_keeps_the_settings():
    assert clone(Delays([1, 5], run_onsets=[0, 7])).get_params() == {"delays": [1, 5], "run_onsets": [0, 7]}


ROWS_ARE_TIMES = {
    "check_methods_subset_invariance": "a row's delays are its neighbours in time",
    "check_methods_sample_order_invariance": "a row's delays are its neighbours in time",
    "check_fit2d_1sample": "one TR cannot be delayed",
}


@parametrize_with_checks([Delays([0, 1])], expected_failed_checks=lambda _: ROWS_ARE_TIMES)
def test_delays_follow_the_estimator_protocol(estimator, check):
    check(estimator)
