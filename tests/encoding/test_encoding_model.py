import subprocess
import sys

import numpy as np
import pytest

from neurolm.brain import BoldRun, VolumeMask
from neurolm.checks import FileError, InputError
from neurolm.encoding.design import Design
from neurolm.encoding.encoding_model import EncodingModel
from neurolm.features import Features
from neurolm.statistics import columnwise_correlation

pytestmark = pytest.mark.filterwarnings("ignore:.*extend alphas in that direction:UserWarning")  # the plant is strong

TR, N_TRS, DELAYS = 2.0, 200, (1, 2, 3, 4)
HRF = np.array([0.5, 1.0, 0.7, 0.2])
SPACE = VolumeMask(np.ones((2, 2, 2), dtype=bool), np.diag([4.0, 4, 4, 1]))


def story(rng, n_features=5):
    times = np.sort(rng.uniform(0, N_TRS * TR, 1000))
    return Features(rng.standard_normal((1000, n_features)).astype(np.float32), times, settings={"layer": 3})


@pytest.fixture(scope="module")
def planted():
    """Three stories; voxel responses are one HRF times planted feature weights, plus noise on all but the last story."""
    rng = np.random.default_rng(0)
    stories, times = [story(rng) for _ in range(4)], TR * np.arange(N_TRS)
    design = Design.from_training(stories[:3], [times] * 3, DELAYS)
    preferred = rng.standard_normal((5, 8))
    weights = np.concatenate([h * preferred for h in HRF])
    runs = []
    for i, one in enumerate(stories):
        data = design.transform(one, times) @ weights
        noise = rng.standard_normal(data.shape) if i < 3 else 0
        runs.append(BoldRun((data + noise).astype(np.float32), times, SPACE, "s1", f"story {i}"))
    return stories, runs, weights


@pytest.fixture(scope="module")
def fitted(planted):
    stories, runs, _ = planted
    return EncodingModel(alphas=(0.1, 10.0, 1000.0), delays=DELAYS).fit(stories[:3], runs[:3])


def test_planted_weights_are_recovered_and_a_new_story_predicted(planted, fitted):
    stories, runs, weights = planted
    assert columnwise_correlation(fitted.coef_, weights).min() > 0.99
    assert fitted.score(stories[3], runs[3]).min() > 0.995
    assert fitted.score(stories[3], runs[3], "r2").min() > 0.98
    assert fitted.design_.content_hash() == Design.from_training(stories[:3], runs[:3], DELAYS).content_hash()


def test_the_hrf_of_a_voxel_is_the_planted_one(fitted):
    for voxel in range(8):
        hrf = fitted.hrf(voxel)
        np.testing.assert_array_equal(hrf.times_s, [2, 4, 6, 8])
        assert np.corrcoef(hrf.response, HRF)[0, 1] > 0.99
        assert hrf.share > 0.98


def test_a_saved_model_predicts_the_same_bytes_after_loading_in_another_process(planted, fitted, tmp_path):
    stories, runs, _ = planted
    path = tmp_path / "model.h5"
    fitted.save(path, {"subject": "s1"})
    loaded = EncodingModel.load(path)
    expected = fitted.predict(stories[3], runs[3].tr_times)
    np.testing.assert_array_equal(loaded.predict(stories[3], runs[3].tr_times), expected)
    assert loaded.space_.n_voxels == 8
    assert loaded.inputs_ == fitted.inputs_
    assert loaded.settings() == fitted.settings()
    for (train, test), (train_again, test_again) in zip(fitted.folds_, loaded.folds_):
        np.testing.assert_array_equal(train, train_again)
        np.testing.assert_array_equal(test, test_again)
    np.savez(tmp_path / "story.npz", values=stories[3].values, times=stories[3].times, tr_times=runs[3].tr_times)
    code = (
        "import sys, numpy as np; from neurolm.encoding import EncodingModel; from neurolm.features import Features\n"
        "s = np.load(sys.argv[2]); m = EncodingModel.load(sys.argv[1])\n"
        "sys.stdout.buffer.write(m.predict(Features(s['values'], s['times']), s['tr_times']).tobytes())"
    )
    out = subprocess.run([sys.executable, "-c", code, path, tmp_path / "story.npz"], capture_output=True, check=True).stdout
    assert out == expected.tobytes()


def test_the_same_fit_saves_the_same_bytes(planted, fitted, tmp_path):
    stories, runs, _ = planted
    again = EncodingModel(alphas=(0.1, 10.0, 1000.0), delays=DELAYS).fit(stories[:3], runs[:3])
    fitted.save(tmp_path / "a.h5")
    again.save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_one_run_is_scored_across_blocks_with_penalties_chosen_inside(planted):
    stories, runs, _ = planted
    model = EncodingModel(alphas=(0.1, 10.0, 1000.0), n_folds=4)
    held = model.held_out(stories[:1], runs[:1])
    assert held.fold_scores.shape == (4, 8)
    signal = runs[0].data.var(0) - 1
    np.testing.assert_allclose(held.scores, np.sqrt(signal / (signal + 1)), atol=0.08)
    assert not hasattr(model, "coef_")


def test_what_the_model_was_fitted_on_is_kept(planted, fitted):
    stories, runs, _ = planted
    assert [i["story"] for i in fitted.inputs_] == ["story 0", "story 1", "story 2"]
    assert fitted.inputs_[0]["bold_sha256"] == runs[0].content_hash()
    assert fitted.inputs_[0]["features_sha256"] == stories[0].content_hash()
    assert fitted.inputs_[0]["features"] == {"layer": 3}


@pytest.mark.filterwarnings("ignore:1 of 8 targets:UserWarning")
def test_a_constant_voxel_predicts_nan_and_has_no_hrf(planted):
    stories, runs, _ = planted
    data = runs[0].data.copy()
    data[:, 2] = 0
    model = EncodingModel(alphas=(0.1, 10.0)).fit(stories[:1], [runs[0].with_data(data)])
    assert np.isnan(model.predict(stories[3], runs[3].tr_times)).all(0).tolist() == [False] * 2 + [True] + [False] * 5
    assert np.isnan(model.score(stories[3], runs[3])[2])
    with pytest.raises(InputError, match="voxel must be one with weights; got 2, constant or not finite in training"):
        model.hrf(2)


def test_misuse_is_refused(planted, fitted, tmp_path):
    stories, runs, _ = planted
    with pytest.raises(InputError, match="this EncodingModel must be fitted first"):
        EncodingModel().predict(stories[0], runs[0].tr_times)
    (tmp_path / "not.h5").write_text("x")
    with pytest.raises(FileError, match="is not a whole HDF5 file"):
        EncodingModel.load(tmp_path / "not.h5")
    with pytest.raises(FileError, match="no such file"):
        EncodingModel.load(tmp_path / "none.h5")
    data = fitted.design_.stack(stories[:1], runs[:1])
    other = Design.from_training(stories[:1], runs[:1], [1, 2])
    with pytest.raises(InputError, match="data must come from this design"):
        EncodingModel().fit_data(other, data)


def test_a_permuted_stimulus_predicts_at_chance(planted):
    stories, runs, _ = planted
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(5):
        shuffled = [Features(rng.permutation(s.values), s.times) for s in stories]
        model = EncodingModel(alphas=(10.0, 1000.0), delays=DELAYS).fit(shuffled[:3], runs[:3])
        scores.append(model.score(shuffled[3], runs[3]))
    assert abs(np.mean(scores)) < 0.06  # 40 voxel scores, each with a standard deviation of about .1 over slow rows
