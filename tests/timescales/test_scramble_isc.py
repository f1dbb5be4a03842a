import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.stimuli import scramble
from neurolm.timescales.scramble_isc import scramble_isc, unscramble_bold

from .planted import TR, Bank, tell

STORY = tell(900)
TAUS = (2.0, 30.0)


def bold(transcript, times, lag_s=5.0):
    """The bank's state about 5 s ago: (n_trs, 2 scales)."""
    values = Bank(TAUS, per_scale=1).extract(transcript).values
    values = (values - values.mean(0)) / values.std(0)
    weights = np.exp(-0.5 * ((times[:, None] - lag_s - transcript.mid_times) / 1.5) ** 2)
    smooth = weights @ values / (weights.sum(1, keepdims=True) + 1e-9)
    return smooth / smooth.std(0)


def listeners(signal, n, seed, noise=1.0):
    return signal + noise * np.random.default_rng(seed).normal(size=(n, *signal.shape))


@pytest.fixture(scope="module")
def heard():
    times = np.arange(0, STORY.offsets[-1], TR)
    groups = {}
    for i, size in enumerate((4, 16, 64, 256)):
        changed = scramble(STORY, size, np.random.default_rng(i))
        data = listeners(bold(changed.transcript, times), 12, 10 + i)
        groups[size] = unscramble_bold(data, changed, STORY, times, times)
    intact = listeners(bold(STORY, times), 12, 1)
    noise = np.random.default_rng(5).normal(size=(12, len(times), 1))
    return np.concatenate([intact, noise], axis=2), {
        size: np.concatenate([group, noise[::-1]], axis=2) for size, group in groups.items()
    }


def test_slow_voxels_need_longer_pieces(heard):
    result = scramble_isc(*heard, n_null=200, n_bootstrap=50)
    assert result.valid[:2].all()
    fast, slow = result.index[:2]
    assert slow > 2 * fast


def test_voxels_that_listeners_do_not_share_have_no_window(heard):
    assert np.isnan(scramble_isc(*heard, n_null=200, n_bootstrap=10).index[2])


def test_unscrambling_brings_a_memoryless_response_back():
    times = np.arange(0, STORY.offsets[-1], 0.05)
    changed = scramble(STORY, 5, np.random.default_rng(0))
    position = np.searchsorted(STORY.onsets, times - 5, side="right") - 1
    heard = np.searchsorted(changed.transcript.onsets, times - 5, side="right") - 1
    data = np.where(heard >= 0, changed.source_index[np.maximum(heard, 0)], -1)[:, None].astype(float)
    back = unscramble_bold(data, changed, STORY, times, times)[:, 0]
    known = np.isfinite(back) & (position >= 0)
    assert known.mean() > 0.9
    assert np.mean(np.abs(back[known] - position[known]) < 0.5) > 0.85  # the rest lies between two words


def test_one_listener_is_refused(heard):
    intact, groups = heard
    with pytest.raises(InputError, match="at least two subjects"):
        scramble_isc(intact[:1], groups)


def test_other_numbers_of_trs_are_refused(heard):
    intact, groups = heard
    with pytest.raises(InputError, match="unscramble_bold"):
        scramble_isc(intact[:, :-1], groups)
