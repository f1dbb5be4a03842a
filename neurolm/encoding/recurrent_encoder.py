"""Beyond ridge, through the same door: a recurrent network from features to voxels.

Ridge with FIR delays weighs a fixed window of the past linearly. A recurrent encoder learns what
to keep of the past and may combine features; with the hundreds of TRs that a listener gives, it
needs few inputs, early stopping and several members to be any good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from neurolm.arrays import constant_columns, to_numpy
from neurolm.checks import bad
from neurolm.encoding.crossval import blocks_of_rows, check_groups, without_repeats
from neurolm.encoding.ridge.ridge_cv import check_X, check_X_y, warn_of_undefined
from neurolm.lm import TimeSeriesModel
from neurolm.progress import Progress, silent
from neurolm.storage import content_hash
from neurolm.training.batches import Batch
from neurolm.training.loop import Trainer
from neurolm.training.objectives import SquaredError
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings


class RecurrentEncoder(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Predict voxels from the features of this and all earlier TRs of a run.

    All voxels share one recurrent network and read it out linearly. Several members are trained,
    each stopped early by its own block of the training rows, and their predictions averaged.

    Parameters
    ----------
    core : {"lstm", "rnn", "feed_forward"}
        "feed_forward" sees a window of 8 rows and no more.
    width, n_layers : int
        Of the network.
    n_components : int or None
        Leading directions of the training features that the network reads; None for all features.
    dropout : float
        Between network and read-out while training.
    n_members : int
        Networks; each is stopped by one of so many contiguous blocks (at least 2 of them).
    gap : int
        Rows left out on both sides of that block.
    n_epochs, patience : int
        Most passes through the runs; passes without a better block score before training stops.
    learning_rate, weight_decay : float
        Of AdamW.
    device : str
        "cpu" or "cuda".
    seed : int

    Attributes
    ----------
    models_ : list of TimeSeriesModel
    best_epochs_ : (n_members,)
    validation_losses_ : (n_members,)
        Mean squared error of the block that stopped a member, in units of the training variance: 1 is no better
        than the mean.

    Notes
    -----
    A target that is constant or holds NaN gets NaN predictions and is counted in a warning.
    """

    def __init__(
        self,
        core: str = "lstm",
        width: int = 32,
        n_layers: int = 1,
        n_components: int | None = 20,
        dropout: float = 0.3,
        n_members: int = 5,
        gap: int = 5,
        n_epochs: int = 200,
        patience: int = 20,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.1,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.core = core
        self.width = width
        self.n_layers = n_layers
        self.n_components = n_components
        self.dropout = dropout
        self.n_members = n_members
        self.gap = gap
        self.n_epochs = n_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.device = device
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any,
        run_onsets: Sequence[int] | None = None,
        progress: Progress = silent,
        run_groups: Sequence[int] | None = None,
    ) -> RecurrentEncoder:
        """Train the members.

        Parameters
        ----------
        X : array of shape (n_trs, n_features)
            Rows in time order. Delayed features are welcome and give each run's first rows a past.
        y : array of shape (n_trs, n_targets) or (n_trs,)
        run_onsets : sequence of int, optional
            First row of every run, and of every stretch that does not follow the row before it: the network
            begins again there.
        run_groups : sequence of int, optional
            The stimulus of each run (`neurolm.stimuli.stimulus_groups`): what a validation block has in another run of
            its stimulus is not trained on.
        """
        X, y = check_X_y(self, X, y)
        Y = to_numpy(y).astype(np.float64)
        self._is_1d = Y.ndim == 1
        Y = Y[:, None] if self._is_1d else Y
        self.defined_ = ~constant_columns(Y)
        warn_of_undefined(~self.defined_, "their predictions")
        inputs, starts = self._reduced(to_numpy(X).astype(np.float64), fit=True), _starts(run_onsets, len(Y))
        targets = torch.tensor(Y[:, self.defined_], dtype=torch.float32, device=self.device)
        blocks = blocks_of_rows(np.arange(len(Y)), max(2, self.n_members), self.gap)
        blocks = without_repeats(blocks, starts, len(Y), check_groups(run_groups, len(starts)), self.gap)
        self.models_, best = [], []
        for member, (train, block) in enumerate(blocks[: self.n_members]):
            progress(member, self.n_members, "networks")
            model, at = self._train(member, inputs, targets, starts, train, block)
            self.models_.append(model)
            best.append(at)
        progress(self.n_members, self.n_members, "networks")
        self.best_epochs_ = np.array([step for step, _ in best])
        self.validation_losses_ = np.array([loss for _, loss in best])
        return self

    def predict(self, X: Any, run_onsets: Sequence[int] | None = None) -> np.ndarray:
        """Predictions (n_trs, n_targets), in the dtype of X; (n_trs,) if y was one-dimensional."""
        check_is_fitted(self)
        X = check_X(self, X)
        inputs = self._reduced(to_numpy(X).astype(np.float64), fit=False)
        parts = _pieces(_starts(run_onsets, len(inputs)), np.arange(len(inputs)))
        with torch.no_grad():
            members = [torch.cat([model(inputs[None, part])[0] for part in parts]) for model in self.models_]
        predictions = np.full(
            (len(inputs), len(self.defined_)), np.nan, dtype=X.dtype if isinstance(X, np.ndarray) else np.float32
        )
        predictions[:, self.defined_] = torch.stack(members).mean(0).cpu().numpy()
        return predictions[:, 0] if self._is_1d else predictions

    def _reduced(self, X: np.ndarray, *, fit: bool) -> torch.Tensor:
        """The columns that the network reads, each of unit variance over the training rows."""
        if fit:
            self.mean_ = X.mean(0)
            _, spread, directions = np.linalg.svd(X - self.mean_, full_matrices=False)
            n = min(self.n_components or len(spread), int((spread > 1e-10 * spread[0]).sum()))
            if not n:
                raise bad("X", "vary", "constant columns only")
            self.directions_ = directions[:n].T * (len(X) ** 0.5 / spread[:n])
        return torch.tensor((X - self.mean_) @ self.directions_, dtype=torch.float32, device=self.device)

    def _train(
        self, member: int, inputs: torch.Tensor, targets: torch.Tensor, starts: np.ndarray, train: np.ndarray, block: np.ndarray
    ) -> tuple[TimeSeriesModel, tuple[int, float]]:
        """One network, its best epoch, and the loss of its block then."""
        model = TimeSeriesModel(
            inputs.shape[1], targets.shape[1], self.core, width=self.width, n_layers=self.n_layers, dropout=self.dropout,
            seed=self.seed + member,
        )  # fmt: skip
        model.fit_scale(inputs, targets)
        model.to(self.device)
        source = _Runs(inputs, targets, _pieces(starts, train))
        whole = _pieces(starts, np.arange(len(inputs)))
        rows = torch.as_tensor(block, device=self.device)

        def block_loss() -> float:
            with torch.no_grad():
                predicted = torch.cat([model(inputs[None, part])[0] for part in whole])
            return float(((predicted[rows] - targets[rows]) / model.output_std).square().mean())

        settings = TrainerSettings(
            n_steps=self.n_epochs * len(source.parts),
            optimizer=OptimizerSettings(lr=self.learning_rate, weight_decay=self.weight_decay),
            validate_every=len(source.parts),
            patience=self.patience,
            seed=self.seed + member,
        )
        result = Trainer(SquaredError(model), source, settings, validate=block_loss).fit()
        assert result.best_step is not None
        assert result.best_loss is not None
        return model.eval(), (result.best_step // len(source.parts), result.best_loss)


class _Runs:
    """Batches of one run each, in turn; the network's state begins blank."""

    batch_size = 1

    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor, parts: list[slice]) -> None:
        self.inputs, self.targets, self.parts, self._next = inputs, targets, parts, 0

    def next_batch(self) -> Batch:
        part = self.parts[self._next]
        self._next = (self._next + 1) % len(self.parts)
        return Batch(self.inputs[None, part], self.targets[None, part], torch.ones(1, dtype=torch.bool))

    def position(self) -> dict[str, Any]:
        return {"next": self._next}

    def restore(self, position: dict[str, Any]) -> None:
        self._next = position["next"]

    def data_hash(self) -> str:
        return content_hash("runs", self.inputs, self.targets, [(part.start, part.stop) for part in self.parts])


def _starts(run_onsets: Sequence[int] | None, n_trs: int) -> np.ndarray:
    """First rows of runs, checked; a single run if none are given."""
    starts = np.asarray([0] if run_onsets is None else run_onsets)
    if starts.ndim != 1 or not len(starts) or starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= n_trs:
        raise bad("run_onsets", f"begin with 0, rise and lie below the number of rows, here {n_trs}", run_onsets)
    return starts


def _pieces(starts: np.ndarray, rows: np.ndarray) -> list[slice]:
    """Rising rows as slices that follow each other without a gap inside one run."""
    breaks = np.flatnonzero((np.diff(rows) != 1) | np.isin(rows[1:], starts)) + 1
    return [slice(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, breaks)]
