import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.encoding.design import Design, EncodingData
from neurolm.features import Features, join
from neurolm.storage import read_h5, write_h5
from neurolm.temporal import lanczos_matrix

SPACE = Regions(("A", "B"))


def story(rng, n_words=120, duration=80.0, n_features=3, dtype=np.float64):
    times = np.sort(rng.uniform(0, duration, n_words))
    times[0], times[-1] = 0.1, duration
    return Features(rng.standard_normal((n_words, n_features)).astype(dtype) + 2, times)


def bold(rng, start=10.0, n_trs=34, tr=2.0):
    return BoldRun(rng.standard_normal((n_trs, 2)), start + tr * np.arange(n_trs), SPACE, "s1", "story")


def test_columns_are_lanczos_at_mid_tr_moved_by_each_delay():
    rng = np.random.default_rng(0)
    features, run = story(rng), bold(rng)
    design = Design.from_training([features], [run], delays=[1, 3])
    X = design.transform(features, run.tr_times)
    for block, delay in enumerate([1, 3]):
        seen = lanczos_matrix(features.times, run.tr_times + 1.0 - 2.0 * delay) @ features.values
        np.testing.assert_allclose(X[:, 3 * block : 3 * block + 3], (seen - design.mean) / design.std, atol=1e-12)


def test_undelayed_training_columns_have_mean_0_and_sd_1():
    rng = np.random.default_rng(0)
    features, runs = [story(rng), story(rng)], [bold(rng), bold(rng, start=0.0, n_trs=40)]
    design = Design.from_training(features, runs, delays=[0])
    X = design.stack(features, runs, dtype=np.float64).X
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(0), 1, atol=1e-12)


def test_matrix_and_moments_give_exactly_the_transform():
    rng = np.random.default_rng(0)
    features, run = story(rng), bold(rng)
    design = Design.from_training([features], [run], delays=[0, 2, 4])
    A = design.matrix(features.times, run.tr_times)
    affine = np.concatenate([(a @ features.values - design.mean) / design.std for a in A], axis=1)
    np.testing.assert_allclose(affine, design.transform(features, run.tr_times), atol=1e-12)


def test_transform_is_affine_in_the_word_features():
    rng = np.random.default_rng(0)
    first, run = story(rng), bold(rng)
    second = Features(rng.standard_normal(first.values.shape), first.times)
    mixed = Features(0.3 * first.values + 0.7 * second.values, first.times)
    design = Design.from_training([first], [run])
    parts = 0.3 * design.transform(first, run.tr_times) + 0.7 * design.transform(second, run.tr_times)
    np.testing.assert_allclose(design.transform(mixed, run.tr_times), parts, atol=1e-12)


def test_words_before_the_first_row_drive_it_through_the_delays():
    rng = np.random.default_rng(0)
    features, run = story(rng), bold(rng, start=20.0, n_trs=30)
    design = Design.from_training([features], [run], delays=[4])
    values = features.values.copy()
    early = (features.times > 12) & (features.times < 14)  # the mid-TR of row 0, four TRs earlier, is 13 s
    values[early] += 1
    moved = design.transform(Features(values, features.times), run.tr_times)
    assert (np.abs(moved - design.transform(features, run.tr_times))[0] > 0.1).all()


def test_delays_never_cross_runs():
    rng = np.random.default_rng(0)
    features, runs = [story(rng), story(rng)], [bold(rng), bold(rng)]
    design = Design.from_training(features, runs)
    data = design.stack(features, runs)
    changed = Features(features[0].values + rng.standard_normal(features[0].values.shape), features[0].times)
    after = design.stack([changed, features[1]], runs)
    assert data.run_onsets.tolist() == [0, 34]
    np.testing.assert_array_equal(data.X[34:], after.X[34:])
    assert not np.array_equal(data.X[:34], after.X[:34])


def test_later_words_beyond_the_kernel_change_nothing_earlier():
    rng = np.random.default_rng(0)
    features, run = story(rng), bold(rng)
    design = Design.from_training([features], [run])
    values = features.values.copy()
    values[features.times > 60] = 9
    X, changed = (design.transform(f, run.tr_times) for f in (features, Features(values, features.times)))
    unaffected = run.tr_times + 1 - 2 + 6 < 60  # mid-TR, shortest delay, three lobes of 2 s
    np.testing.assert_array_equal(X[unaffected], changed[unaffected])


