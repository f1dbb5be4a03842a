"""The cache of a transformers model as a `State` (nested tuples, batch first), and back.

A state is (tokens read (B,) int64, one tuple per block). A block's tuple holds its keys and
values (B, heads, S, d), and for blocks with linear attention or a state space the convolution
and recurrent states; blocks that keep nothing have an empty one. States are never written to:
a cache made from one grows by concatenation or works on a copy.
"""

from __future__ import annotations

from typing import Any

import torch

from neurolm.lm.language_model import State


def cache_to_state(cache: Any, seen: torch.Tensor, n_blocks: int) -> State:
    """What the first `n_blocks` blocks keep, after `seen` (B,) tokens."""
    return seen, tuple(_layer_to_tuple(layer) for layer in cache.layers[:n_blocks])


def state_to_cache(state: State, config: Any) -> Any:
    """A fresh `DynamicCache` for a model of this config, holding `state`; None is an empty one."""
    from transformers import DynamicCache

    cache = DynamicCache(config=config)
    if state is None:
        return cache
    seen, blocks = state
    for layer, tensors in zip(cache.layers, blocks, strict=False):
        _fill_layer(layer, tensors, int(seen[0]))
    return cache


def _layer_to_tuple(layer: Any) -> tuple[torch.Tensor, ...]:
    kept = []
    if getattr(layer, "keys", None) is not None:
        kept += [layer.keys, layer.values]
    for states in (getattr(layer, "conv_states", {}), getattr(layer, "recurrent_states", {})):
        kept += [tensor for tensor in states.values() if tensor is not None]
    return tuple(kept)


def _fill_layer(layer: Any, tensors: tuple[torch.Tensor, ...], n_seen: int) -> None:
    rest = list(tensors)
    if rest and hasattr(layer, "update"):  # keeps keys and values
        keys, values = rest.pop(0), rest.pop(0)
        layer.dtype, layer.device = keys.dtype, keys.device
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        if hasattr(layer, "_sliding_window_tensor"):
            layer.cumulative_length = n_seen
    if not rest:
        return
    n_states = layer.number_of_states
    for index, tensor in enumerate(rest[:n_states]):
        layer.lazy_initialization(conv_states=tensor, state_idx=index)
        layer.conv_states[index] = tensor.clone()
        layer.has_previous_state[index] = True
    for index, tensor in enumerate(rest[n_states:]):
        layer.lazy_initialization(recurrent_states=tensor, state_idx=index)
        layer.recurrent_states[index] = tensor.clone()
        layer.has_previous_state[index] = True
