"""The transformer, decoder only: GPT-2's design.

    x = token embedding + position embedding
    x = x + attention(norm(x))          } n_layers times
    x = x + mlp(norm(x))                }
    logits = norm(x) E^T                E are the token embeddings (tied)

References
----------
Vaswani et al. (2017), Attention is all you need, NeurIPS. Radford et al. (2019), Language models
are unsupervised multitask learners.

Letters: B batch, T tokens, S tokens seen so far with these, V vocabulary, D width, h heads, d = D / h.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.checks import bad
from neurolm.lm.attention import CausalSelfAttention, KeysValues
from neurolm.lm.language_model import LMOutput, State, check_ids, check_layers, check_state_depth, hash_weights
from neurolm.lm.tokenizer import Tokenizer
from neurolm.products import Linear, linear, onednn_linear, uses_onednn


class Block(nn.Module):
    """Attention between tokens, then a small network within each; both add to the stream."""

    def __init__(self, width: int, n_heads: int, *, mlp_width: int, bias: bool, eps: float, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=eps, bias=bias)
        self.attention = CausalSelfAttention(width, n_heads, bias=bias, dropout=dropout)
        self.norm_2 = nn.LayerNorm(width, eps=eps, bias=bias)
        self.mlp_in = Linear(width, mlp_width, bias=bias)
        self.mlp_out = Linear(mlp_width, width, bias=bias)
        self.dropout = dropout

    def forward(self, x: torch.Tensor, past: KeysValues | None = None) -> tuple[torch.Tensor, KeysValues]:
        """(B, T, D) -> (B, T, D), and the keys and values (B, h, S, d)."""
        y, kept = self.attention(self.norm_1(x), past)
        x = x + _drop(y, self.dropout, self.training)
        return x + _drop(self._mlp(x), self.dropout, self.training), kept

    def at(self, x: torch.Tensor, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """What `forward` gives without a past at the places (rows[i], places[i]) of x only, (n, D); no dropout."""
        y = x[rows, places] + self.attention.at(self.norm_1(x), rows, places)
        return y + self._mlp(y)

    def _mlp(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp_out(linear_gelu(self.norm_2(x), self.mlp_in))


def _drop(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    return F.dropout(x, p) if training and p > 0 else x


class Transformer(nn.Module):
    """A decoder-only transformer as a `LanguageModel`.

    State: (tokens read (B,) int64, (keys, values) of each block, each (B, h, S, d)).

    Parameters
    ----------
    tokenizer : Tokenizer
    width, n_layers, n_heads : int
    max_context : int
        Positions that are learned: no state can hold more tokens.
    n_rows : int, optional
        Rows of the embedding, and so of the predictions; the tokenizer's vocabulary if not given.
        Published models often have some more (a multiple of 64), and sometimes fewer.
    mlp_width : int, optional
        4 * width if not given.
    dropout : float
        Of embeddings, attention weights and what each block adds, while training.
    bias : bool
        Whether linear maps and norms have biases; GPT-2 has them.
    eps : float
        Of the layer norms.
    seed : int
        Of the initial weights.
    name : str
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        width: int = 256,
        n_layers: int = 4,
        n_heads: int = 4,
        max_context: int = 256,
        *,
        n_rows: int | None = None,
        mlp_width: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        eps: float = 1e-5,
        seed: int = 0,
        name: str = "transformer",
    ) -> None:
        super().__init__()
        if min(width, n_layers, n_heads, max_context) < 1:
            raise bad("width, n_layers, n_heads and max_context", "be at least 1", (width, n_layers, n_heads, max_context))
        if not 0 <= dropout < 1:
            raise bad("dropout", "lie in [0, 1)", dropout)
        self.name, self.tokenizer, self.n_layers, self.max_context = name, tokenizer, n_layers, max_context
        self.dropout = dropout
        self.n_rows = n_rows or tokenizer.vocab_size
        mlp_width = mlp_width or 4 * width
        self.config: dict[str, Any] = {
            "kind": "Transformer",
            "vocab_size": tokenizer.vocab_size,
            "width": width,
            "n_layers": n_layers,
            "n_heads": n_heads,
            "max_context": max_context,
            "mlp_width": mlp_width,
            "dropout": dropout,
            "bias": bias,
            "eps": eps,
        }
        if self.n_rows != tokenizer.vocab_size:
            self.config["n_rows"] = self.n_rows
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(self.n_rows, width)
            self.positions = nn.Embedding(max_context, width)
            self.blocks = nn.ModuleList(
                Block(width, n_heads, mlp_width=mlp_width, bias=bias, eps=eps, dropout=dropout) for _ in range(n_layers)
            )
            self.norm = nn.LayerNorm(width, eps=eps, bias=bias)
            self._draw_weights()

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def step(
        self,
        ids: torch.Tensor,
        state: State = None,
        layers: Sequence[int] | None = None,
        *,
        logits: bool = True,
    ) -> LMOutput:
        """See `LanguageModel.step`."""
        wanted = check_layers(layers, self.n_layers)
        n_run = self.n_layers if logits else max(wanted, default=0)
        seen, past = self._past(ids, state, n_run)
        x = self._embed(ids, seen)
        hidden: list[torch.Tensor | None] = [x if 0 in wanted else None]
        kept = []
        for index in range(n_run):
            x, keys_values = self.blocks[index](x, past[index])
            kept.append(keys_values)
            hidden.append(x if index + 1 in wanted else None)
        if n_run == self.n_layers:
            x = self.norm(x)
            hidden[-1] = x if self.n_layers in wanted else None
        hidden += [None] * (self.n_layers - n_run)
        scores = self.predict(x) if logits else None
        return LMOutput(scores, tuple(hidden), (seen + ids.shape[1], tuple(kept)))

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `Predicts.predict`."""
        return linear(hidden, self.embedding.weight)

    def hidden_at(
        self, ids: torch.Tensor, rows: torch.Tensor, places: torch.Tensor, layers: Sequence[int]
    ) -> dict[int, torch.Tensor]:
        """See `HiddenAt.hidden_at`."""
        wanted = check_layers(layers, self.n_layers)
        seen, _ = self._past(ids, None, 0)
        x = self._embed(ids, seen)
        found = {0: x[rows, places]}
        for layer in range(1, max(wanted)):
            x, _ = self.blocks[layer - 1](x)
            if layer in wanted:
                found[layer] = x[rows, places]
        if (top := max(wanted)) > 0:
            block = self.blocks[top - 1]
            assert isinstance(block, Block)
            last = block.at(x, rows, places)
            found[top] = self.norm(last) if top == self.n_layers else last
        return {layer: found[layer] for layer in wanted}

    def attention(
        self, ids: torch.Tensor, layers: Sequence[int] | None = None, state: State = None
    ) -> tuple[torch.Tensor | None, ...]:
        """Attention weights while reading ids (B, T).

        Parameters
        ----------
        ids : (B, T) int64
        layers : blocks 1..n_layers to return; None is all
        state : from an earlier step

        Returns
        -------
        weights : n_layers entries, (B, h, T, S) for blocks asked for, else None; entry l - 1 is
            what block l looked at: [b, h, t, s] is how much token t takes from token s
        """
        wanted = range(1, self.n_layers + 1) if layers is None else check_layers(layers, self.n_layers)
        seen, past = self._past(ids, state, self.n_layers)
        x = self._embed(ids, seen)
        maps: list[torch.Tensor | None] = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            maps.append(block.attention.weights(block.norm_1(x), past[index]) if index + 1 in wanted else None)
            x, _ = block(x, past[index])
        return tuple(maps)

    def weights_hash(self) -> str:
        return hash_weights(self.state_dict(), self.config)

    def _embed(self, ids: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        if self.tokenizer.vocab_size > self.n_rows:
            check_ids(ids, self.n_rows, self.name, self.tokenizer)
        at = seen[:, None] + torch.arange(ids.shape[1], device=ids.device)  # (B, T)
        return _drop(self.embedding(ids) + self.positions(at), self.dropout, self.training)

    def _past(self, ids: torch.Tensor, state: State, n_run: int) -> tuple[torch.Tensor, Sequence[KeysValues | None]]:
        """Tokens read before (B,), and keys and values per block."""
        if state is None:
            seen, past, n_before = ids.new_zeros(ids.shape[0]), [None] * n_run, 0
        else:
            seen, past = state
            check_state_depth(past, n_run)
            n_before = past[0][0].shape[2] if past else int(seen.max())
        if n_before + ids.shape[1] > self.max_context:
            total = n_before + ids.shape[1]
            raise bad("ids", f"fit in {self.max_context} tokens with what was read before", total, "Begin again, or shorten.")
        return seen, past

    def _draw_weights(self) -> None:
        """GPT-2's initial weights: 0.02, and less where the blocks add to the stream."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() > 1:
                adds = name.endswith(("attention.out.weight", "mlp_out.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * self.n_layers) if adds else 0.02)


C, A = 2 * math.sqrt(2 / math.pi), 0.044715
FEW = 16_384  # numbers; below that one call of torch is faster than several


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The activation of every number in x."""
    if x.device.type != "cpu" or x.numel() < FEW or x.dtype not in (torch.float32, torch.float64):
        return F.gelu(x, approximate="tanh")
    return _Gelu.apply(x)


def linear_gelu(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """`gelu(layer(x))`; without gradients in one pass over memory, where oneDNN has it."""
    if torch.is_grad_enabled() or not uses_onednn(x, layer.weight):
        return gelu(layer(x))
    return onednn_linear(x, layer.weight, layer.bias, "gelu")


class _Gelu(torch.autograd.Function):
    """x s with s = sigmoid(u) and u = c x + c a x^3, so d/dx = s + x s (1 - s) (c + 3 c a x^2)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        s = torch.addcmul(x.new_tensor(C), x, x, value=C * A).mul_(x).sigmoid_()
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, s = ctx.saved_tensors
        slope = torch.addcmul(x.new_tensor(C), x, x, value=3 * C * A).mul_(x)
        slope.addcmul_(slope, s, value=-1)  # x (1 - s) (c + 3 c a x^2)
        return torch.addcmul(s, s, slope).mul_(gradient)
