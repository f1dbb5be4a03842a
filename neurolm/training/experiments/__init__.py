"""Experiments on language models: recall by lag, vanishing gradients, forecasting, transfer.

recall.py                          recall of a name after so many other words
gradients.py                       gradient norm by lag
forecasting.py, forecast_study.py  time series, compared with persistence and autoregression
transfer.py, transfer_study.py     fine-tuning on the tasks of tasks.py, compared with fresh weights
"""

from neurolm.training.experiments.forecasting import compare_forecasters, fit_forecaster
from neurolm.training.experiments.gradients import gradient_norm_by_lag
from neurolm.training.experiments.recall import recall_at_lag
from neurolm.training.experiments.transfer import fine_tune, pretraining_gain

__all__ = ["compare_forecasters", "fine_tune", "fit_forecaster", "gradient_norm_by_lag", "pretraining_gain", "recall_at_lag"]
