import itertools

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LSTM, RNN, MultiTimescaleLSTM, Transformer, WordTokenizer
from neurolm.lm.rnn import RNNLayer
from neurolm.training.experiments.gradients import bptt, fresh_gradients, gradient_norm_by_lag

T = 12


@pytest.fixture
def problem():
    torch.manual_seed(0)
    layer = RNNLayer(3, 5).double()
    return layer, torch.randn(4, T, 3, dtype=torch.float64), torch.randn(4, T, 5, dtype=torch.float64)


def autograd(layer, x, upstream):
    """Gradients of sum(upstream * h) for W, U and b by automatic differentiation."""
    cell = layer.cell
    h = layer.inspect(x)
    return torch.autograd.grad((h * upstream).sum(), [cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0])


def assert_close(found, expected, rtol=1e-10):
    for ours, theirs in zip(found, expected):
        assert (ours - theirs).norm() <= rtol * theirs.norm()


def test_bptt_by_hand_equals_autograd(problem):
    layer, x, upstream = problem
    assert_close(bptt(layer, x, upstream).total(), autograd(layer, x, upstream))


def test_the_layer_passes_gradcheck(problem):
    layer, x, _ = problem
    assert torch.autograd.gradcheck(lambda x: layer.inspect(x), x[:2, :4].requires_grad_())


@pytest.mark.parametrize("window", [T, T + 5])
def test_a_window_as_long_as_the_series_is_full_bptt(problem, window):
    layer, x, upstream = problem
    assert_close(bptt(layer, x, upstream, window=window).total(), autograd(layer, x, upstream))


@pytest.mark.parametrize("window", [1, 3, 7])
def test_truncated_bptt_equals_autograd_through_a_detached_past(problem, window):
    layer, x, upstream = problem
    h = layer.inspect(x).detach()
    expected = [torch.zeros_like(p) for p in autograd(layer, x, upstream)]
    for t in range(T):  # each error alone, through the last `window` steps
        start = max(0, t - window + 1)
        past = h[:, start - 1] if start else None
        recent = layer.inspect(x[:, start : t + 1], past)[:, -1]
        weights = [layer.cell.weight_ih_l0, layer.cell.weight_hh_l0, layer.cell.bias_ih_l0]
        for total, part in zip(expected, torch.autograd.grad((recent * upstream[:, t]).sum(), weights)):
            total += part
    truncated = bptt(layer, x, upstream, window=window)
    assert_close(truncated.total(), expected)
    full = bptt(layer, x, upstream)
    assert_close((truncated.w, truncated.u, truncated.b), (full.w[:window], full.u[:window], full.b[:window]))
    assert (truncated.u.sum(0) - full.u.sum(0)).norm() > 1e-3 * full.u.sum(0).norm(), "truncation does change it"


def test_no_gradient_crosses_a_detached_state():
    tokenizer = WordTokenizer([f"w{i}" for i in range(10)])
    lm = LSTM(tokenizer, 8, 1)
    ids = torch.randint(0, 10, (2, 10), generator=torch.Generator().manual_seed(0))
    first = lm.step(ids[:, :5])
    from neurolm.lm.language_model import detach_state

    second = lm.step(ids[:, 5:], detach_state(first.state))
    (gradient,) = torch.autograd.grad(second.logits.sum(), first.hidden[0], allow_unused=True)
    assert gradient is None
    joined = lm.step(ids[:, 5:], first.state)
    (gradient,) = torch.autograd.grad(joined.logits.sum(), first.hidden[0])
    assert gradient.abs().min() > 0


def slope(lm):
    """Decades per step for standard normal inputs."""
    torch.manual_seed(0)
    torch.nn.init.normal_(lm.embedding.weight)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 50, (16, 42)))
    return gradient_norm_by_lag(lm, ids).decades_per_step()


def test_gradients_vanish_fastest_in_the_rnn_then_the_lstm_then_with_a_high_forget_bias():
    tokenizer = WordTokenizer([f"w{i}" for i in range(48)])
    rnn = slope(RNN(tokenizer, 128, 1))
    lstm, biased, high = (slope(LSTM(tokenizer, 128, 1, forget_bias=bias)) for bias in (None, 1.0, 5.0))
    assert rnn < lstm < biased < high
    assert [rnn, lstm, biased, high] == pytest.approx([-0.34, -0.22, -0.09, 0.0], abs=0.02)
    assert slope(MultiTimescaleLSTM(tokenizer, 128, 1, timescales=[np.geomspace(50, 1000, 128)])) > -0.02
    assert abs(slope(Transformer(tokenizer, 128, 2, 4, 64))) < 0.02, "attention reaches every token in one step"


def test_the_order_holds_with_every_seed():
    found = fresh_gradients(width=64, n_tokens=42, seeds=(0, 1, 2))
    slopes = {name: [one.decades_per_step() for one in each] for name, each in found.items()}
    order = ["RNN", "LSTM", "LSTM, forget bias 1", "LSTM, forget bias 5"]
    assert all(len(each) == 3 for each in slopes.values())
    for faster, slower in itertools.pairwise(order):
        assert max(slopes[faster]) < min(slopes[slower])


def test_a_linear_chain_has_the_gradient_that_its_weights_say():
    tokenizer = WordTokenizer(["a", "b"], unknown=None, eos=None)
    lm = RNN(tokenizer, 1, 1, tied=False).double()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.zero_()
        lm.layers[0].cell.weight_hh_l0.fill_(0.5)
        lm.layers[0].cell.weight_ih_l0.fill_(1.0)
        lm.head.weight[0] = 1.0
    found = gradient_norm_by_lag(lm, torch.zeros(1, 12, dtype=torch.int64))
    np.testing.assert_allclose(found.norms, 0.5 * 0.5**found.lags, rtol=1e-12)
    assert found.decades_per_step(0, 10) == pytest.approx(np.log10(0.5))


def test_impossible_input_is_refused():
    lm = LSTM(WordTokenizer(["a"]), 4, 1)
    with pytest.raises(InputError, match="at least 3 tokens"):
        gradient_norm_by_lag(lm, torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="trainable=True"):
        gradient_norm_by_lag(lm.requires_grad_(False), torch.zeros(2, 5, dtype=torch.int64))