def test_dtype_follows_the_features_and_moments_stay_float64():
    rng = np.random.default_rng(0)
    features, run = story(rng, dtype=np.float32), bold(rng)
    design = Design.from_training([features], [run])
    assert design.mean.dtype == np.float64
    assert design.transform(features, run.tr_times).dtype == np.float32
    assert design.stack([features], [run]).X.dtype == np.float32
    exact = design.transform(Features(features.values.astype(np.float64), features.times), run.tr_times)
    np.testing.assert_allclose(design.transform(features, run.tr_times), exact, atol=1e-6)


def test_columns_of_a_feature_space_at_every_delay():
    rng = np.random.default_rng(0)
    a, run = story(rng, n_features=2), bold(rng)
    features = join({"a": a, "b": Features(rng.standard_normal((120, 3)), a.times)})
    design = Design.from_training([features], [run], delays=[1, 2])
    data = design.stack([features], [run])
    assert data.columns("b").tolist() == [2, 3, 4, 7, 8, 9]
    assert data.columns("b", "a").tolist() == list(range(10))
    X, slices = data.bands()
    assert slices == {"a": slice(0, 4), "b": slice(4, 10)}
    np.testing.assert_array_equal(X[:, slices["b"]], data.X[:, data.columns("b")])
    with pytest.raises(InputError, match="feature space must be one of a, b; got c"):
        data.columns("c")


def test_a_constant_feature_is_named_and_only_centred():
    rng = np.random.default_rng(0)
    features, run = story(rng, n_features=2), bold(rng)
    values = features.values.copy()
    values[:, 1] = 0
    design = Design.from_training([Features(values, features.times, ("x", "never"))], [run])
    assert design.constant == ("never",)
    assert design.std[1] == 1


def test_saved_and_loaded_designs_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    features, run = story(rng), bold(rng)
    design = Design.from_training([features], [run], delays=[1, 2])
    write_h5(tmp_path / "design.h5", *design.to_arrays())
    loaded = Design.from_arrays(*read_h5(tmp_path / "design.h5"))
    np.testing.assert_array_equal(loaded.transform(features, run.tr_times), design.transform(features, run.tr_times))
    assert loaded.content_hash() == design.content_hash()


@pytest.mark.parametrize(
    ("run_start", "n_trs", "duration"),
    [(0.0, 60, 80.0), (0.0, 20, 80.0), (200.0, 40, 80.0), (-40.0, 60, 80.0)],
)
def test_a_story_that_does_not_fit_its_bold_is_refused_with_both_spans(run_start, n_trs, duration):
    rng = np.random.default_rng(0)
    features, run = story(rng, duration=duration), bold(rng, start=run_start, n_trs=n_trs)
    end = run_start + 2 * n_trs
    message = rf"run 0 \(s1 story\) must cover .* BOLD of {n_trs} TRs over {run_start:g}-{end:g} s, 120 words over 0.1-80 s"
    with pytest.raises(InputError, match=message):
        Design.from_training([features], [run])


def test_runs_that_do_not_belong_together_are_refused():
    rng = np.random.default_rng(0)
    features, run = story(rng), bold(rng)
    design = Design.from_training([features], [run])
    with pytest.raises(InputError, match=r"TR of run 1 \(s1 story\) must be that of run 0, 2 s; got 1 s"):
        Design.from_training([features, features], [run, bold(rng, n_trs=68, tr=1.0)])
    with pytest.raises(InputError, match="TR of the run must be that of training"):
        design.transform(features, np.arange(10.0, 78.0))
    with pytest.raises(InputError, match="features and runs must have the same length; got 2 and 1"):
        Design.from_training([features, features], [run])
    with pytest.raises(InputError, match="Extract with the same model, layer and settings"):
        design.transform(story(rng, n_features=4), run.tr_times)
    other = BoldRun(run.data, run.tr_times, Regions(("A", "C")))
    with pytest.raises(InputError, match="runs must have the same voxels"):
        design.stack([features, features], [run, other])
    with pytest.raises(InputError, match="Delays are in TRs, not in seconds"):
        Design.from_training([features], [run], delays=[40])


def test_encoding_data_refuses_rows_that_do_not_match():
    with pytest.raises(InputError, match="X and Y must have the same length"):
        EncodingData(np.zeros((5, 2)), np.zeros((4, 1)), np.array([0]), {})
    with pytest.raises(InputError, match="run_onsets must rise from 0"):
        EncodingData(np.zeros((5, 2)), np.zeros((5, 1)), np.array([0, 7]), {})
