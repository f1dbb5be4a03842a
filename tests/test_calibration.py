"""The calibration table's own machinery: it resumes, and judges all rows together."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "calibration.py"


@pytest.fixture
def calibration(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("calibration", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "calibration", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_a_row_resumes_after_the_batches_that_are_there(calibration):
    called = []

    def simulate(rng):
        called.append(rng.random())
        return float(called[-1] < 0.05), 1

    row = calibration.Row("a p", simulate, 0.05, 300, 0.0)
    third = calibration.run(row, 1 / 3)
    assert (third["n"], len(called)) == (100, 100)
    whole = calibration.run(row, 1)
    assert (whole["n"], len(called)) == (300, 300)
    assert calibration.run(row, 1) == whole
    assert len(called) == 300


def test_rows_are_judged_together_and_false_discoveries_may_be_fewer(calibration):
    row = {"what": "p", "n": 1000, "nominal": 0.05, "limit": "two-sided"}
    found = calibration.judged([row | {"share": s} for s in (0.05, 0.066, 0.12)] + [row | {"share": 0.0, "limit": "at most"}])
    assert [one["outside"] for one in found] == [False, False, True, False]
    assert found[0]["low"] < 0.05 < found[0]["high"]
    assert "| p | 1,000 | 0.05 | 0.120 [" in calibration.markdown(found)
