"""Forecasting a continuous series from its past, beside the baselines that a forecast must beat.

    persistence      y_{t+1} = y_t
    autoregression   y_{t+1} = c + A_1 y_t + ... + A_p y_{t-p+1}, by least squares
    TimeSeriesModel  a network over the past: recurrent, or a window of fixed length

Two errors are measured: one step ahead, every forecast made from the true past; and running
freely, each forecast made from the ones before. The first says little about the second.

Letters: T time steps, D series, p order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from neurolm.checks import bad, check_finite
from neurolm.lm.time_series import TimeSeriesModel
from neurolm.progress import Progress, silent
from neurolm.storage import content_hash
from neurolm.training.batches import Batch
from neurolm.training.loop import Trainer
from neurolm.training.objectives import SquaredError
from neurolm.training.settings import TrainerSettings


class Forecaster(Protocol):
    """What can be compared: series are (T, D)."""

    def one_step(self, series: np.ndarray) -> np.ndarray:
        """(T, D) forecast of the value after each time, from the values up to it; NaN where there are too few."""
        ...

    def run_freely(self, past: np.ndarray, n_steps: int) -> np.ndarray:
        """(n_steps, D) forecast of what follows `past`."""
        ...


class Persistence:
    """Nothing changes."""

    def one_step(self, series: np.ndarray) -> np.ndarray:
        return np.asarray(series, dtype=np.float64)

    def run_freely(self, past: np.ndarray, n_steps: int) -> np.ndarray:
        return np.repeat(np.asarray(past, dtype=np.float64)[-1:], n_steps, axis=0)


class Autoregression:
    """AR(p), or its vector form for several series, by least squares with an intercept.

    Parameters
    ----------
    order : int
        p: how many past values a forecast rests on.
    """

    def __init__(self, order: int) -> None:
        if order < 1:
            raise bad("order", "be at least 1", order)
        self.order = order

    def fit(self, series: np.ndarray) -> Autoregression:
        """Estimate from a training series (T, D)."""
        series = check_series(series)
        rows = self._lagged(series)[:-1]
        if len(rows) <= rows.shape[1]:
            raise bad("series", f"be longer than {rows.shape[1] + self.order} steps for AR({self.order})", len(series))
        self.coef_ = np.linalg.lstsq(rows, series[self.order :], rcond=None)[0]  # (1 + p D, D)
        return self

    def one_step(self, series: np.ndarray) -> np.ndarray:
        series = check_series(series)
        forecast = np.full(series.shape, np.nan)
        forecast[self.order - 1 :] = self._lagged(series) @ self.coef_
        return forecast

    def run_freely(self, past: np.ndarray, n_steps: int) -> np.ndarray:
        values = list(check_series(past)[-self.order :])
        for _ in range(n_steps):
            values.append(self._lagged(np.array(values[-self.order :]))[-1] @ self.coef_)
        return np.array(values[-n_steps:])

    def _lagged(self, series: np.ndarray) -> np.ndarray:
        """(T - p + 1, 1 + p D): one, then the last p values, newest first."""
        n_rows = len(series) - self.order + 1
        newest_first = [series[self.order - 1 - lag : self.order - 1 - lag + n_rows] for lag in range(self.order)]
        return np.concatenate([np.ones((n_rows, 1)), *newest_first], axis=1)


class NeuralForecaster:
    """A trained `TimeSeriesModel` as a forecaster."""

    def __init__(self, model: TimeSeriesModel) -> None:
        self.model = model.eval()

    def one_step(self, series: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.model(self._tensor(series))[0].double().cpu().numpy()

    def run_freely(self, past: np.ndarray, n_steps: int) -> np.ndarray:
        return self.model.rollout(self._tensor(past), n_steps)[0].double().cpu().numpy()

    def _tensor(self, series: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(check_series(series), dtype=torch.float32, device=self.model.device)[None]


class SeriesStreams:
    """A series as B contiguous streams, read in segments with the state carried on.

    Parameters
    ----------
    series : (T, D)
    batch_size : int
        Streams side by side.
    length : int, optional
        Steps per segment: truncated BPTT. Left out, a whole stream at once: full BPTT.
    """

    def __init__(self, series: np.ndarray, batch_size: int = 1, length: int | None = None) -> None:
        series = check_series(series)
        n_columns = (len(series) - 1) // batch_size
        if batch_size < 1 or n_columns < 1:
            raise bad("series", f"be longer than batch_size = {batch_size} steps", len(series))
        self.batch_size, self.length = batch_size, length or n_columns
        values = torch.as_tensor(series[: n_columns * batch_size + 1], dtype=torch.float32)
        self._inputs = values[:-1].view(batch_size, n_columns, -1)
        self._targets = values[1:].view(batch_size, n_columns, -1)
        self._offset = 0

    def next_batch(self) -> Batch:
        part = slice(self._offset, self._offset + self.length)
        fresh = torch.full((self.batch_size,), self._offset == 0)
        self._offset = 0 if part.stop >= self._inputs.shape[1] else part.stop
        return Batch(self._inputs[:, part], self._targets[:, part], fresh)

    def position(self) -> dict[str, Any]:
        return {"offset": self._offset}

    def restore(self, position: dict[str, Any]) -> None:
        self._offset = position["offset"]

    def data_hash(self) -> str:
        return content_hash("series", self._inputs, self._targets, self.length)


@dataclass(frozen=True)
class ForecastErrors:
    """How far one forecaster is off on the test part, in the units of the series.

    one_step : mean squared error of forecasts from the true past
    running : (horizon,) mean squared error of free runs, by steps since they began
    """

    one_step: float
    running: np.ndarray


def fit_forecaster(
    model: TimeSeriesModel,
    series: np.ndarray,
    settings: TrainerSettings,
    *,
    validation: np.ndarray | None = None,
    batch_size: int = 1,
    length: int | None = None,
    progress: Progress = silent,
) -> NeuralForecaster:
    """Train a model to forecast a series one step ahead.

    Parameters
    ----------
    model : TimeSeriesModel
        Its scale is fitted here, on the training series.
    series : (T, D)
        Training part.
    settings : TrainerSettings
    validation : (n, D), optional
        What follows the training part: used, with `settings.validate_every`, to keep the best weights.
    batch_size, length
        See `SeriesStreams`.
    """
    series = check_series(series)
    values = torch.as_tensor(series, dtype=torch.float32)
    model.fit_scale(values, values)
    forecaster = NeuralForecaster(model)
    validate = None
    if validation is not None:
        held_out = check_series(validation)
        validate = lambda: one_step_error(forecaster, series, held_out)  # noqa: E731
    Trainer(SquaredError(model), SeriesStreams(series, batch_size, length), settings, validate=validate).fit(progress)
    return forecaster


def one_step_error(forecaster: Forecaster, past: np.ndarray, future: np.ndarray) -> float:
    """Mean squared error over `future`, each value forecast from all true values before it."""
    past, future = check_series(past), check_series(future)
    forecast = forecaster.one_step(np.concatenate([past, future]))[len(past) - 1 : -1]
    return float(np.mean((forecast - future) ** 2))


def running_error(forecaster: Forecaster, past: np.ndarray, future: np.ndarray, horizon: int, n_starts: int = 20) -> np.ndarray:
    """(horizon,) mean squared error of free runs that begin at evenly spaced places in `future`."""
    past, future = check_series(past), check_series(future)
    if horizon < 1 or horizon > len(future):
        raise bad("horizon", f"lie in 1..{len(future)}, the length of the test part", horizon)
    whole = np.concatenate([past, future])
    starts = np.unique(np.linspace(len(past), len(whole) - horizon, n_starts).astype(int))
    runs = [(forecaster.run_freely(whole[:s], horizon) - whole[s : s + horizon]) ** 2 for s in starts]
    return np.mean(runs, axis=(0, 2))


def compare_forecasters(
    forecasters: Mapping[str, Forecaster], past: np.ndarray, future: np.ndarray, *, horizon: int = 10
) -> dict[str, ForecastErrors]:
    """One-step and free-running errors of several forecasters on the same test part."""
    return {
        name: ForecastErrors(one_step_error(one, past, future), running_error(one, past, future, horizon))
        for name, one in forecasters.items()
    }


def check_series(series: np.ndarray | Sequence[float]) -> np.ndarray:
    """A finite series as (T, D) float64; one dimension becomes a single column."""
    values = np.array(series, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) == 0:
        raise bad("series", "be (n_times,) or (n_times, n_series) with at least one time", values.shape)
    check_finite("series", values, "Fill or leave out missing values first.")
    return values
