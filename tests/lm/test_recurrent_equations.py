"""The written-out equations against torch's kernels, autograd, and hand-made back-propagation."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from neurolm.checks import InputError
from neurolm.lm import LSTM, MultiTimescaleLSTM, RecurrentDropout, WordTokenizer
from neurolm.lm.dropout import embed_with_dropout, locked_dropout
from neurolm.lm.lstm import LSTMLayer, lstm_gates
from neurolm.lm.mt_lstm import TimescaleLSTMLayer, forget_bias_of, inverse_gamma_timescales, published_timescales
from neurolm.lm.rnn import RNNLayer

TOKENIZER = WordTokenizer([f"word{i}" for i in range(38)])


@pytest.fixture
def x():
    return torch.randn(4, 200, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def stack(make, n_inputs=12, width=16):
    return [make(n_inputs, width), make(width, width)]


@pytest.mark.parametrize(
    ("make", "oracle"),
    [(RNNLayer, lambda: nn.RNN(12, 16, 2, batch_first=True)), (LSTMLayer, lambda: nn.LSTM(12, 16, 2, batch_first=True))],
    ids=["rnn", "lstm"],
)
def test_two_layers_equal_torchs_over_200_steps(make, oracle, x):
    """Values within 1e-6, gradients within 1e-5 of their size, fused and written out."""
    layers, theirs = stack(make), oracle()
    ours = [weight for layer in layers for weight in layer.cell.all_weights[0]]
    with torch.no_grad():
        for mine, their in zip(ours, [weight for weights in theirs.all_weights for weight in weights]):
            mine.copy_(their)
    expected, _ = theirs(x)
    expected.square().sum().backward()

    h = fused = x
    for layer in layers:
        fused = layer(fused)[0]
        trace = layer.inspect(h)
        h = trace if isinstance(trace, torch.Tensor) else trace.h
    assert (fused - expected).abs().max() <= 1e-6
    assert (h - expected).abs().max() <= 1e-6
    h.square().sum().backward()
    for mine, their in zip(ours, [weight for weights in theirs.all_weights for weight in weights]):
        assert (mine.grad - their.grad).norm() <= 1e-5 * their.grad.norm()


@pytest.mark.parametrize("make", [RNNLayer, LSTMLayer], ids=["rnn", "lstm"])
@pytest.mark.parametrize("training", [False, True])
def test_chunks_equal_the_whole(make, training, x):
    """By bits when nothing is trained; torch's training kernel of the LSTM rounds differently."""
    layer = make(12, 16)
    with torch.set_grad_enabled(training):
        whole, _ = layer(x)
        first, state = layer(x[:, :70])
        second, _ = layer(x[:, 70:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-6 if training else 0, rtol=0)


def test_hand_made_backpropagation_through_time_equals_autograd(x):
    """dh_t/dh_{t-1} = diag(1 - h_t^2) U, walked back by hand in float64."""
    layer = RNNLayer(12, 16).double()
    x = x[:2, :30].double()
    h = layer.inspect(x)
    target = torch.randn(2, 30, 16, dtype=torch.float64)
    (h * target).sum().backward()

    _, u, _, _ = layer.cell.all_weights[0]
    states = torch.cat([torch.zeros(2, 1, 16, dtype=torch.float64), h.detach()], 1)
    grad_u, arriving = torch.zeros(16, 16, dtype=torch.float64), torch.zeros(2, 16, dtype=torch.float64)
    for t in reversed(range(30)):
        inside = (target[:, t] + arriving) * (1 - states[:, t + 1] ** 2)
        grad_u += inside.T @ states[:, t]
        arriving = inside @ u.detach()
    assert (u.grad - grad_u).norm() <= 1e-10 * grad_u.norm()


def test_the_lstm_equations_pass_gradcheck():
    w, u, b, d = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((8, 3), (8, 2), (8,), (8,)))
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda *a: lstm_gates(a[0], (a[1], a[2]), a[3:]).h, (x, h, c, w, u, b, d))


def test_the_gates_of_a_model_are_those_it_computes_with():
    lm = LSTM(TOKENIZER, 24, 3, embedding_width=10).eval()
    ids = torch.randint(0, 40, (2, 30), generator=torch.Generator().manual_seed(0))
    before = lm.step(ids[:, :10])
    gates, out = lm.gates(ids[:, 10:], before.state), lm.step(ids[:, 10:], before.state)
    assert len(gates) == 3
    for trace, hidden, (h, c) in zip(gates, out.hidden[1:], out.state):
        torch.testing.assert_close(trace.h, hidden, atol=1e-6, rtol=0)
        torch.testing.assert_close(trace.c[:, -1], c, atol=1e-6, rtol=0)
        torch.testing.assert_close(trace.h[:, -1], h, atol=1e-6, rtol=0)
        torch.testing.assert_close(trace.c[:, 1:], trace.f[:, 1:] * trace.c[:, :-1] + trace.i[:, 1:] * trace.g[:, 1:])
    assert gates[2].f.shape == (2, 20, 10)


def test_the_forget_bias_is_set_and_only_that():
    torch.manual_seed(3)
    plain = LSTMLayer(5, 4)
    torch.manual_seed(3)
    biased = LSTMLayer(5, 4, forget_bias=2.0)
    (_, _, b, d), (_, _, b0, d0) = biased.cell.all_weights[0], plain.cell.all_weights[0]
    assert (b[4:8] == 2).all()
    assert (d[4:8] == 0).all()
    for new, old in ((b, b0), (d, d0)):
        assert torch.equal(new[:4], old[:4])
        assert torch.equal(new[8:], old[8:])


def test_timescales_of_constant_gates_are_read_back():
    layer = TimescaleLSTMLayer(3, [0.5, 2.0, 10.0, 300.0])
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.weight_hh.zero_()
    gates = layer.inspect(torch.randn(2, 50, 3))
    np.testing.assert_allclose(gates.timescales().detach(), [0.5, 2.0, 10.0, 300.0], rtol=1e-4)


def test_an_impulse_decays_with_its_units_timescale():
    """Zero weights, something in the cell: it falls as e^(-t/T), through the kernel that trains."""
    timescales = np.array([1.0, 3.0, 20.0, 200.0])
    layer = TimescaleLSTMLayer(3, timescales)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
    state, cells = (torch.zeros(1, 4), torch.ones(1, 4)), []
    for _ in range(60):
        _, state = layer(torch.zeros(1, 1, 3), state)
        cells.append(state[1][0].detach())
    expected = np.exp(-np.arange(1, 61)[:, None] / timescales)
    np.testing.assert_allclose(torch.stack(cells), expected, rtol=1e-4, atol=1e-7)


def test_bias_and_timescale_are_each_others_inverse():
    t = torch.tensor([0.2, 1.0, 4.0, 1000.0], dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(forget_bias_of(t)), torch.exp(-1 / t))


def test_the_bank_is_the_inverse_gammas_quantiles_and_finite():
    """F(T) = Q(alpha, scale / T) at evenly spaced quantiles, cut to the range."""
    from scipy.special import gammaincc

    bank = inverse_gamma_timescales(99, longest=1000.0)
    inside = (bank > 0.2) & (bank < 1000)
    np.testing.assert_allclose(gammaincc(0.56, 1 / bank[inside]), (np.arange(1, 100) / 100)[inside], atol=1e-9)
    assert bank.min() >= 0.2
    assert bank.max() <= 1000
    assert (np.diff(bank) >= 0).all()
    first, second, third = published_timescales(1150, 3, last_width=400, longest=1000.0)
    assert (np.unique(first, return_counts=True)[1] == 575).all()
    assert forget_bias_of(torch.as_tensor(second)).isfinite().all()
    assert third is None


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_input_and_forget_biases_stay_as_they_are(optimizer):
    """Even under weight decay; everything else moves."""
    lm = MultiTimescaleLSTM(TOKENIZER, 24, 3)
    before = {name: tensor.clone() for name, tensor in lm.state_dict().items()}
    ids = torch.randint(0, 40, (4, 20))
    step = optimizer(lm.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        lm.step(ids).logits.logsumexp(-1).sum().backward()
        step.step()
    after = lm.state_dict()
    for name in before:
        fixed = name.endswith(("fixed_bias", "timescales"))
        assert torch.equal(before[name], after[name]) == fixed, name
        assert after[name].isfinite().all()
    gates = lm.gates(ids)
    assert gates[0].f.shape == (4, 20, 24)


def test_the_timescale_layer_computes_the_same_fused_and_written_out(x):
    layer = TimescaleLSTMLayer(12, np.linspace(0.2, 50, 16))
    torch.testing.assert_close(layer.inspect(x).h, layer(x)[0], atol=1e-6, rtol=0)


def test_an_infinite_or_vanishing_timescale_is_refused():
    for wrong in ([1.0, math.inf], [1.0, 0.0]):
        with pytest.raises(InputError, match=r"finite and at least 0\.2"):
            TimescaleLSTMLayer(3, wrong)
    with pytest.raises(InputError, match="one entry for each of its 24 units"):
        MultiTimescaleLSTM(TOKENIZER, 24, 1, timescales=[[1.0, 2.0]])


def test_locked_dropout_has_one_mask_for_all_times():
    dropped = locked_dropout(torch.ones(50, 7, 40), 0.3, training=True)
    assert (dropped == dropped[:, :1]).all()
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert abs(float((dropped == 0).float().mean()) - 0.3) < 0.05
    assert locked_dropout(dropped, 0.3, training=False) is dropped


def test_embedding_dropout_drops_whole_words():
    out = embed_with_dropout(torch.arange(500)[None], torch.ones(500, 6), 0.2, training=True)[0]
    assert (out == out[:, :1]).all()
    assert 0.1 < float((out[:, 0] == 0).float().mean()) < 0.3


def test_weight_dropout_drops_recurrent_weights_only():
    """With a zero state after one token, U does not matter; after two it does."""
    layer = LSTMLayer(12, 16, weight_dropout=0.5)
    x = torch.randn(3, 2, 12)
    first, second = layer(x)[0], layer(x)[0]
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.equal(first[:, 1], second[:, 1])
    assert RecurrentDropout().weights == 0
