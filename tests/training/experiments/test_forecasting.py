import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.lm.time_series import TimeSeriesModel
from neurolm.training.experiments.forecast_study import ar2_series
from neurolm.training.experiments.forecasting import (
    Autoregression,
    NeuralForecaster,
    Persistence,
    SeriesStreams,
    compare_forecasters,
    fit_forecaster,
    one_step_error,
    running_error,
)
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings


def test_autoregression_recovers_its_coefficients_and_the_noise():
    series = 0.5 * ar2_series(20_000) + 3
    model = Autoregression(2).fit(series[:15_000])
    np.testing.assert_allclose(model.coef_[1:, 0], [1.5, -0.8], atol=0.02)
    assert one_step_error(model, series[:15_000], series[15_000:]) == pytest.approx(0.25, rel=0.04)


def test_autoregression_equals_statsmodels_on_the_sunspots():
    from statsmodels.datasets import sunspots
    from statsmodels.tsa.ar_model import AutoReg

    series = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    ours = Autoregression(9).fit(series[:250])
    theirs = AutoReg(series[:250], lags=9).fit()
    np.testing.assert_allclose(ours.coef_[:, 0], theirs.params, rtol=1e-6)
    np.testing.assert_allclose(ours.run_freely(series[:250], 12)[:, 0], theirs.forecast(12), rtol=1e-6)


def test_vector_autoregression_sees_the_other_series():
    rng = np.random.default_rng(0)
    cause = rng.standard_normal(500)
    effect = np.r_[0, cause[:-1]] + 0.01 * rng.standard_normal(500)
    model = Autoregression(1).fit(np.stack([cause, effect], axis=1))
    np.testing.assert_allclose(model.coef_[1:, 1], [1, 0], atol=0.01)


def test_forecasts_use_nothing_after_their_time():
    series = ar2_series(60)
    changed = np.r_[series[:40], series[40:] + 5]
    model = TimeSeriesModel(1, 1, "lstm", width=8)
    for forecaster in (Persistence(), Autoregression(3).fit(series), NeuralForecaster(model)):
        np.testing.assert_array_equal(forecaster.one_step(series[:, None])[:40], forecaster.one_step(changed[:, None])[:40])


@pytest.mark.parametrize("core", ["lstm", "rnn", "feed_forward"])
def test_networks_reach_the_noise_floor_of_ar2_data(core):
    series = ar2_series(9000)
    train, test = series[:6000], series[6000:]
    settings = TrainerSettings(300, OptimizerSettings(lr=0.01, schedule="cosine", warmup=20), log_every=0)
    model = TimeSeriesModel(1, 1, core, width=16, window=4)
    forecaster = fit_forecaster(model, train, settings, batch_size=16, length=50)
    found = one_step_error(forecaster, train, test)
    floor = one_step_error(Autoregression(2).fit(train), train, test)
    assert floor == pytest.approx(1.0, rel=0.06), "the noise variance"
    assert found < 1.04 * floor
    assert one_step_error(Persistence(), train, test) > 2


def test_a_network_beats_linear_forecasts_of_a_nonlinear_series():
    rng = np.random.default_rng(0)
    y = np.zeros(3000)
    for t in range(1, 3000):  # a noisy tent: the slope changes sign in the middle
        y[t] = 1 - 1.7 * abs(y[t - 1]) + 0.05 * rng.standard_normal()
    train, test = y[:2000], y[2000:]
    settings = TrainerSettings(400, OptimizerSettings(lr=0.02, schedule="cosine"), log_every=0)
    network = fit_forecaster(TimeSeriesModel(1, 1, "lstm", width=16), train, settings, batch_size=8, length=25)
    errors = compare_forecasters(
        {"LSTM": network, "AR(9)": Autoregression(9).fit(train), "persistence": Persistence()}, train, test, horizon=3
    )
    assert errors["LSTM"].one_step < 0.01 < 0.05 < errors["AR(9)"].one_step < errors["persistence"].one_step
    assert errors["LSTM"].running[0] < errors["LSTM"].running[2], "free runs lose the series"


def test_sunspots_are_forecast_better_than_by_persistence_and_a_low_order():
    from statsmodels.datasets import sunspots

    series = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    train, validation, test = series[:210], series[210:250], series[250:]
    settings = TrainerSettings(200, OptimizerSettings(lr=0.01, weight_decay=0.01), validate_every=20, log_every=0)
    model = TimeSeriesModel(1, 1, "lstm", width=16, dropout=0.1, seed=2)
    network = fit_forecaster(model, train, settings, validation=validation)
    past = series[:250]
    error = one_step_error(network, past, test)
    assert error < 0.5 * one_step_error(Persistence(), past, test)
    assert error < one_step_error(Autoregression(2).fit(past), past, test)


def test_persistence_repeats_and_errors_are_those_of_the_definition():
    past, future = np.array([1.0, 2.0]), np.array([4.0, 7.0, 7.0])
    assert one_step_error(Persistence(), past, future) == pytest.approx((4 + 9 + 0) / 3)
    np.testing.assert_allclose(running_error(Persistence(), past, future, 3), [4, 25, 25])
    np.testing.assert_allclose(running_error(Persistence(), past, future, 1), [(4 + 9 + 0) / 3])


def test_streams_cover_the_series_and_full_bptt_reads_it_at_once():
    whole = SeriesStreams(np.arange(11.0)).next_batch()
    assert whole.inputs.shape == (1, 10, 1)
    assert (whole.targets == whole.inputs + 1).all()
    source = SeriesStreams(np.arange(21.0), 2, 4)
    read = [source.next_batch() for _ in range(3)]
    assert [batch.inputs[:, 0, 0].tolist() for batch in read] == [[0, 10], [4, 14], [8, 18]]
    assert [bool(batch.fresh.all()) for batch in read] == [True, False, False]


def test_impossible_input_is_refused():
    with pytest.raises(InputError, match="series must be finite"):
        Autoregression(2).fit([1.0, np.nan, 2.0, 3.0, 4.0, 5.0, 6.0])
    with pytest.raises(InputError, match=r"longer than 5 steps for AR\(2\)"):
        Autoregression(2).fit([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="order must be at least 1"):
        Autoregression(0)
    with pytest.raises(InputError, match="horizon must lie in"):
        running_error(Persistence(), np.arange(3.0), np.arange(2.0), 5)
    with pytest.raises(InputError, match="longer than batch_size"):
        SeriesStreams(np.arange(3.0), 5)
