"""Networks beside persistence and autoregression on one series: a table with several seeds.

The series is cut in three: networks learn on the first part and keep the weights that are best on the
second; persistence and AR(p), which choose nothing, are fitted on both; errors are those on the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurolm.checks import bad
from neurolm.lm.time_series import TimeSeriesModel
from neurolm.progress import Progress, silent
from neurolm.training.experiments.forecasting import (
    Autoregression,
    ForecastErrors,
    Persistence,
    check_series,
    compare_forecasters,
    fit_forecaster,
)
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings

NETWORKS = {"feed-forward window": "feed_forward", "RNN": "rnn", "LSTM": "lstm"}


@dataclass(frozen=True)
class ForecastRow:
    """One forecaster's errors: a single entry, or one for each seed."""

    name: str
    errors: tuple[ForecastErrors, ...]

    @property
    def one_step(self) -> np.ndarray:
        """(n_seeds,) mean squared error one step ahead."""
        return np.array([error.one_step for error in self.errors])

    @property
    def running(self) -> np.ndarray:
        """(horizon,) mean squared error of free runs, mean over seeds."""
        return np.mean([error.running for error in self.errors], axis=0)


def sunspots() -> np.ndarray:
    """(309,) mean number of sunspots in each year from 1700 to 2008, as statsmodels ships it (public domain)."""
    try:
        from statsmodels.datasets import sunspots as data
    except ImportError:
        raise bad("series", "be available", "no statsmodels", "pip install statsmodels") from None
    return data.load_pandas().data["SUNACTIVITY"].to_numpy(dtype=np.float64)


def ar2_series(n_steps: int = 3000, *, seed: int = 0, coefficients: tuple[float, float] = (1.5, -0.8)) -> np.ndarray:
    """(n_steps,) an oscillation driven by noise of variance 1: no forecast can have a smaller error than 1."""
    noise = np.random.default_rng(seed).standard_normal(n_steps + 100)
    y = np.zeros(n_steps + 100)
    for t in range(2, len(y)):
        y[t] = coefficients[0] * y[t - 1] + coefficients[1] * y[t - 2] + noise[t]
    return y[100:]


def forecast_study(
    series: np.ndarray,
    n_validation: int,
    n_test: int,
    *,
    orders: Sequence[int] = (2, 9),
    seeds: Sequence[int] = (0, 1, 2),
    width: int = 16,
    window: int = 9,
    n_steps: int = 300,
    batch_size: int = 1,
    horizon: int = 10,
    progress: Progress = silent,
) -> list[ForecastRow]:
    """Fit every forecaster to the beginning of a series and measure it on the end.

    Parameters
    ----------
    series : (T,) or (T, D)
    n_validation, n_test : int
        Steps of the second and third part.
    orders : p of the autoregressions
    seeds : of the networks
    width : units of the networks
    window : past values that the feed-forward network sees
    n_steps : of training, with AdamW
    batch_size : streams that the training part is read in
    horizon : steps of the free runs
    """
    series = check_series(series)
    n_train = len(series) - n_validation - n_test
    if n_train < 2 or n_validation < 1 or n_test < horizon:
        raise bad("n_validation and n_test", f"leave something of {len(series)} steps to train on", (n_validation, n_test))
    train, validation = series[:n_train], series[n_train : n_train + n_validation]
    past, future = series[: n_train + n_validation], series[n_train + n_validation :]
    linear = {"persistence": Persistence()} | {f"AR({p})": Autoregression(p).fit(past) for p in orders}
    rows = [ForecastRow(name, (e,)) for name, e in compare_forecasters(linear, past, future, horizon=horizon).items()]
    optimizer = OptimizerSettings(lr=0.01, weight_decay=0.01, warmup=20, schedule="cosine")
    for name, core in NETWORKS.items():
        errors = []
        for seed in seeds:
            model = TimeSeriesModel(series.shape[1], series.shape[1], core, width=width, window=window, dropout=0.1, seed=seed)
            settings = TrainerSettings(n_steps, optimizer, validate_every=20, log_every=0, seed=seed)
            network = fit_forecaster(model, train, settings, validation=validation, batch_size=batch_size)
            errors.append(compare_forecasters({name: network}, past, future, horizon=horizon)[name])
            progress(len(rows) - len(linear) + len(errors) / len(seeds), len(NETWORKS), "networks", name)
        rows.append(ForecastRow(name, tuple(errors)))
    return rows
