"""Batches whose exact place in the data can be saved and found again.

ContiguousStreams   B streams through the whole text; the model's state goes on from batch to batch
DocumentStreams     the same, but every document begins with a blank state
RandomWindows       windows from anywhere, each on its own: what transformers train on
Examples            separate examples (a sentence, a review), right-padded, in a new order each epoch

Letters: B rows, T tokens. Targets of `IGNORED` count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from neurolm.checks import bad
from neurolm.storage import content_hash

IGNORED = -100  # the target that cross-entropy leaves out


@dataclass(frozen=True)
class Batch:
    """What one step of training reads.

    inputs : (B, T) int64, or (B, T, I) float for continuous series
    targets : (B, T) int64, or (B,) where a whole row has one label; IGNORED where there is none
    fresh : (B,) bool, the rows whose state begins blank; None when no state is carried at all
    lr_scale : what this batch multiplies the learning rate by
    lengths : (B,) int64, tokens of each row without padding; None where rows are whole
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    fresh: torch.Tensor | None = None
    lr_scale: float = 1.0
    lengths: torch.Tensor | None = None

    def rows(self, part: slice) -> Batch:
        """Some rows of the batch."""
        return self._each(lambda tensor: tensor[part])

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        fresh = None if self.fresh is None else function(self.fresh)
        lengths = None if self.lengths is None else function(self.lengths)
        return replace(self, inputs=function(self.inputs), targets=function(self.targets), fresh=fresh, lengths=lengths)


class BatchSource(Protocol):
    """An endless series of batches with `batch_size` rows."""

    batch_size: int

    def next_batch(self) -> Batch: ...

    def position(self) -> dict[str, Any]:
        """Where we are, as JSON knows it: after `restore` the same batches follow."""
        ...

    def restore(self, position: dict[str, Any]) -> None: ...

    def data_hash(self) -> str:
        """SHA-256 of the data and how it is read, so that a run is not resumed on other data."""
        ...


class ContiguousStreams:
    """Cut one text into B streams and read them side by side, a segment at a time.

    The last token of a stream has the first of the next stream as its target, so every token
    but the text's first is predicted once per epoch. States begin blank with each epoch, and where
    `reset` says so: a model that never begins blank while it learns may fail when it does later.

    Parameters
    ----------
    ids : array of shape (n_tokens,)
    batch_size : int
        Number of streams.
    length : int
        Tokens per segment: how far back-propagation reaches (truncated BPTT).
    jitter : bool
        Draw each segment's length from N(length, 5), and around length/2 once in twenty, with the
        learning rate in proportion (Merity et al. 2018).
    reset : float
        Probability that a stream's state is made blank at the beginning of a segment.
    seed : int
        For the jitter and the resets.
    """

    def __init__(
        self,
        ids: np.ndarray,
        batch_size: int,
        length: int,
        *,
        jitter: bool = False,
        reset: float = 0.0,
        seed: int = 0,
    ) -> None:
        _check_sizes(batch_size, length)
        if not 0 <= reset <= 1:
            raise bad("reset", "be a probability", reset)
        n_columns = (len(ids) - 1) // batch_size
        if n_columns < 1:
            raise bad("ids", f"hold more than batch_size tokens, here {batch_size}", len(ids), "Give more text or fewer streams.")
        self.batch_size, self.length, self.jitter, self.reset = batch_size, length, jitter, reset
        used = torch.as_tensor(np.asarray(ids[: n_columns * batch_size + 1]), dtype=torch.int64)
        self._inputs = used[:-1].view(batch_size, n_columns)
        self._targets = used[1:].view(batch_size, n_columns)
        self._rng = np.random.default_rng(seed)
        self._offset = self._epoch = 0

    def next_batch(self) -> Batch:
        length = self._draw_length()
        part = slice(self._offset, self._offset + length)
        fresh = torch.from_numpy(self._rng.random(self.batch_size) < self.reset) | (self._offset == 0)
        batch = Batch(self._inputs[:, part], self._targets[:, part], fresh, length / self.length if self.jitter else 1.0)
        self._offset += length
        if self._offset >= self._inputs.shape[1]:
            self._offset, self._epoch = 0, self._epoch + 1
        return batch

    def position(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "offset": self._offset, "rng": self._rng.bit_generator.state}

    def restore(self, position: dict[str, Any]) -> None:
        self._epoch, self._offset = position["epoch"], position["offset"]
        self._rng.bit_generator.state = position["rng"]

    def data_hash(self) -> str:
        return content_hash("contiguous streams", self._inputs, self._targets, self.length, self.jitter, self.reset)

    def _draw_length(self) -> int:
        if not self.jitter:
            return self.length
        middle = self.length if self._rng.random() < 0.95 else self.length / 2
        return max(5, int(self._rng.normal(middle, 5)))


