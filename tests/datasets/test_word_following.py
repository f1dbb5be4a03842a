"""Which words does the BOLD of a run follow?"""

import numpy as np
import pytest

from neurolm.brain import BoldRun, Unplaced
from neurolm.datasets.alignment_check import check_study
from neurolm.datasets.word_following import expected_response
from neurolm.stimuli import Transcript

TR, N_TRS, N_VOXELS = 2.0, 150, 200


def speech(seed):
    rng = np.random.default_rng(seed)
    pace = np.cumsum(rng.standard_normal(1200)) / 8
    onsets = np.cumsum(0.28 * np.exp(0.4 * np.sin(pace)) + (rng.random(1200) < 0.05) * rng.exponential(1.5, 1200))
    onsets = onsets[onsets < TR * N_TRS - 12]
    return Transcript([f"{seed}-{i}" for i in range(len(onsets))], onsets, onsets + 0.2, name=f"story {seed}")


STORIES = [speech(seed) for seed in range(3)]


def measured(heard, seed, n_responding=60, shift_s=0.0, gain=0.4):
    rng = np.random.default_rng([seed, 1])
    times = TR * np.arange(N_TRS)
    response = expected_response(heard, times + TR / 2 - 5 - shift_s)
    data = rng.standard_normal((N_TRS, N_VOXELS))
    data[:, :n_responding] += gain * ((response - response.mean()) / response.std())[:, None]
    return BoldRun(data, times, Unplaced("test", N_VOXELS), subject=f"s{seed % 10}")


def study(told, n_subjects=1, **how):
    """Checks of the three stories where the BOLD of story i follows story told[subject][i]."""
    runs = [[measured(STORIES[told[s][i]], 10 * i + s, **how) for s in range(n_subjects)] for i in range(3)]
    return check_study(zip(STORIES, runs, strict=True))


def failed(checks):
    return [[f.name for f in check.failed] for check in checks]


@pytest.mark.parametrize("n_responding", [60, 4])
def test_sound_data_pass_also_where_few_voxels_respond(n_responding):
    checks = study([[0, 1, 2]] * 2, 2, n_responding=n_responding, gain=0.6)
    assert failed(checks) == [[], [], []]
    assert [{f.name: f.status for f in check.findings}["lag"] for check in checks] == ["ok"] * 3


def test_a_single_subject_s_exchanged_stories_are_named():
    checks = study([[1, 0, 2]])
    assert failed(checks) == [["words"], ["words"], []]
    (failure,) = checks[0].failed
    assert failure.message.startswith("the BOLD follows other words better than its own: s0: 'story 1' (r = 0.")


def test_one_subject_s_order_among_others_is_found():
    checks = study([[0, 1, 2], [1, 0, 2], [0, 1, 2]], 3, gain=0.7)
    assert failed(checks) == [["words"], ["words"], []]
    assert "s1: 'story 1'" in checks[0].failed[0].message
    assert "s0" not in checks[0].failed[0].message


def test_noise_is_called_neither_misaligned_nor_another_story():
    for seed in range(3):
        checks = study([[0, 1, 2]] * 2, 2, gain=0.0, n_responding=seed)
        assert failed(checks) == [[], [], []]


def test_a_repeat_of_the_story_is_not_another_story():
    again = STORIES[0].shifted(0.0)
    runs = [[measured(STORIES[0], 1)], [measured(STORIES[0], 2)], [measured(STORIES[1], 3)]]
    checks = check_study(zip([STORIES[0], again, STORIES[1]], runs, strict=True))
    assert failed(checks) == [[], [], []]


def test_native_spaces_choose_voxels_on_the_subject_s_own_runs():
    runs = [[measured(STORIES[i], 10 * i + s) for s in range(2)] for i in range(3)]
    own = [[BoldRun(r.data, r.tr_times, Unplaced(r.subject, N_VOXELS), r.subject) for r in row] for row in runs]
    assert failed(check_study(zip(STORIES, own, strict=True))) == [[], [], []]
