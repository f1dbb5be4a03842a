import numpy as np
import pytest

from neurolm.brain.preprocess import zscore_run
from neurolm.checks import InputError
from neurolm.datasets import Dataset, fetch_dataset, list_datasets, load_dataset, simulate_subject
from neurolm.datasets.simulated import DELAYS, REGIONS, planted_design
from neurolm.temporal import delay_run


def smooth_design(n_trs=4000, n_features=5, delays=(0, 1, 2, 3)):
    features = np.random.default_rng(0).standard_normal((n_trs, n_features))
    return delay_run(features, list(delays))


# --- simulate_subject -----------------------------------------------------------------------------------------


def test_planted_weights_are_what_least_squares_finds():
    X = smooth_design(20000)
    subject = simulate_subject(X, 8, snr=1.0, n_delays=4, seed=1)
    found = np.linalg.lstsq(X, subject.bold, rcond=None)[0]
    assert np.corrcoef(found.ravel(), subject.weights.ravel())[0, 1] > 0.99
    np.testing.assert_allclose(X @ subject.weights, subject.signal)


def test_a_perfect_model_reaches_the_explainable_correlation():
    snr = np.array([0.0, 0.05, 0.5, 5.0])
    subject = simulate_subject(smooth_design(50000), 4, snr=snr, n_delays=4)
    np.testing.assert_allclose(subject.explainable_correlation, np.sqrt(snr / (1 + snr)))
    reached = [np.corrcoef(subject.signal[:, v], subject.bold[:, v])[0, 1] for v in (1, 2, 3)]
    np.testing.assert_allclose(reached, subject.explainable_correlation[1:], atol=0.02)
    assert (subject.signal[:, 0] == 0).all()
    np.testing.assert_allclose(subject.bold.std(0), 1, atol=0.03)


def test_noise_has_the_stated_autocorrelation_and_begins_anew_with_each_run():
    X = np.ones((60000, 1)).cumsum(0) % 7
    subject = simulate_subject(X, 3, snr=0, ar1=0.6, run_onsets=[0, 30000])
    noise = subject.bold
    lag1 = [np.corrcoef(noise[:-1, v], noise[1:, v])[0, 1] for v in range(3)]
    np.testing.assert_allclose(lag1, 0.6, atol=0.02)
    many = simulate_subject(np.arange(4.0)[:, None], 50000, snr=0, ar1=0.9, run_onsets=[0, 2]).bold
    assert np.corrcoef(many[0], many[1])[0, 1] == pytest.approx(0.9, abs=0.01)
    assert np.corrcoef(many[1], many[2])[0, 1] == pytest.approx(0, abs=0.02)
    np.testing.assert_allclose(many.std(1), 1, atol=0.02)


def test_weights_have_low_rank_over_features_and_one_bump_over_delays():
    subject = simulate_subject(smooth_design(n_features=12), 30, n_delays=4, rank=3)
    weights = subject.weights.reshape(4, 12, 30)
    assert np.linalg.matrix_rank(weights.sum(0)) == 3
    profile = np.abs(weights).sum(1)  # (n_delays, n_voxels)
    signs = np.sign(np.diff(profile, axis=0))
    assert all((np.diff(column) <= 0).all() for column in signs.T)


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (simulate_subject(smooth_design(100), 4, n_delays=4, seed=seed).bold for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_given_weights_are_planted_up_to_scale():
    X = smooth_design(500)
    weights = np.random.default_rng(1).standard_normal((20, 6))
    subject = simulate_subject(X, 6, weights=weights, snr=2.0)
    ratio = subject.weights / weights
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape))
    np.testing.assert_allclose(subject.signal.var(0), 2 / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_delays": 3}, "n_delays must divide the 20 columns"),
        ({"snr": -1}, "snr must be finite and >= 0"),
        ({"ar1": 1.0}, r"ar1 must lie in \[0, 1\)"),
        ({"weights": np.ones((3, 4))}, r"weights must have shape .* here \(20, 4\)"),
        ({"run_onsets": [0, 100]}, r"run_onsets must lie in \[0, n_trs\), here \[0, 100\)"),
    ],
)
def test_impossible_simulations_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        simulate_subject(smooth_design(100), 4, **options)