class DocumentStreams:
    """Read documents in B streams; a stream that ends one document takes the next, with a blank state.

    Every token of a document is predicted once per epoch, the first one from `separator`; what is
    left of a segment after a document's end is padding that counts for nothing. Documents come in
    a new order each epoch.
    """

    def __init__(self, documents: Sequence[np.ndarray], batch_size: int, length: int, *, separator: int, seed: int = 0) -> None:
        _check_sizes(batch_size, length)
        if not len(documents) or min(len(document) for document in documents) == 0:
            raise bad("documents", "each hold a token", [len(document) for document in documents][:10], "Leave empty ones out.")
        self.batch_size, self.length, self.separator = batch_size, length, separator
        self._documents = [
            torch.cat([torch.tensor([separator]), torch.as_tensor(document, dtype=torch.int64)]) for document in documents
        ]
        self._rng = np.random.default_rng(seed)
        self._waiting: list[int] = []
        self._reading = [[self._next_document(), 0] for _ in range(batch_size)]  # per row: document, tokens already read

    def next_batch(self) -> Batch:
        inputs = torch.full((self.batch_size, self.length), self.separator)
        targets = torch.full((self.batch_size, self.length), IGNORED)
        fresh = torch.zeros(self.batch_size, dtype=torch.bool)
        for row, (document, start) in enumerate(self._reading):
            ids = self._documents[document]
            stop = min(start + self.length, len(ids) - 1)
            inputs[row, : stop - start] = ids[start:stop]
            targets[row, : stop - start] = ids[start + 1 : stop + 1]
            fresh[row] = start == 0
            self._reading[row] = [document, stop] if stop < len(ids) - 1 else [self._next_document(), 0]
        return Batch(inputs, targets, fresh)

    def position(self) -> dict[str, Any]:
        return {
            "waiting": list(self._waiting),
            "reading": [list(row) for row in self._reading],
            "rng": self._rng.bit_generator.state,
        }

    def restore(self, position: dict[str, Any]) -> None:
        self._waiting = list(position["waiting"])
        self._reading = [list(row) for row in position["reading"]]
        self._rng.bit_generator.state = position["rng"]

    def data_hash(self) -> str:
        return content_hash("document streams", list(self._documents), self.length)

    def _next_document(self) -> int:
        if not self._waiting:
            self._waiting = self._rng.permutation(len(self._documents)).tolist()
        return self._waiting.pop()


class RandomWindows:
    """Windows of T tokens from anywhere in the text, with their targets; no state is carried."""

    def __init__(self, ids: np.ndarray, batch_size: int, length: int, *, seed: int = 0) -> None:
        _check_sizes(batch_size, length)
        if len(ids) <= length:
            raise bad("ids", f"be longer than one window of {length} tokens", len(ids), "Give more text or shorter windows.")
        self.batch_size, self.length = batch_size, length
        self._ids = torch.as_tensor(np.asarray(ids), dtype=torch.int64)
        self._rng = np.random.default_rng(seed)

    def next_batch(self) -> Batch:
        starts = torch.from_numpy(self._rng.integers(0, len(self._ids) - self.length, size=self.batch_size))
        where = starts[:, None] + torch.arange(self.length + 1)  # (B, T + 1)
        windows = self._ids[where]
        return Batch(windows[:, :-1], windows[:, 1:])

    def position(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state}

    def restore(self, position: dict[str, Any]) -> None:
        self._rng.bit_generator.state = position["rng"]

    def data_hash(self) -> str:
        return content_hash("random windows", self._ids, self.length)


class Examples:
    """Separate examples, right-padded to the longest of their batch, in a new order each epoch.

    Right padding needs no mask in causal models: nothing real ever looks at it.

    Parameters
    ----------
    inputs : sequence of int arrays (n_tokens,)
    targets : sequence of int arrays (n_tokens,), or of ints (one label for each example)
    batch_size : int
        Epochs run into each other, so that every batch is full.
    padding : int
        Token id that fills the inputs.
    """

    def __init__(
        self,
        inputs: Sequence[np.ndarray],
        targets: Sequence[np.ndarray] | Sequence[int] | np.ndarray,
        batch_size: int,
        *,
        padding: int = 0,
        seed: int = 0,
    ) -> None:
        _check_sizes(batch_size, 1)
        if len(inputs) == 0 or len(inputs) != len(targets):
            raise bad("inputs and targets", "hold as many examples each, at least one", (len(inputs), len(targets)))
        self.batch_size, self.padding = batch_size, padding
        self._inputs = [torch.as_tensor(np.asarray(row), dtype=torch.int64) for row in inputs]
        self._targets = [torch.as_tensor(np.asarray(row), dtype=torch.int64) for row in targets]
        self._rng = np.random.default_rng(seed)
        self._waiting: list[int] = []

    def next_batch(self) -> Batch:
        while len(self._waiting) < self.batch_size:
            self._waiting = self._rng.permutation(len(self._inputs)).tolist() + self._waiting
        chosen, self._waiting = self._waiting[-self.batch_size :], self._waiting[: -self.batch_size]
        return self.batch(chosen)

    def batch(self, chosen: Sequence[int]) -> Batch:
        """The examples with these numbers."""
        inputs = torch.nn.utils.rnn.pad_sequence([self._inputs[i] for i in chosen], True, self.padding)
        targets = [self._targets[i] for i in chosen]
        lengths = torch.tensor([len(self._inputs[i]) for i in chosen])
        if targets[0].ndim:
            return Batch(inputs, torch.nn.utils.rnn.pad_sequence(targets, True, IGNORED), lengths=lengths)
        return Batch(inputs, torch.stack(targets), lengths=lengths)

    def position(self) -> dict[str, Any]:
        return {"waiting": list(self._waiting), "rng": self._rng.bit_generator.state}

    def restore(self, position: dict[str, Any]) -> None:
        self._waiting = list(position["waiting"])
        self._rng.bit_generator.state = position["rng"]

    def data_hash(self) -> str:
        return content_hash("examples", self._inputs, self._targets)


def _check_sizes(batch_size: int, length: int) -> None:
    if batch_size < 1:
        raise bad("batch_size", "be at least 1", batch_size)
    if length < 1:
        raise bad("length", "be at least 1 token", length)
