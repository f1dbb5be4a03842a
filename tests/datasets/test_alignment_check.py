import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.datasets.alignment_check import check_alignment
from neurolm.stimuli import Transcript
from neurolm.temporal import lanczos_matrix

TR, N_TRS, LAG_S = 2.0, 300, 6.0


def story(seed=0):
    rng = np.random.default_rng(seed)
    rate = 2.5 + 2 * np.sin(np.cumsum(rng.standard_normal(2000)) / 3)  # speech that hurries and lingers
    onsets = np.cumsum(1 / rate)
    onsets = onsets[onsets < TR * N_TRS - 5]
    return Transcript([f"w{i}" for i in range(len(onsets))], onsets, onsets + 0.1, name="test")


def runs(transcript, shift_s=0.0, noise=1.0):
    rng = np.random.default_rng(1)
    times = TR * np.arange(N_TRS)
    signal = lanczos_matrix(transcript.mid_times + LAG_S + shift_s, times + TR / 2).sum(1)
    signal = (signal - signal.mean()) / signal.std()
    data = [signal[:, None] + noise * rng.standard_normal((N_TRS, 2)) for _ in range(3)]
    return [BoldRun(d, times, Regions(("A", "B")), subject=f"s{i}") for i, d in enumerate(data)]


def status(check):
    return {finding.name: finding.status for finding in check.findings}


def test_the_planted_lag_is_found_and_everything_passes():
    check = check_alignment(story(), runs(story()))
    assert set(status(check).values()) == {"ok"}
    assert check.lags_s[check.lag_correlation.argmax()] == LAG_S
    assert check.p < 0.01
    assert check.words_per_tr.sum() == check.n_words


@pytest.mark.parametrize("shift_s", [-20.0, 20.0])
def test_a_shifted_story_fails_the_lag(shift_s):
    assert status(check_alignment(story(), runs(story(), shift_s)))["lag"] == "failed"


def test_another_storys_bold_has_no_lag_and_says_so():
    other = check_alignment(story(seed=5), runs(story(seed=9), noise=3.0))
    assert status(other)["lag"] in {"warning", "failed"}


def test_bold_that_is_much_longer_or_shorter_than_the_words_fails():
    assert status(check_alignment(story()[:200], runs(story())))["coverage"] == "failed"
    late = story().shifted(400)
    assert status(check_alignment(late, runs(story())))["coverage"] == "failed"


def test_word_times_in_milliseconds_fail_the_speech_rate():
    s = story()
    slow = Transcript(s.words, s.onsets * 1000, s.offsets * 1000)
    assert status(check_alignment(slow, runs(s)))["speech_rate"] == "failed"


def test_a_silent_listener_fails_and_a_constant_voxel_warns():
    listeners = runs(story())
    zero = BoldRun(np.zeros((N_TRS, 2)), listeners[0].tr_times, listeners[0].space, subject="zero")
    assert status(check_alignment(story(), [*listeners, zero]))["voxels"] == "failed"
    data = listeners[0].data.copy()
    data[:, 1] = 7
    assert status(check_alignment(story(), [listeners[0].with_data(data)]))["voxels"] == "warning"


def moved(run, subject, seconds=0.0, first=0, last=None):
    return BoldRun(run.data[first:last], run.tr_times[first:last] + seconds, run.space, subject=subject)


def test_rows_that_all_subjects_share_are_used_and_named():
    listeners = runs(story())
    short, late = moved(listeners[0], "short", last=-3), moved(listeners[1], "late", 0.014, first=2)
    check = check_alignment(story(), [*listeners, short, late])
    assert status(check)["rows"] == "warning"
    assert "the 295 rows from 4.00 s that all have are used" in str(check.findings)
    assert not check.failed
    assert (len(check.tr_times), check.tr_times[0]) == (N_TRS - 5, 4.0)
    assert np.isfinite(check.run_correlation).all()


def test_rows_between_those_of_the_others_fail_without_an_override():
    listeners = runs(story())
    (failure,) = check_alignment(story(), [*listeners, moved(listeners[0], "odd", 0.9)]).failed
    assert failure.name == "rows"
    assert failure.message.startswith("odd: row times of the runs of one story must lie on one grid within 0.1 TR")
    assert failure.remedy == "Analyse them apart: `subjects: [s0, s1, s2]` in one config, the others in another."


def test_silence_at_the_ends_is_legal_up_to_the_limit_that_the_design_takes():
    from neurolm.checks import InputError
    from neurolm.encoding import Design
    from neurolm.features import WordRate

    for cut in (story()[60:], story()[:-60]):
        (failure,) = check_alignment(cut, runs(cut)).failed
        assert failure.name == "coverage"
        needed = int(failure.remedy.split("set `design.max_gap_s: ")[1].split("`")[0])
        assert 20 < needed < 90
        assert not check_alignment(cut, runs(cut), max_gap_s=needed).failed
        features, run = WordRate().extract(cut), runs(cut)[0]
        Design.from_training([features], [run], max_gap_s=needed)
        with pytest.raises(InputError, match="cover the same time within"):
            Design.from_training([features], [run], max_gap_s=needed - 1)


def test_one_shifted_run_among_many_fails_by_its_name():
    listeners = runs(story())
    late = runs(story(), 20.0)[0]
    odd = BoldRun(late.data, late.tr_times, late.space, subject="late")
    check = check_alignment(story(), [*listeners, odd])
    assert status(check)["lag"] == "ok"  # the mean hides it
    (failure,) = check.failed
    assert failure.name == "runs"
    assert failure.message.startswith("late at 26 s (r = 0.")
    assert check.run_correlation.shape == (4, len(check.lags_s))


def test_runs_of_noise_are_not_called_odd():
    rng = np.random.default_rng(3)
    times, space = TR * np.arange(N_TRS), Regions(("A", "B"))
    noise = [BoldRun(rng.standard_normal((N_TRS, 2)), times, space, subject=f"n{i}") for i in range(20)]
    assert status(check_alignment(story(), noise))["runs"] == "ok"


def test_a_check_survives_the_way_through_json(tmp_path):
    from dataclasses import asdict

    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.storage import read_json, write_json

    check = check_alignment(story(), runs(story()))
    write_json(tmp_path / "check.json", asdict(check))
    again = AlignmentCheck.from_json(read_json(tmp_path / "check.json"))
    np.testing.assert_array_equal(again.run_bold, check.run_bold)
    assert again.findings == check.findings
    assert again.subjects == check.subjects


def test_a_subject_s_page_shows_the_lag_of_that_subject():
    from neurolm.report import StoryAlignment

    late = runs(story(), 20.0)[0]
    listeners = [*runs(story()), BoldRun(late.data, late.tr_times, late.space, subject="late")]
    check = check_alignment(story(), listeners)
    whole = StoryAlignment.from_check(check, story())
    own, other = whole.of_subject(check, "late"), whole.of_subject(check, "s0")
    assert list(whole.runs) == ["s0", "s1", "s2", "late"]
    assert (own.status, own.lags.best_lag_s, own.runs) == ("failed", LAG_S + 20, {})
    assert {f.name for f in own.findings} == {"coverage", "speech_rate", "silence", "voxels", "lag", "words"}
    assert (other.status, other.lags.best_lag_s) == ("ok", LAG_S)
    np.testing.assert_array_equal(own.bold_mean, check.run_bold[3])
