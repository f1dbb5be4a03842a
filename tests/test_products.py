"""Products by oneDNN are the products of float64 to float32's precision, and so are their gradients."""

import time

import pytest
import torch

from neurolm import products
from neurolm.lm.transformer import gelu, linear_gelu


@pytest.fixture(params=["every product", "as shipped"])
def threshold(request, monkeypatch):
    if request.param == "every product":
        monkeypatch.setattr(products, "_SMALL", 0)
        monkeypatch.setattr(products, "_SMALL_ROW", 0)


def off_by(x, reference):
    return float((x.detach().double() - reference.detach()).abs().max() / reference.detach().abs().max())


def operand(rows, columns, transposed, generator):
    x = torch.randn(columns if transposed else rows, rows if transposed else columns, generator=generator)
    return x.T if transposed else x


@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("shape", [(300, 200, 150), (20, 400, 300), (400, 30, 200), (1, 1500, 1400), (1, 600, 700)])
def test_matmul_is_the_product(threshold, shape, a_transposed, b_transposed):
    m, k, n = shape
    generator = torch.Generator().manual_seed(0)
    a, b = operand(m, k, a_transposed, generator), operand(k, n, b_transposed, generator)
    assert off_by(products.matmul(a, b), a.double() @ b.double()) < 2e-6


@pytest.mark.parametrize("bias", [True, False])
def test_linear_and_its_gradients(threshold, bias):
    generator = torch.Generator().manual_seed(1)
    x, w, b = (torch.randn(shape, generator=generator) for shape in [(3, 100, 96), (160, 96), (160,)])
    upstream = torch.randn(3, 100, 160, generator=generator)
    inputs = [t.requires_grad_() for t in ([x, w, b] if bias else [x, w])]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    y, reference = products.linear(*inputs), torch.nn.functional.linear(*exact)
    assert off_by(y, reference) < 2e-6
    ours, theirs = torch.autograd.grad(y, inputs, upstream), torch.autograd.grad(reference, exact, upstream.double())
    assert all(off_by(g, r) < 2e-6 for g, r in zip(ours, theirs, strict=True))


def test_a_weight_that_lies_transposed_and_a_slice_of_rows(threshold):
    generator = torch.Generator().manual_seed(2)
    x, w = torch.randn(5, 80, 128, generator=generator), torch.randn(128, 300, generator=generator)
    assert off_by(products.linear(x[:, 7:60], w.T), x[:, 7:60].double() @ w.double()) < 2e-6


@pytest.mark.parametrize("transposed", [False, True])
def test_a_weight_with_gaps_is_as_fast_as_any(threshold, transposed):
    """oneDNN takes it too, by a reference implementation that is a thousand times slower."""
    generator = torch.Generator().manual_seed(3)
    x, w = torch.randn(256, 512, generator=generator), operand(600, 1100, transposed, generator)[10:522, 30:1054]
    started = time.perf_counter()
    y = products.matmul(x, w)
    assert time.perf_counter() - started < 1  # 3 s by the reference implementation, 2 ms by the other
    assert off_by(y, x.double() @ w.double()) < 2e-6


def test_gelu_in_one_pass_is_gelu(threshold):
    layer = products.Linear(96, 384)
    x = torch.randn(70, 96)
    with torch.no_grad():
        assert (
            off_by(
                linear_gelu(x, layer), gelu(torch.nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double()))
            )
            < 5e-6
        )


def test_nothing_and_float64_go_where_torch_sends_them():
    assert products.linear(torch.zeros(0, 8), torch.zeros(4, 8)).shape == (0, 4)
    x = torch.randn(300, 300, dtype=torch.float64)
    assert torch.equal(products.matmul(x, x), x @ x)


@pytest.mark.skipif(not products.has_onednn(), reason="this processor has no AVX-512, or this torch no such operation")
def test_it_can_be_turned_off_and_gives_the_same_bytes_twice():
    x, w = torch.randn(300, 200), torch.randn(500, 200)
    assert products.uses_onednn(x, w)
    assert torch.equal(products.linear(x, w), products.linear(x, w))
    with products.without_onednn():
        assert torch.equal(products.linear(x, w), torch.nn.functional.linear(x, w))
