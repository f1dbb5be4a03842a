import numpy as np

from neurolm.encoding.held_out import held_out_scores, nested_folds, nested_ridge
from neurolm.encoding.intervals import predicted_part, residual_bootstrap, z_interval
from neurolm.encoding.surrogate_scores import score_surrogates
from neurolm.statistics import ar1_noise
from neurolm.temporal import delay_run

N_TRS = 240


def slow(rng, n_columns, rho):
    return ar1_noise(rng.standard_normal((N_TRS, n_columns)), rho)


def test_draws_keep_the_predicted_part_and_shift_the_rest():
    rng = np.random.default_rng(0)
    predictions = rng.standard_normal((60, 3))
    Y = 2 * predictions + rng.standard_normal((60, 3))
    Y[:, 2] = -predictions[:, 2]
    signal = predicted_part(Y, predictions)
    slope = [np.polyfit(predictions[:, v], Y[:, v], 1)[0] for v in range(2)]
    np.testing.assert_allclose(signal[:, :2], (predictions - predictions.mean(0))[:, :2] * slope)
    assert (signal[:, 2] == 0).all()  # a negative relation is no prediction
    shifted = {tuple(np.round(np.roll((Y - signal)[:, 0], k), 9)) for k in range(1, 60)}
    for draw in residual_bootstrap(Y, predictions, 20, rng=1):
        assert tuple(np.round((draw - signal)[:, 0], 9)) in shifted


def test_rows_without_a_prediction_hold_no_signal():
    predictions = np.random.default_rng(0).standard_normal((20, 2))
    predictions[:5] = np.nan
    assert (predicted_part(np.nan_to_num(predictions), predictions)[:5] == 0).all()


def test_interval_is_that_of_students_t_in_fishers_z():
    drawn = np.tanh(np.random.default_rng(0).normal(0.3, 0.1, (40, 2)))
    low, high = z_interval(np.array([0.3, np.nan]), drawn)
    half = 2.0227 * np.arctanh(drawn[:, 0]).std(ddof=1)
    np.testing.assert_allclose([low[0], high[0]], np.tanh(np.arctanh(0.3) + [-half, half]), atol=1e-4)
    assert np.isnan([low[1], high[1]]).all()


def test_intervals_hold_the_expected_score_of_single_subjects_at_every_strength():
    rng = np.random.default_rng(0)
    strength = np.array([0.0, 0.3, 0.8])
    scores, ends = [], []
    for _ in range(40):
        X = delay_run(slow(rng, 4, 0.7), [1, 2, 3, 4])
        X = (X - X.mean(0)) / X.std(0)
        drive = X @ rng.standard_normal((16, 3))
        Y = (strength * drive / drive.std(0) + slow(rng, 3, 0.5)).astype(np.float32)
        ridge = nested_ridge(X, nested_folds([0], N_TRS, 4, 3), (10.0, 100.0, 1000.0))
        fitted = held_out_scores(ridge, Y, keep_predictions=True)
        outer, _ = score_surrogates(ridge, residual_bootstrap(Y, fitted.predictions, 30, rng=rng), 3, 20_000)
        drawn = np.tanh(np.arctanh(outer).mean(1))
        scores.append(fitted.scores)
        ends.append(z_interval(fitted.scores, drawn))
    truth = np.tanh(np.arctanh(scores).mean(0))
    covered = [(low <= truth) & (truth <= high) for low, high in ends]
    assert 0.88 < np.mean(covered) <= 1  # 120 intervals; the table in the manual has thousands
