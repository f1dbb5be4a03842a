import math

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.temporal import lanczos_matrix


@pytest.mark.parametrize("lobes", [1, 3])
def test_agrees_with_the_closed_formula(lobes):
    rng = np.random.default_rng(0)
    words, trs = np.sort(rng.uniform(0, 40, 60)), np.arange(0, 40, 2.0)
    weights = lanczos_matrix(words, trs, lobes)
    for i, t in enumerate(trs):
        for j, w in enumerate(words):
            u = (t - w) / 2.0
            if u == 0:
                expected = 1.0
            elif abs(u) > lobes:
                expected = 0.0
            else:
                expected = lobes * math.sin(math.pi * u) * math.sin(math.pi * u / lobes) / (math.pi * u) ** 2
            assert weights[i, j] == pytest.approx(expected, abs=1e-12)


def test_is_exactly_one_at_a_word_on_a_tr():
    assert lanczos_matrix([4.0], [0.0, 2.0, 4.0])[:, 0] == pytest.approx([0, 0, 1], abs=1e-15)


def test_times_that_do_not_rise_are_refused():
    with pytest.raises(InputError, match="to_times must hold at least two times and rise"):
        lanczos_matrix([1.0], [3.0])
