"""Edge transients: planted ones are found, noise and the rows of a sound run are not."""

import numpy as np
import pytest

from neurolm.brain import BoldRun, Unplaced
from neurolm.brain.preprocess import trim_run
from neurolm.brain.transients import EdgeRows, edge_transients, mean_deviation, row_deviation
from neurolm.datasets import DatasetNotFound
from neurolm.datasets.alice import load_alice
from neurolm.encoding.crossval import run_folds
from neurolm.statistics import ar1_noise, circular_shifts

TR = 2.0


@pytest.fixture
def alice():
    try:
        return load_alice(download=False)
    except DatasetNotFound as error:
        pytest.skip(str(error))


def noise(seed, n_trs=300, n_columns=30):
    return ar1_noise(np.random.default_rng(seed).standard_normal((n_trs, n_columns)), 0.5)


def run_of(data):
    return BoldRun(data, TR * np.arange(len(data)), Unplaced("noise", data.shape[1]))


def blocks(n_trs):
    return [train for train, _ in run_folds([0], n_trs, 5, 5)]


def with_start(seed, size, n_rows=2, **shape):
    data = noise(seed, **shape)
    data[:n_rows] += size
    return run_of(data)


@pytest.mark.parametrize("size", [3, 6, 50])
def test_planted_rows_are_found_and_no_others_however_large_they_are(size):
    for seed in range(5):
        found = edge_transients([row_deviation(with_start(seed, size), 6)], TR, blocks(300))
        assert (found.start, found.end) == (2, 0)
        assert all(z > 5 for z in found.start_z)


def test_planted_rows_at_the_end_are_found():
    data = noise(0)
    data[-3:] -= 4
    assert edge_transients([row_deviation(run_of(data), 6)], TR, blocks(300)).end == 3


def test_noise_without_transients_is_left_alone():
    alarms = [bool(edge_transients([row_deviation(run_of(noise(seed, n_columns=6)), 6)], TR)) for seed in range(200)]
    assert sum(alarms) <= 1  # .005 at most


def test_at_most_a_tenth_of_a_run_is_looked_at():
    data = noise(0, n_trs=60)
    data[:30] += 100
    assert edge_transients([row_deviation(run_of(data))], TR).start <= 6


def test_a_run_that_is_only_predicted_has_no_say():
    sound, odd = row_deviation(run_of(noise(1)), 6), row_deviation(with_start(2, 8), 6)
    first, second = np.arange(300), np.arange(300, 600)
    assert edge_transients([sound, odd], TR, [first]) == EdgeRows()
    assert edge_transients([sound, odd], TR, [second]).start == 2
    assert edge_transients([sound, odd], TR, [first, second]) == EdgeRows()  # one of the folds does not show it
    both = [row_deviation(with_start(seed, 8), 6) for seed in (2, 3)]
    assert edge_transients(both, TR, [first, second]).start == 2


def test_the_rule_gives_the_same_rows_on_every_shift_of_what_it_leaves():
    data = with_start(0, 4, n_columns=6).data
    found = edge_transients([row_deviation(run_of(data), 6)], TR, blocks(300)).start
    for (lag,) in circular_shifts([300 - found], 50, 5, np.random.default_rng(0)):
        shifted = np.concatenate([data[:found], np.roll(data[found:], lag, axis=0)])
        assert edge_transients([row_deviation(run_of(shifted), 6)], TR, blocks(300)).start == found


def test_subjects_with_runs_of_other_lengths_are_counted_from_the_edge():
    runs = [with_start(seed, 3, n_trs=n, n_columns=6) for seed, n in enumerate((300, 290, 310))]
    deviation = mean_deviation(runs, 6)
    assert deviation.shape == (290,)
    assert edge_transients([deviation], TR).start == 2


def test_a_run_without_a_usable_column_is_not_judged():
    dead = run_of(np.zeros((100, 3)))
    assert np.isnan(row_deviation(dead)).all()
    assert edge_transients([row_deviation(dead)], TR) == EdgeRows()
    mixed = mean_deviation([dead, run_of(noise(0, n_trs=100))])
    assert np.isfinite(mixed).all()


def test_the_first_response_of_alice_is_found_and_the_rest_of_the_run_is_sound(alice):
    runs = [alice.bold(subject) for subject in alice.subjects()]
    found = edge_transients([mean_deviation(runs, 6)], TR, blocks(362))
    assert (found.start, found.end) == (2, 0)
    rest = [trim_run(run, 2) for run in runs]
    assert edge_transients([mean_deviation(rest, 6)], TR, blocks(360)) == EdgeRows()
