"""Continuous sequences: y_t = f(x_t, x_{t-1}, ...), with a recurrent core or a window.

The same cores as the language models', between a linear map in and one out. Values are
standardised by the training data (`fit_scale`), which the model keeps.

Letters: B batch, T time steps, I inputs, O outputs, H width, n window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from neurolm.checks import bad, check_choice
from neurolm.lm.language_model import State, check_state_depth, hash_weights
from neurolm.lm.lstm import LSTMLayer
from neurolm.lm.rnn import RNNLayer

CORES = ("rnn", "lstm", "feed_forward")


@dataclass(frozen=True)
class TimeSeriesOutput:
    """What one step gives.

    prediction : (B, T, O), in the units of the data
    hidden : tuple of n_layers, each (B, T, H)
    state : what `step` needs to go on from here; batch first
    """

    prediction: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    state: State


class WindowLayer(nn.Module):
    """tanh(W [x_{t-n+1}, ..., x_t] + b): a memory of exactly n steps. State: the last n - 1 inputs (B, n - 1, I)."""

    def __init__(self, n_inputs: int, width: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.linear = nn.Linear(n_inputs * window, width)

    def forward(self, x: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """x (B, T, I), inputs before or None for zeros -> (B, T, H), the last inputs."""
        before = x.new_zeros(x.shape[0], self.window - 1, x.shape[2]) if state is None else state
        whole = torch.cat([before, x], dim=1)
        windows = whole.unfold(1, self.window, 1).flatten(2)  # (B, T, I * n)
        return torch.tanh(self.linear(windows)), whole[:, x.shape[1] :]


class TimeSeriesModel(nn.Module):
    """Predict outputs from the past of inputs.

    Parameters
    ----------
    n_inputs, n_outputs : int
        For forecasting a series from itself they are equal, and y_t is x_{t+1}.
    core : {"lstm", "rnn", "feed_forward"}
    width, n_layers : int
    window : int
        "feed_forward": steps that the first layer sees, the current one included.
    forget_bias : float, optional
        "lstm": the initial bias of every forget gate.
    dropout : float
        Between core and output while training.
    seed : int
        Of the initial weights.
    """

    input_mean: torch.Tensor
    input_std: torch.Tensor
    output_mean: torch.Tensor
    output_std: torch.Tensor

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        core: str = "lstm",
        *,
        width: int = 32,
        n_layers: int = 1,
        window: int = 8,
        forget_bias: float | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice("core", core, CORES)
        if min(n_inputs, n_outputs, width, n_layers, window) < 1:
            raise bad("sizes", "be at least 1", (n_inputs, n_outputs, width, n_layers, window))
        self.n_inputs, self.n_outputs, self.n_layers = n_inputs, n_outputs, n_layers
        self.config: dict[str, Any] = {
            "kind": "TimeSeriesModel",
            "n_inputs": n_inputs,
            "n_outputs": n_outputs,
            "core": core,
            "width": width,
            "n_layers": n_layers,
            "window": window,
            "forget_bias": forget_bias,
            "dropout": dropout,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inputs = [n_inputs, *[width] * (n_layers - 1)]
            self.layers = nn.ModuleList(
                _make_layer(core, n, width, window if index == 0 else 1, forget_bias) for index, n in enumerate(inputs)
            )
            self.dropout = nn.Dropout(dropout)
            self.readout = nn.Linear(width, n_outputs)
        for name, size in (("input", n_inputs), ("output", n_outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    @property
    def device(self) -> torch.device:
        return self.readout.weight.device

    def fit_scale(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Remember mean and standard deviation of the training data, (..., I) and (..., O).

        Raises
        ------
        InputError
            If a column is constant or not finite.
        """
        for name, values in (("input", inputs), ("output", outputs)):
            flat = values.detach().double().flatten(0, -2)
            std = flat.std(0, correction=0)
            if not bool((std > 0).all() and std.isfinite().all()):
                raise bad(f"{name}s", "vary and be finite in every column", f"standard deviations {std.tolist()}")
            getattr(self, f"{name}_mean").copy_(flat.mean(0))
            getattr(self, f"{name}_std").copy_(std)

    def step(self, x: torch.Tensor, state: State = None) -> TimeSeriesOutput:
        """Read inputs (B, T, I), in the units of the data, and go on; `state` from an earlier step or None."""
        if x.ndim != 3 or x.shape[2] != self.n_inputs:
            raise bad("x", f"have the shape (n_rows, n_times, {self.n_inputs})", tuple(x.shape))
        check_state_depth(state, self.n_layers)
        h = (x - self.input_mean) / self.input_std
        hidden, after = [], []
        for index, layer in enumerate(self.layers):
            h, last = layer(h, None if state is None else state[index])
            hidden.append(h)
            after.append(last)
        prediction = self.readout(self.dropout(h)) * self.output_std + self.output_mean
        return TimeSeriesOutput(prediction, tuple(hidden), tuple(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One-step predictions (B, T, O) for inputs (B, T, I), each from the inputs up to its time."""
        return self.step(x).prediction

    @torch.inference_mode()
    def rollout(self, past: torch.Tensor, n_steps: int) -> torch.Tensor:
        """Run freely: read the past, then feed each prediction back as the next input.

        Parameters
        ----------
        past : (B, T, I)
        n_steps : int

        Returns
        -------
        forecast : (B, n_steps, O)
            The first one is the prediction after the last value of `past`.

        Raises
        ------
        InputError
            If outputs are not the next inputs (n_outputs differs from n_inputs).
        """
        if self.n_outputs != self.n_inputs:
            raise bad("model", "predict its own next input to run freely", f"{self.n_inputs} inputs, {self.n_outputs} outputs")
        out = self.step(past)
        forecast = [out.prediction[:, -1:]]
        while len(forecast) < n_steps:
            out = self.step(forecast[-1], out.state)
            forecast.append(out.prediction)
        return torch.cat(forecast[:n_steps], dim=1)

    def weights_hash(self) -> str:
        """SHA-256 of the weights, the scale and the settings."""
        return hash_weights(self.state_dict(), self.config)


def _make_layer(core: str, n_inputs: int, width: int, window: int, forget_bias: float | None) -> nn.Module:
    if core == "rnn":
        return RNNLayer(n_inputs, width)
    if core == "lstm":
        return LSTMLayer(n_inputs, width, forget_bias=forget_bias)
    return WindowLayer(n_inputs, width, window)
