import numpy as np
import pytest
from scipy.signal import lfilter
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from neurolm.checks import InputError
from neurolm.encoding import RecurrentEncoder, RidgeCV
from neurolm.statistics import columnwise_correlation
from neurolm.temporal import delay_run

QUICK = {"width": 8, "n_members": 2, "n_epochs": 6, "core": "rnn"}


def long_memory(n=500, tau=15.0, seed=0):
    """Targets that follow a mean over many more TRs than FIR delays reach back."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    signal = lfilter([1], [1, -np.exp(-1 / tau)], X @ rng.standard_normal((3, 4)), axis=0)
    return X, signal / signal.std(0) + 0.5 * rng.standard_normal((n, 4))


def test_it_follows_a_past_that_delays_do_not_reach():
    X, Y = long_memory()
    train, test = slice(0, 350), slice(350, 500)
    encoder = RecurrentEncoder("rnn", width=16, n_members=2, dropout=0.0, weight_decay=0.0, learning_rate=1e-2, n_epochs=60)
    recurrent = columnwise_correlation(Y[test], encoder.fit(X[train], Y[train]).predict(X)[test])
    delayed = delay_run(X, [1, 2, 3, 4])
    ridge = RidgeCV(np.logspace(0, 4, 9)).fit(delayed[train], Y[train])
    linear = columnwise_correlation(Y[test], ridge.predict(delayed)[test])
    assert (recurrent > linear + 0.1).all(), (recurrent, linear)
    assert (encoder.validation_losses_ < 0.6).all()
    assert (encoder.best_epochs_ > 1).all()


def test_it_says_nothing_about_noise():
    X, _ = long_memory(300)
    Y = np.random.default_rng(1).standard_normal((300, 20))
    predicted = RecurrentEncoder(**QUICK | {"n_epochs": 30}).fit(X[:200], Y[:200]).predict(X)
    r = columnwise_correlation(Y[200:], predicted[200:])
    assert abs(np.mean(r)) < 3 / np.sqrt(100 * 20) * 2


def test_no_run_hears_another():
    X, Y = long_memory(240)
    encoder = RecurrentEncoder(**QUICK).fit(X, Y, run_onsets=[0, 100])
    whole = encoder.predict(X, run_onsets=[0, 100])
    np.testing.assert_allclose(whole[100:], encoder.predict(X[100:]), atol=1e-5)
    other = X.copy()
    other[:100] += 3
    np.testing.assert_array_equal(encoder.predict(other, run_onsets=[0, 100])[100:], whole[100:])
    assert not np.allclose(encoder.predict(X)[100:103], whole[100:103])


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not():
    X, Y = long_memory(120)
    first, again = (RecurrentEncoder(**QUICK).fit(X, Y).predict(X) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, RecurrentEncoder(**QUICK, seed=5).fit(X, Y).predict(X))


def test_voxels_that_cannot_be_fitted_are_nan_and_counted():
    X, Y = long_memory(120)
    Y[3, 1], Y[:, 2] = np.nan, 7
    with pytest.warns(UserWarning, match=r"2 of 4 targets \(columns 1, 2\) are constant or hold NaN: their predictions are NaN"):
        predicted = RecurrentEncoder(**QUICK).fit(X, Y).predict(X)
    np.testing.assert_array_equal(np.isnan(predicted).all(0), [False, True, True, False])


@pytest.mark.parametrize("onsets", [[1, 50], [0, 50, 50], [0, 120]])
def test_bad_run_onsets_are_refused(onsets):
    X, Y = long_memory(120)
    with pytest.raises(InputError, match="run_onsets must begin with 0, rise and lie below the number of rows, here 120"):
        RecurrentEncoder(**QUICK).fit(X, Y, run_onsets=onsets)


def test_it_can_be_cloned_and_takes_one_voxel():
    """scikit-learn's whole protocol cannot hold: it shuffles rows, and a network that remembers notices."""
    X, Y = long_memory(120)
    encoder = clone(RecurrentEncoder(**QUICK | {"width": 5}))
    assert encoder.get_params()["width"] == 5
    assert encoder.fit(X, Y[:, 0]).predict(X).shape == (120,)
    with pytest.raises(NotFittedError):
        clone(encoder).predict(X)
