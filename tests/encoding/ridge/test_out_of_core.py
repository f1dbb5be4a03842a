import subprocess
import sys
import textwrap

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import FileError, InputError
from neurolm.encoding import NestedRidge, RidgeCV, leave_one_run_out
from neurolm.encoding.ridge.delayed_features import DelayedFeatures, lagged_gram
from neurolm.encoding.ridge.preflight import preflight
from neurolm.encoding.ridge.targets import open_targets, store_targets
from neurolm.temporal import delay_run

ALPHAS = np.logspace(0, 4, 5)
DELAYS = [1, 2, 4]

pytestmark = pytest.mark.filterwarnings("ignore:.*extend alphas:UserWarning")


def runs(lengths=(70, 50, 60), n_features=5, n_voxels=37):
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((n, n_features)).astype(np.float32) for n in lengths]
    W = rng.standard_normal((len(DELAYS) * n_features, n_voxels))
    bold = [(delay_run(F, DELAYS) @ W + 2 * rng.standard_normal((len(F), n_voxels))).astype(np.float32) for F in features]
    return features, bold


# -- targets on disk --------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [5, 90])
def test_fit_from_disk_to_disk_equals_fit_in_memory(tmp_path, n_features):
    features, bold = runs(n_features=n_features)
    X, Y = np.concatenate([delay_run(F, DELAYS) for F in features]), np.concatenate(bold)
    onsets = store_targets(tmp_path / "bold.h5", iter(bold))
    assert onsets.tolist() == [0, 70, 120]
    with open_targets(tmp_path / "bold.h5") as (stored, run_onsets):
        cv = leave_one_run_out(run_onsets)
        inner = RidgeCV(ALPHAS, cv=cv, fit_intercept=True).fit(X, Y)
        outer = RidgeCV(ALPHAS, cv=cv, fit_intercept=True, n_targets_batch=10).fit(X, stored, coef_file=tmp_path / "coef.npy")
        nested = NestedRidge(X, ALPHAS, cv, 3).score(stored, n_targets_batch=10)
    np.testing.assert_allclose(outer.cv_scores_, inner.cv_scores_, atol=1e-5)
    np.testing.assert_allclose(outer.coef_, inner.coef_, atol=1e-5)
    np.testing.assert_allclose(outer.predict(X), inner.predict(X), atol=1e-4)
    np.testing.assert_allclose(nested.scores, NestedRidge(X, ALPHAS, cv, 3).score(Y).scores, atol=1e-6)
    assert isinstance(np.load(tmp_path / "coef.npy", mmap_mode="r"), np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / "coef.npy")[:, : X.shape[1]].T, outer.coef_)


def test_runs_may_be_bold_runs(tmp_path):
    run = BoldRun(np.arange(6.0).reshape(3, 2), np.arange(3) * 2.0, Regions(("a", "b")))
    store_targets(tmp_path / "bold.h5", [run, run])
    with open_targets(tmp_path / "bold.h5") as (stored, onsets):
        np.testing.assert_array_equal(stored[:], np.concatenate([run.data] * 2))
        assert onsets.tolist() == [0, 3]


def test_bad_target_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"run 1 must have shape \(n_trs, 4\); got \(3, 5\)\. All runs share one mask"):
        store_targets(tmp_path / "bold.h5", [np.zeros((3, 4)), np.zeros((3, 5))])
    assert not list(tmp_path.iterdir())  # nothing half written
    with pytest.raises(FileError, match="no such file"), open_targets(tmp_path / "bold.h5"):
        pass
    (tmp_path / "bold.h5").write_bytes(b"not hdf5")
    with pytest.raises(FileError, match="is not a whole HDF5 file"), open_targets(tmp_path / "bold.h5"):
        pass
    with pytest.raises(InputError, match="coef_file must end in"):
        RidgeCV(ALPHAS).fit(np.eye(10), np.eye(10), coef_file=tmp_path / "coef.h5")


@pytest.mark.slow
@pytest.mark.parametrize("n_features", [300, 1500])
def test_memory_is_flat_in_voxels(tmp_path, n_features):
    """Peak memory of a fit from disk to disk, in fresh processes: 8 times the voxels, the same memory."""
    peaks = [peak_mb(tmp_path, n_features, n_voxels) for n_voxels in (4096, 32768)]
    grown = 900 * (32768 - 4096) * 4 / 1e6  # what Y alone would have added
    assert peaks[1] - peaks[0] < 0.25 * grown


