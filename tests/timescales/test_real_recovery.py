"""Planted windows through real transcripts and a real language model's word states: the benchmark, with two seeds."""

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from neurolm.storage import cache_folder

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "timescale_recovery.py"


@pytest.fixture(scope="module")
def recovery():
    if not (Path(os.environ.get("NEUROLM_DATA", "")) / "moth_textgrids").is_dir():
        pytest.skip("NEUROLM_DATA does not hold moth_textgrids")
    if not (cache_folder("models") / "smollm2-135m").is_dir():
        pytest.skip("SmolLM2-135M is not in the cache")
    spec = importlib.util.spec_from_file_location("timescale_recovery", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["timescale_recovery"] = module
    spec.loader.exec_module(module)
    return module, module.Recovery(SimpleNamespace(seeds=2, voxels=32, model="smollm2-135m", quick=False))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")
def test_planted_windows_are_found_through_real_stories(recovery):
    module, bench = recovery
    found = module.over_seeds([bench.one_seed("bank", seed) for seed in (50, 51)])
    for name in ("product-measure timescale", "scrambling"):
        assert found[f"r about .5, {name}"]["rho"]["mean"] >= 0.9
        assert found[f"r about .17, {name}"]["rho"]["mean"] >= 0.7  # 32 voxels: over five seeds of 48 it is above .8
        assert found[f"r about .5, {name}"]["share_valid"]["mean"] > 0.9


@pytest.mark.slow
def test_without_signal_a_valid_voxel_is_rare(recovery):
    found = recovery[1].gate(50)
    share = found["with_a_valid_voxel"] / found["experiments"]
    assert share <= 0.05 + 2.33 * (0.05 * 0.95 / found["experiments"]) ** 0.5
