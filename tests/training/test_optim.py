import copy
import itertools
import math

import pytest
import torch
from torch import nn

from neurolm.checks import InputError
from neurolm.training.optim import OptimizerSettings, WeightAverage, build_optimizer, learning_rate, should_average


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))


def train(net, optimizer, n, after=lambda: None):
    torch.manual_seed(1)
    for _ in range(n):
        optimizer.zero_grad()
        net(torch.randn(16, 4)).square().sum().backward()
        optimizer.step()
        after()


def skip_first(update):
    """torch's ASGD forgets the first step: its weight is 1 / max(1, step - 1)."""
    calls = iter(range(1000))
    return lambda: update() if next(calls) else None


def test_matrices_decay_and_vectors_do_not():
    net = model()
    optimizer = build_optimizer(net, OptimizerSettings(lr=0.1, weight_decay=0.5))
    before = copy.deepcopy(net.state_dict())
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in net.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim == 2 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor, msg=name)


def test_frozen_weights_are_left_alone():
    net = model()
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    train(net, build_optimizer(net, OptimizerSettings(lr=0.1, weight_decay=0.5)), 3)
    assert torch.equal(net[0].weight, before)
    with pytest.raises(InputError, match="Unfreeze"):
        build_optimizer(net.requires_grad_(False), OptimizerSettings())


def test_warm_up_then_cosine_to_the_floor():
    settings = OptimizerSettings(lr=1.0, warmup=10, schedule="cosine", min_lr=0.1)
    rates = [learning_rate(step, 110, settings) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    constant = OptimizerSettings(lr=0.3)
    assert {learning_rate(step, 10, constant) for step in range(10)} == {0.3}


def test_averaged_weights_equal_torch_asgd():
    ours, theirs = model(), model()
    settings = OptimizerSettings(kind="asgd", lr=0.01, weight_decay=1e-3)
    optimizer = build_optimizer(ours, settings)
    train(ours, optimizer, 5)
    train(theirs, torch.optim.SGD(theirs.parameters(), lr=0.01, weight_decay=1e-3), 5)
    average = WeightAverage(ours)
    train(ours, optimizer, 20, skip_first(average.update))
    asgd = torch.optim.ASGD(theirs.parameters(), lr=0.01, weight_decay=1e-3, lambd=0, t0=0)
    train(theirs, asgd, 20)
    for (name, mean), parameter in zip(average.means.items(), theirs.parameters()):
        torch.testing.assert_close(ours.get_parameter(name), parameter, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(mean, asgd.state[parameter]["ax"], rtol=1e-4, atol=1e-5)


def test_swapping_twice_changes_no_bit():
    net = model()
    average = WeightAverage(net)
    train(net, build_optimizer(net, OptimizerSettings()), 3, average.update)
    weights = copy.deepcopy(net.state_dict())
    means = copy.deepcopy(average.means)
    average.swap()
    assert all(torch.equal(net.get_parameter(name), mean) for name, mean in means.items())
    average.swap()
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in weights.items())


def test_averaging_begins_when_the_loss_stops_falling():
    falling = [5.0, 4.0, 3.0, 2.0, 1.9, 1.8]
    assert not any(should_average(falling[:n], 3) for n in range(1, 7))
    stuck = [5.0, 4.0, 3.0, 3.1, 3.2, 3.3, 3.4]
    triggered = [n for n in range(1, 8) if should_average(stuck[:n], 3)]
    assert triggered[0] == 7, "the newest loss is above the best of all but the last three before it"


@pytest.mark.parametrize(
    "settings", [{"kind": "adam"}, {"lr": 0}, {"lr": math.nan}, {"schedule": "linear"}, {"warmup": -1}, {"min_lr": 1.0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="must"):
        OptimizerSettings(**settings)


@pytest.mark.parametrize("settings", [{"lr": float("inf")}, {"weight_decay": float("nan")}, {"momentum": float("inf")}])
def test_settings_that_are_not_finite_are_refused(settings):
    with pytest.raises(InputError, match="must be"):
        OptimizerSettings(**settings)
