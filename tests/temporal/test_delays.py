import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.temporal import delay_run


def test_impulse_moves_by_its_delay():
    x = np.zeros((6, 2))
    x[1, 0] = 1
    delayed = delay_run(x, [0, 1, 3])
    assert delayed.shape == (6, 6)
    assert np.argwhere(delayed).tolist() == [[1, 0], [2, 2], [4, 4]]


def test_torch_gives_the_same_as_numpy():
    x = np.random.default_rng(0).standard_normal((7, 3))
    np.testing.assert_array_equal(delay_run(torch.tensor(x), [1, 2]).numpy(), delay_run(x, [1, 2]))


@pytest.mark.parametrize("delays", [[-1], [6], [1, 1], [], [0.5]])
def test_impossible_delays_are_refused(delays):
    with pytest.raises(InputError, match="Delays are in TRs, not in seconds"):
        delay_run(np.zeros((6, 1)), delays)
