"""A language model is a state machine: `step(ids, state)` gives logits, hidden states and the next state.

The hidden state of an RNN, the (h, c) of an LSTM and the key/value cache of a transformer are
all *state*: nested tuples of tensors whose first dimension is the batch. So truncated
back-propagation detaches it, streaming keeps it, generation steps on what was sampled, and a
beam search reorders it, whatever the model.

Letters: B batch, T tokens, V vocabulary, D_l width of layer l.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

from neurolm.checks import bad
from neurolm.lm.tokenizer import Tokenizer

State = Any  # nested tuples of tensors, batch first; None is the state before anything was read


@dataclass(frozen=True)
class LMOutput:
    """What one step gives.

    logits : (B, T, V), or None when they were not asked for
    hidden : tuple of n_layers + 1 entries, (B, T, D_l) for layers asked for, None for others;
        0 is the embeddings, the last is after the final norm where the model has one
    state : what `step` needs to go on from here
    """

    logits: torch.Tensor | None
    hidden: tuple[torch.Tensor | None, ...]
    state: State


@runtime_checkable
class LanguageModel(Protocol):
    """What features, generation and decoding need of a model; nothing else may be assumed."""

    name: str
    tokenizer: Tokenizer
    n_layers: int  # hidden states are numbered 0 (embeddings) to n_layers
    max_context: int | None  # tokens that one state can hold; None is no limit

    @property
    def device(self) -> torch.device: ...

    def step(
        self,
        ids: torch.Tensor,
        state: State = None,
        layers: Sequence[int] | None = None,
        *,
        logits: bool = True,
    ) -> LMOutput:
        """Read tokens and move on.

        Parameters
        ----------
        ids : (B, T) int64
        state : from an earlier step, or None to begin
        layers : which hidden states to return; None is all. With `logits=False` no block above
            the highest one is computed.
        logits : False skips the output head.
        """
        ...

    def weights_hash(self) -> str:
        """SHA-256 of the weights: two models with the same hash give the same numbers."""
        ...


@runtime_checkable
class HiddenAt(Protocol):
    """What a model may offer beside `step`, where only a few places of a text are looked at."""

    def hidden_at(
        self, ids: torch.Tensor, rows: torch.Tensor, places: torch.Tensor, layers: Sequence[int]
    ) -> Mapping[int, torch.Tensor]:
        """Hidden states at some places of texts read from their beginning.

        Parameters
        ----------
        ids : (B, T) int64
        rows, places : (n,) int64
            Each place is ids[rows[i], places[i]].
        layers : which hidden states to return

        Returns
        -------
        hidden : {layer: (n, D_l)}
            What `step(ids).hidden[layer][rows, places]` is, within rounding, for less work: the highest
            block computes these places only, and no layer is kept whole.
        """
        ...


@runtime_checkable
class Predicts(Protocol):
    """What a model may offer where only some places of a text are predicted from."""

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """States of the last layer, as `step` returns them, (..., D) -> logits (..., V)."""
        ...


def map_state(function: Callable[[torch.Tensor], torch.Tensor], state: State) -> State:
    """Apply `function` to every tensor of a state."""
    if isinstance(state, torch.Tensor):
        return function(state)
    if isinstance(state, tuple):
        return tuple(map_state(function, part) for part in state)
    return state


def detach_state(state: State) -> State:
    """Cut the gradient: what truncated back-propagation does every k steps."""
    return map_state(torch.Tensor.detach, state)


def reorder_state(state: State, index: torch.Tensor) -> State:
    """Rows `index` of a state, in that order: what a beam search does after each word."""
    return map_state(lambda tensor: tensor.index_select(0, index.to(tensor.device)), state)


def check_layers(layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    """`layers` as a sorted tuple; negative numbers count from the last layer."""
    if layers is None:
        return tuple(range(n_layers + 1))
    resolved = []
    for layer in layers:
        if not -n_layers - 1 <= layer <= n_layers:
            raise bad("layer", f"lie in 0..{n_layers}", layer, f"This model has {n_layers} layers; 0 is the embeddings.")
        resolved.append(layer % (n_layers + 1))
    return tuple(sorted(set(resolved)))


def fit_to_tokenizer(scores: torch.Tensor, tokenizer: Tokenizer) -> torch.Tensor:
    """Scores (..., rows of the model) -> (..., tokens of the tokenizer).

    A model may have more rows than its tokenizer has tokens, a vocabulary padded to a multiple of 64 for
    example: they stand for nothing and are left out. Where it has fewer, the others cannot come: minus infinity.
    """
    n_more = tokenizer.vocab_size - scores.shape[-1]
    if n_more > 0:
        return torch.nn.functional.pad(scores, (0, n_more), value=-torch.inf)
    return scores[..., : tokenizer.vocab_size]


def check_ids(ids: torch.Tensor, n_rows: int, name: str, tokenizer: Tokenizer) -> None:
    """Refuse ids that the model has no embedding for, which a tokenizer with more tokens than the model gives."""
    largest = int(ids.max()) if ids.numel() else 0
    if largest >= n_rows:
        raise bad(
            "text",
            f"use tokens that {name} has (it has {n_rows}, its tokenizer {tokenizer.vocab_size})",
            f"token {largest}, {tokenizer.decode([largest])!r}",
            "Leave it out of the text, or give the model a row for it (resize_token_embeddings) and save it.",
        )


def check_state_depth(parts: Sequence[Any] | None, n_run: int) -> None:
    """Refuse a state that holds fewer layers than are to be computed."""
    if parts is not None and len(parts) < n_run:
        raise bad(
            "state",
            f"come from a step that computed the first {n_run} layers",
            f"one with {len(parts)}",
            "Ask for the same layers in every step.",
        )


def hash_weights(weights: Mapping[str, torch.Tensor], config: Mapping[str, object] | None = None) -> str:
    """SHA-256 over named tensors, as many at a time as torch has threads, and the settings that give them meaning."""
    digest = hashlib.sha256(json.dumps(config or {}, sort_keys=True, default=str).encode())
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for of_tensor in threads.map(lambda name: _hash_tensor(name, weights[name]), sorted(weights)):
            digest.update(of_tensor)
    return digest.hexdigest()


def _hash_tensor(name: str, tensor: torch.Tensor) -> bytes:
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.flatten().view(torch.uint8).numpy())  # type: ignore[arg-type]
    return digest.digest()
