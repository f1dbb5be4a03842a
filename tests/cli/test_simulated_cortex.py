"""The simulated cortex through the ordinary commands, on a coarse grid of voxels and with a tiny model."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from neurolm.lm import LSTM, CharTokenizer
from neurolm.lm.weights import save_model

CONFIG = Path(__file__).parents[2] / "configs" / "simulated_cortex.yaml"
LETTERS = "abcdefghijklmnopqrstuvwxyz' "


@pytest.fixture(scope="module")
def data():
    folder = Path(os.environ.get("NEUROLM_DATA", ""))
    if not (folder / "moth_textgrids").is_dir() or not (folder / "littleprince_en").is_dir():
        pytest.skip("NEUROLM_DATA does not hold moth_textgrids and littleprince_en")
    return folder


@pytest.fixture
def small(tmp_path, data):
    """The shipped config with few voxels, three stories and an untrained model."""
    save_model(LSTM(CharTokenizer(LETTERS), 24, 1, seed=3), tmp_path / "model")
    config = yaml.safe_load(CONFIG.read_text())
    stories = config["dataset"]["options"]["stories"][1:]
    config["dataset"]["options"] |= {"model": str(tmp_path / "model"), "layer": 1, "stride": 4, "stories": stories}
    config["dataset"]["options"]["timescales"] = [1, 16]
    config["features"] |= {"model": str(tmp_path / "model"), "layers": [1]}
    config["encode"] |= {"permutations": 150, "low_level": [], "alphas": {"low": 10, "high": 100000, "count": 5}}
    config["threads"] = 1
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
def test_maps_come_back_as_volume_and_surface_and_match_the_plant(neurolm, small, tmp_path):
    output = tmp_path / "out"
    ended = neurolm("run", small, "--output", output, "--cores", "1")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split("\t") for line in (output / "encoding" / "recovery.tsv").read_text().splitlines()[1:]]
    found = {name: float(r) for name, r, _ in rows}
    assert found["explainable_correlation"] > 0.8
    assert found["timescale"] > 0.4
    assert found["concreteness"] > 0.4
    func = output / "sub-sim01" / "func"
    for name in ("ExplainableCorrelation", "Timescale", "Concreteness"):
        volumes = [nibabel.load(func / f"sub-sim01_desc-{who}{name}_statmap.nii.gz") for who in ("found", "planted")]
        assert volumes[0].shape == volumes[1].shape == (10, 12, 10)
        np.testing.assert_allclose(
            volumes[0].affine, np.diag([16, 16, 16, 1]) + [[0, 0, 0, -72], [0, 0, 0, -106], [0, 0, 0, -64], [0] * 4]
        )
        for side in "LR":
            assert (func / f"sub-sim01_desc-found{name}_statmap_hemi-{side}.func.gii").is_file()
    page = (output / "report.html").read_text()
    assert "SIMULATED" in page
    assert f"explainable correlation {found['explainable_correlation']:.2f}" in page


def test_a_test_story_that_is_not_there_is_named(neurolm, small, tmp_path):
    config = yaml.safe_load(small.read_text())
    config["encode"]["test_stories"] = ["elsewhere"]
    small.write_text(yaml.safe_dump(config))
    for command in (("run", small, "--output", tmp_path / "out", "--dry-run"), ("encode", small)):
        ended = neurolm(*command)
        assert ended.returncode == 2
        assert "encode.test_stories must be some of alternateithicatom, souls, wheretheressmoke; got elsewhere" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_and_a_missing_mask_are_named(neurolm, small, tmp_path):
    config = yaml.safe_load(small.read_text())
    config["dataset"]["options"]["strid"] = 2
    small.write_text(yaml.safe_dump(config))
    ended = neurolm("run", small, "--dry-run")
    assert ended.returncode == 2
    assert "option of simulated_cortex must be one of mask, textgrids" in ended.stderr
    del config["dataset"]["options"]["strid"]
    config["dataset"]["options"]["mask"] = str(tmp_path / "no.nii.gz")
    small.write_text(yaml.safe_dump(config))
    ended = neurolm("run", small, "--dry-run")
    assert ended.returncode == 2
    assert "no.nii.gz" in ended.stderr