def peak_mb(folder, n_features, n_voxels):
    """Growth of the resident set that is not backed by files, sampled through the fit."""
    script = f"""
        import threading, time, warnings
        import h5py, numpy as np
        from neurolm.encoding import RidgeCV, ridge_search
        ridge_search.REFIT_BYTES = 4 << 20  # scaled down as the problem is
        warnings.simplefilter("ignore")

        def resident():
            fields = dict(l.split(":", 1) for l in open("/proc/self/status"))
            return int(fields["RssAnon"].split()[0]) / 1e3

        rng = np.random.default_rng(0)
        with h5py.File({str(folder / "y.h5")!r}, "w") as file:
            Y = file.create_dataset("bold", (900, {n_voxels}), "f4", chunks=(900, 256))
            for start in range(0, {n_voxels}, 1024):
                Y[:, start : start + 1024] = rng.standard_normal((900, 1024), dtype=np.float32)
        X = rng.standard_normal((900, {n_features}), dtype=np.float32)
        warm = RidgeCV(np.logspace(0, 4, 3), cv=3, scoring="correlation", n_targets_batch=512)
        warm.fit(X, rng.standard_normal((900, 512)))
        start, peak, done = resident(), [0.0], threading.Event()
        def watch():
            while not done.wait(0.005):
                peak[0] = max(peak[0], resident() - start)
        thread = threading.Thread(target=watch)
        thread.start()
        with h5py.File({str(folder / "y.h5")!r}, "r") as file:
            warm.fit(X, file["bold"], coef_file={str(folder / "coef.npy")!r})
        done.set()
        thread.join()
        print(peak[0])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    return float(done.stdout)


# -- delayed features -------------------------------------------------------------------------


@pytest.mark.parametrize("delays", [[0], [1, 2, 3, 4], [0, 3], [4, 1], [2, 7]])
def test_lagged_products_give_the_gram_of_the_delayed_matrix(delays):
    F = np.random.default_rng(0).standard_normal((20, 3))
    X = delay_run(F, delays)
    np.testing.assert_allclose(lagged_gram(F, delays), X.T @ X, atol=1e-12)


def test_rows_mean_and_gram_are_those_of_the_delayed_matrix():
    features, _ = runs()
    lazy, X = DelayedFeatures(features, DELAYS), np.concatenate([delay_run(F, DELAYS) for F in features])
    assert lazy.shape == X.shape
    some = np.array([0, 1, 69, 70, 71, 75, 120, 179])
    np.testing.assert_array_equal(lazy.rows(some), X[some])
    np.testing.assert_allclose(lazy.mean(), X.mean(0), atol=1e-7)
    np.testing.assert_allclose(lazy.gram(np.float64), X.T.astype(np.float64) @ X, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(("n_features", "alphas"), [(5, ALPHAS), (5, ALPHAS / 1e6), (90, ALPHAS)])
def test_lazily_delayed_features_fit_as_the_delayed_matrix(n_features, alphas, fit_intercept):
    features, bold = runs(n_features=n_features)
    X, Y = np.concatenate([delay_run(F, DELAYS) for F in features]), np.concatenate(bold)
    lazy = DelayedFeatures(features, DELAYS)
    cv = leave_one_run_out(lazy.edges[:-1])
    a = RidgeCV(alphas, cv=cv, fit_intercept=fit_intercept).fit(X, Y)
    b = RidgeCV(alphas, cv=cv, fit_intercept=fit_intercept).fit(lazy, Y)
    np.testing.assert_allclose(b.cv_scores_, a.cv_scores_, atol=2e-5)
    np.testing.assert_allclose(b.coef_, a.coef_, atol=2e-5)
    np.testing.assert_allclose(b.predict(lazy), a.predict(X), atol=1e-4)


def test_delayed_features_are_not_materialised_in_the_primal(monkeypatch):
    features, bold = runs()
    asked = []
    original = DelayedFeatures.rows
    monkeypatch.setattr(
        DelayedFeatures, "rows", lambda self, rows, dtype=None: asked.append(len(rows)) or original(self, rows, dtype)
    )
    lazy = DelayedFeatures(features, DELAYS)
    RidgeCV(ALPHAS, cv=leave_one_run_out(lazy.edges[:-1])).fit(lazy, np.concatenate(bold))
    assert max(asked) == 70 < len(lazy)  # one run at a time


def test_impossible_delayed_features_are_refused():
    with pytest.raises(InputError, match=r"runs must be matrices \(n_trs, n_features\) of equal width"):
        DelayedFeatures([np.zeros((9, 2)), np.zeros((9, 3))], [1])
    with pytest.raises(InputError, match="delays must be shorter than every run; run 1 has 3 TRs"):
        DelayedFeatures([np.zeros((9, 2)), np.zeros((3, 2))], [1, 4])
    with pytest.raises(InputError, match="features of run 0 must be finite everywhere"):
        DelayedFeatures([np.full((9, 2), np.nan)], [1])


# -- preflight --------------------------------------------------------------------------------


def test_preflight_of_a_real_study_fits_into_8_gb():
    flight = preflight(9000, 3072, 95_000, n_alphas=15, cv=10, targets_on_disk=True, memory_gb=8, gflops=150)
    assert flight.fits
    assert flight.total_gb < 8
    assert flight.cost.method.startswith("primal")
    assert flight.tflop == pytest.approx(90, rel=0.1)
    assert 600 < flight.seconds < 900
    assert flight.n_targets_batch == 512
    text = str(flight)
    for word in ("9,000 TRs x 3,072 features x 95,000 voxels", "GB of 8.0", "Tflop", "voxels at a time: 512"):
        assert word in text


def test_preflight_says_what_does_not_fit_and_makes_batches_smaller():
    assert not preflight(9000, 3072, 95_000, n_alphas=15, cv=10, memory_gb=4, gflops=150).fits
    assert "Does not fit: read Y from HDF5" in str(preflight(9000, 3072, 95_000, n_alphas=15, cv=10, memory_gb=4, gflops=150))
    tight = preflight(
        9000, 3072, 95_000, n_alphas=15, cv=10, targets_on_disk=True, weights_on_disk=True, memory_gb=2.75, gflops=150
    )
    assert 1 <= tight.n_targets_batch < 512


def test_preflight_counts_draws_and_measures_speed():
    plain = preflight(300, 50, 100, n_alphas=5, gflops=10)
    assert preflight(300, 50, 100, n_alphas=5, gflops=10, n_draws=7).cost.scoring == pytest.approx(7 * plain.cost.scoring)
    measured = preflight(300, 50, 100, n_alphas=5)
    assert measured.gflops > 0.1
    assert measured.memory_gb > 0.1
    with pytest.raises(InputError, match="sizes must be >= 1"):
        preflight(300, 0, 100, n_alphas=5)
