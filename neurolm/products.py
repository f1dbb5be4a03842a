"""Matrix products in float32 by the fastest exact kernel of this processor.

Torch sends `torch.mm` and `nn.Linear` to MKL, whose AVX-512 kernels are kept for processors of one maker: on
the others it runs at half their speed. Torch also carries oneDNN, whose kernels use what the processor has, but
calls it only for recurrent layers and convolutions. Here the large float32 products on a CPU with AVX-512 go to
oneDNN; everything else goes where torch sends it. Which way a product goes depends on the machine and on the
shapes alone, so that the same input gives the same bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

_SMALL = 2_000_000  # multiplications below which the call costs more than it saves
_SMALL_ROW = 300_000  # the same where x is a single row, as in generation: there reading the weights is all the work


def has_onednn() -> bool:
    """Whether large float32 products go to oneDNN on this machine."""
    return _enabled


def _is_available() -> bool:
    if not torch.backends.mkldnn.is_available() or "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return False
    try:
        return torch.equal(onednn_linear(torch.eye(2), torch.eye(2), None), torch.eye(2))
    except (AttributeError, RuntimeError, TypeError):  # not a public operation: another torch may have another form
        return False


def onednn_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, then: str = "none") -> torch.Tensor:
    """x (..., k) with weight (n, k): (..., n).

    What lies in memory with gaps is copied, and so is a transposed `x`; a transposed `weight` is not. oneDNN
    itself takes a weight with gaps, but by a reference implementation that is a thousand times slower.
    """
    if not (weight.is_contiguous() or weight.T.is_contiguous()):
        weight = weight.T.contiguous().T if weight.stride(0) < weight.stride(1) else weight.contiguous()
    y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "tanh" if then == "gelu" else "")
    return y


_enabled = _is_available()


@contextlib.contextmanager
def without_onednn() -> Iterator[None]:
    """Send every product where torch sends it, inside `with`: to compare, and to count operations."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def uses_onednn(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether the product of x (..., k) and weight (n, k) goes to oneDNN."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() * weight.shape[0] >= (_SMALL_ROW if x.numel() == x.shape[-1] else _SMALL)
        and has_onednn()
        and not torch.is_autocast_enabled("cpu")
    )


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a (m, k) @ b (k, n) without gradients: (m, n). Either may be a transpose; the result may be one, too."""
    if not uses_onednn(a, b.T):
        return a @ b
    if a.is_contiguous() or (a.numel() <= b.numel() and not b.T.is_contiguous()):
        return onednn_linear(a, b.T, None)
    return onednn_linear(b.T, a, None).T


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`torch.nn.functional.linear`: x (..., k) with weight (n, k) and bias (n,) -> (..., n); with gradients."""
    if not uses_onednn(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)):
        y: torch.Tensor = _LinearWithGradient.apply(x, weight, bias)
        return y
    return onednn_linear(x, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear` by `linear`: the same parameters, the same names."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight, self.bias)


class _LinearWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            matmul(rows, weight).view_as(x) if of_x else None,
            matmul(rows.T, x.flatten(0, -2)) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )
