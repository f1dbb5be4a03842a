import math

import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import TimeSeriesModel

CORES = ["rnn", "lstm", "feed_forward"]
every_core = pytest.mark.parametrize("core", CORES)


def ar2(n_rows, n_times, seed, a=1.6, b=-0.8, noise=0.5, level=10.0):
    """y_t - level = a (y_{t-1} - level) + b (y_{t-2} - level) + noise; a damped oscillation kicked by noise."""
    source = torch.Generator().manual_seed(seed)
    y = torch.zeros(n_rows, n_times + 50)
    kicks = noise * torch.randn(n_rows, n_times + 50, generator=source)
    for t in range(2, n_times + 50):
        y[:, t] = a * y[:, t - 1] + b * y[:, t - 2] + kicks[:, t]
    return (level + y[:, 50:, None]).contiguous()


@every_core
def test_chunks_with_state_equal_the_whole(core):
    model, x = TimeSeriesModel(3, 2, core, width=8, n_layers=2, window=4), torch.randn(5, 20, 3)
    whole = model.step(x)
    assert whole.prediction.shape == (5, 20, 2)
    assert [hidden.shape for hidden in whole.hidden] == [(5, 20, 8)] * 2
    first = model.step(x[:, :7])
    second = model.step(x[:, 7:], first.state)
    joined = torch.cat([first.prediction, second.prediction], 1)
    torch.testing.assert_close(joined, whole.prediction, atol=1e-6, rtol=1e-5)
    assert torch.equal(model(x), whole.prediction)


@every_core
def test_a_prediction_never_depends_on_later_inputs(core):
    model, x = TimeSeriesModel(3, 2, core, width=8), torch.randn(5, 20, 3)
    other = x.clone()
    other[:, 12:] += 1
    assert torch.equal(model(x)[:, :12], model(other)[:, :12])
    assert not torch.equal(model(x)[:, 12:], model(other)[:, 12:])


def test_a_window_sees_its_n_steps_and_nothing_before():
    model, x = TimeSeriesModel(1, 1, "feed_forward", window=4), torch.randn(1, 20, 1)
    other = x.clone()
    other[:, 5] += 1
    changed = (model(x) != model(other)).flatten().nonzero().flatten().tolist()
    assert changed == [5, 6, 7, 8]


@every_core
def test_it_reaches_the_noise_floor_of_an_ar2_process(core):
    """The best possible one-step error is the noise variance, .25; persistence and AR(1) are far above."""
    torch.manual_seed(0)
    train, held_out = ar2(64, 60, seed=0), ar2(64, 60, seed=1)
    model = TimeSeriesModel(1, 1, core, width=16, window=4)
    model.fit_scale(train, train)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 250)
    for _ in range(250):
        loss = (model(train[:, :-1]) - train[:, 1:])[:, 5:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    def error(prediction):
        return float((prediction - held_out[:, 6:]).square().mean())

    with torch.no_grad():
        ours = error(model(held_out[:, :-1])[:, 5:])
    persistence = error(held_out[:, 5:-1])
    x, y = train[:, 5:-1].flatten() - 10, train[:, 6:].flatten() - 10
    ar1 = error(10 + (x @ y / (x @ x)) * (held_out[:, 5:-1] - 10))
    assert ours < 0.25 * 1.05
    assert ours < 0.6 * ar1 < 0.6 * persistence


@every_core
def test_running_freely_feeds_predictions_back(core):
    model, past = TimeSeriesModel(2, 2, core, width=8, window=3, seed=1), torch.randn(4, 15, 2)
    forecast = model.rollout(past, 6)
    assert forecast.shape == (4, 6, 2)
    seen = past
    with torch.no_grad():
        for _ in range(6):
            seen = torch.cat([seen, model(seen)[:, -1:]], 1)
    torch.testing.assert_close(forecast, seen[:, 15:], atol=1e-5, rtol=1e-5)


def test_a_perfect_model_of_a_sine_runs_freely_without_error():
    """y_t = 2 cos(w) y_{t-1} - y_{t-2}, planted in a window model at small scale, where tanh is linear."""
    model = TimeSeriesModel(1, 1, "feed_forward", width=1, window=2).double()
    w, small = 0.3, 1e-5
    with torch.no_grad():
        model.layers[0].linear.weight.copy_(small * torch.tensor([[-1.0, 2 * math.cos(w)]]))
        model.readout.weight.fill_(1 / small)
        model.layers[0].linear.bias.zero_()
        model.readout.bias.zero_()
    t = torch.arange(80, dtype=torch.float64)
    wave = torch.sin(w * t)[None, :, None]
    torch.testing.assert_close(model.rollout(wave[:, :30], 50), wave[:, 30:], atol=1e-5, rtol=0)


@every_core
def test_units_do_not_matter(core):
    """The same series in other units, with the scale fitted, gives the same predictions in those units."""
    x = ar2(4, 30, seed=0)
    plain, other = TimeSeriesModel(1, 1, core), TimeSeriesModel(1, 1, core)
    plain.fit_scale(x, x)
    other.fit_scale(1000 * x - 7, 1000 * x - 7)
    torch.testing.assert_close(other(1000 * x - 7), 1000 * plain(x) - 7, rtol=1e-3, atol=0.5)
    assert "input_mean" in plain.state_dict()


def test_impossible_input_is_refused():
    model = TimeSeriesModel(3, 2)
    with pytest.raises(InputError, match=r"have the shape \(n_rows, n_times, 3\); got \(5, 3\)"):
        model.step(torch.zeros(5, 3))
    with pytest.raises(InputError, match="inputs must vary and be finite"):
        model.fit_scale(torch.ones(5, 4, 3), torch.randn(5, 4, 2))
    with pytest.raises(InputError, match="own next input"):
        model.rollout(torch.zeros(1, 2, 3), 4)
    with pytest.raises(InputError, match="core must be one of"):
        TimeSeriesModel(1, 1, "gru")
    with pytest.raises(InputError, match="sizes must be at least 1"):
        TimeSeriesModel(1, 0)


def test_the_seed_decides_the_weights():
    assert TimeSeriesModel(1, 1, seed=1).weights_hash() == TimeSeriesModel(1, 1, seed=1).weights_hash()
    assert TimeSeriesModel(1, 1, seed=1).weights_hash() != TimeSeriesModel(1, 1, seed=2).weights_hash()
