from dataclasses import replace

import numpy as np
import pytest

from neurolm.brain import Regions
from neurolm.checks import FileError
from neurolm.storage import write_h5
from neurolm.timescales.window_result import gated, load_windows, save_windows

SCALES = np.array([1.0, 2.0, 4.0])


def result(n_voxels, **details):
    rng = np.random.default_rng(n_voxels)
    p = np.linspace(0.001, 0.5, n_voxels)
    curve = rng.random((3, n_voxels))
    return gated("x", SCALES, curve, np.full(n_voxels, 2.0), np.empty((0, n_voxels)), p, "words", details=details)


def test_everything_comes_back_with_what_stands_beside(tmp_path):
    own = replace(result(2, forgetting=result(2), ratio=np.array([1.0, np.nan]), mode="simulate"), space=Regions(("a", "b")))
    whole = own.beside(result(5), result(7))
    save_windows(tmp_path / "w.h5", whole, {"settings": {"seed": 3}})
    back, provenance = load_windows(tmp_path / "w.h5")
    assert provenance == {"settings": {"seed": 3}}
    assert back.space.names == ("a", "b")
    for name in ("scales", "curve", "index", "interval", "p", "valid"):
        np.testing.assert_array_equal(getattr(back, name), getattr(whole, name))
    assert back.details["mode"] == "simulate"
    np.testing.assert_array_equal(back.details["ratio"], [1.0, np.nan])
    np.testing.assert_array_equal(back.details["forgetting"].curve, whole.details["forgetting"].curve)
    assert (len(back.model.index), len(back.untrained.index)) == (5, 7)


def test_equal_results_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_windows(tmp_path / name, result(3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_files_are_refused(tmp_path):
    write_h5(tmp_path / "w.h5", {"a": np.zeros(2)})
    with pytest.raises(FileError, match="neurolm windows 1"):
        load_windows(tmp_path / "w.h5")