def test_impossible_designs_are_refused():
    for design, message in [
        (np.ones(5), "have shape"),
        (np.ones((9, 2)), "a column that changes"),
        (np.full((9, 2), np.nan), "finite"),
    ]:
        with pytest.raises(InputError, match=message):
            simulate_subject(design, 2)


# --- the simulated data set ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated():
    return load_dataset("simulated")


def test_it_says_that_it_is_simulated(simulated):
    assert isinstance(simulated, Dataset)
    assert simulated.is_simulated
    assert simulated.info.is_simulated
    assert "SIMULATED" in simulated.check()[0].what
    with pytest.raises(InputError, match="made in memory"):
        fetch_dataset("simulated")
    assert {info.name for info in list_datasets()} >= {"alice", "simulated"}


def test_story_and_runs_fit_each_other(simulated):
    story, run = simulated.transcript(), simulated.bold("sim01")
    assert 1500 <= len(story) <= 2000
    assert story.sentences[-1] + 1 == 125
    assert story.paragraphs[-1] + 1 == 24
    assert run.data.shape == (len(run.tr_times), 9)
    assert run.space.names == REGIONS
    assert run.tr_times[0] < story.onsets[0]
    assert run.tr_times[-1] > story.offsets[-1] + 8
    assert 140 < len(story) / (story.offsets[-1] - story.onsets[0]) * 60 < 190


def test_listeners_share_the_signal_and_not_the_noise(simulated):
    runs = np.array([zscore_run(simulated.bold(s)).data for s in simulated.subjects()])
    pairs = np.triu_indices(8, 1)
    isc = np.array([np.corrcoef(runs[:, :, k])[pairs].mean() for k in range(9)])
    expected = [float(simulated.truth[region].explainable_correlation[0] ** 2) for region in REGIONS]
    np.testing.assert_allclose(isc, expected, atol=0.04)
    assert expected[-1] == 0


def test_a_regions_own_time_constant_predicts_it_best(simulated):
    """The planted truth is found: ridge with 6 x 4 features on one half, scored on the other, mean listener."""
    story, mean = simulated.transcript(), simulated.mean_listener()
    train, test = np.arange(len(mean.data)) < 170, np.arange(len(mean.data)) >= 180
    scores = {}
    for tau in (1, 4, 16, 64):
        X = planted_design(story, mean.tr_times, tau)
        W = np.linalg.solve(X[train].T @ X[train] + 10 * np.eye(X.shape[1]), X[train].T @ mean.data[train])
        predicted = X[test] @ W
        scores[tau] = [np.corrcoef(predicted[:, k], mean.data[test, k])[0, 1] for k in range(9)]
    for region in ("1w-strong", "4w-strong", "16w-strong", "64w-strong"):
        best = max(scores, key=lambda tau: scores[tau][REGIONS.index(region)])
        assert best == int(region.split("w")[0])
        assert scores[best][REGIONS.index(region)] > 0.6
    assert max(abs(score[-1]) for score in scores.values()) < 0.25
    assert len(DELAYS) * 6 == X.shape[1]


def test_seed_and_number_of_listeners_are_options():
    first, again, other = (load_dataset("simulated", seed=seed, n_subjects=2) for seed in (0, 0, 1))
    assert first.subjects() == ["sim01", "sim02"]
    assert first.bold("sim02").content_hash() == again.bold("sim02").content_hash() != other.bold("sim02").content_hash()
    with pytest.raises(InputError, match="subject must be one of 'sim01', 'sim02'; got sim03"):
        first.bold("sim03")
    with pytest.raises(InputError, match="n_subjects must be a whole number from 1 to 10,000"):
        load_dataset("simulated", n_subjects=0)
