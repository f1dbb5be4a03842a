"""Attention: each token asks (query), every earlier token answers (key) and gives (value).

    output = softmax(q k^T / sqrt(d)) v

References
----------
Vaswani et al. (2017), Attention is all you need, NeurIPS.

Letters: B batch, T tokens that ask, S tokens that are asked (past ones included), D width,
h heads, d = D / h.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.checks import bad
from neurolm.products import Linear

KeysValues = tuple[torch.Tensor, torch.Tensor]  # each (B, h, S, d)


def scaled_dot_product_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention written out, with its weights.

    Parameters
    ----------
    q : (..., T, d)
    k : (..., S, d)
    v : (..., S, d_v)
    mask : bool, broadcastable to (..., T, S), optional
        True where a token may look; None lets all look everywhere.

    Returns
    -------
    output : (..., T, d_v)
    weights : (..., T, S)
        Each row sums to 1; exactly 0 where the mask is False.

    Raises
    ------
    InputError
        If a token may look nowhere: its weights would be 0 / 0.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        if mask.dtype != torch.bool:
            raise bad("mask", "be boolean, True where a token may look", mask.dtype)
        if not bool(mask.any(-1).all()):
            raise bad("mask", "let every token look at one at least", "a row without any", "Let padding see itself.")
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


def causal_mask(n_queries: int, n_keys: int, device: torch.device | None = None) -> torch.Tensor:
    """(T, S) True where key s is not later than query t; the queries are the last of the keys."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


class CausalSelfAttention(nn.Module):
    """Several heads side by side, none of which sees the future.

    Parameters
    ----------
    width, n_heads : int
        D and h; each head is D / h wide.
    bias : bool
    dropout : float
        Of the attention weights while training.
    """

    def __init__(self, width: int, n_heads: int, *, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        if width % n_heads:
            raise bad("width", f"be a multiple of n_heads, here {n_heads}", width)
        self.n_heads, self.dropout = n_heads, dropout
        self.qkv = Linear(width, 3 * width, bias=bias)
        self.out = Linear(width, width, bias=bias)

    def forward(self, x: torch.Tensor, past: KeysValues | None = None) -> tuple[torch.Tensor, KeysValues]:
        """x (B, T, D) and what was read before -> (B, T, D) and all keys and values (B, h, S, d); torch's fused kernel."""
        q, k, v = self._project(x, past)
        n_queries, n_keys = q.shape[2], k.shape[2]
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=causal_mask(n_queries, n_keys, x.device) if 1 < n_queries < n_keys else None,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=1 < n_queries == n_keys,
        )
        return self.out(y.transpose(1, 2).flatten(2)), (k, v)

    def at(self, x: torch.Tensor, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """What `forward` gives without a past at the places (rows[i], places[i]) of x only, (n, D); no dropout."""
        q, k, v = self._project(x, None)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # everywhere: that is less than to gather each place's past
        return self.out(y[rows, :, places].flatten(1))

    def weights(self, x: torch.Tensor, past: KeysValues | None = None) -> torch.Tensor:
        """Who looks where, (B, h, T, S); the explicit equation."""
        q, k, v = self._project(x, past)
        return scaled_dot_product_attention(q, k, v, causal_mask(q.shape[2], k.shape[2], x.device))[1]

    def _project(self, x: torch.Tensor, past: KeysValues | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        q, k, v = (part.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2) for part in self.qkv(x).split(x.shape[2], dim=2))
        if past is not None:
            k, v = append(past[0], k), append(past[1], v)
        return q, k, v


class _Room:
    """A tensor with free space behind what is written."""

    def __init__(self, past: torch.Tensor, n_more: int) -> None:
        rows, heads, n_past, width = past.shape
        self.tensor = past.new_empty(rows, heads, 2 * (n_past + n_more), width)
        self.tensor[:, :, :n_past] = past
        self.n_written = n_past


def append(past: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """`past` (B, h, S, d) and then `new` (B, h, T, d), without copying the past again and again.

    What is returned is the front of a larger tensor, and the next call writes behind it; `past` itself
    never changes. Two continuations of the same past are both right: the second finds the space taken and
    copies. With gradients it is `torch.cat`.
    """
    if torch.is_grad_enabled():
        return torch.cat([past, new], dim=2)
    n_past, n_new = past.shape[2], new.shape[2]
    room = getattr(past, "room", None)
    if room is None or room.n_written != n_past or n_past + n_new > room.tensor.shape[2]:
        room = _Room(past, n_new)
    room.tensor[:, :, n_past : n_past + n_new] = new
    room.n_written = n_past + n_new
    both: Any = room.tensor[:, :, : n_past + n_new]
    both.room = room
    return both
