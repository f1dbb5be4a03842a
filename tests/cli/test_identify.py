"""`neurolm decode` with analysis: identification, on simulated listeners."""

import json

import pytest
import yaml

from neurolm.checks import InputError
from neurolm.workflows import decode


@pytest.fixture
def config(tmp_path):
    def write(**changes):
        values = {
            "analysis": "identification",
            "dataset": {"name": "simulated", "options": {"n_subjects": 4}},
            "identify": {"permutations": 99, "folds": 4},
            "threads": 1,
            "output": str(tmp_path / "out"),
        }
        path = tmp_path / "identify.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        return str(path)

    return write


def run(path, **options):
    decode(path, **({"stage": "all", "output": None, "device": None, "seed": None, "dry_run": False} | options))


def test_identification_leaves_scores_similarities_and_a_figure(config, tmp_path, capsys):
    run(config())
    folder = tmp_path / "out" / "identification"
    rows = json.loads((folder / "scores.json").read_text())["scores"]
    together = {row["by"]: row for row in rows if row["who"] == "all listeners"}
    assert len(rows) == 2 * (1 + 4)
    assert together["likelihood"]["mean_percentile_rank"] > 0.7
    assert together["likelihood"]["p"] == pytest.approx(0.01)
    assert (folder / "similarity.h5").is_file()
    assert (tmp_path / "out" / "figures" / "identification.svg").is_file()
    assert "by correlation: mean percentile rank" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run(config())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_dry_run_says_sizes_and_writes_nothing(config, tmp_path, capsys):
    run(config(), dry_run=True)
    assert "4 listeners x" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "simulated", "options": {"n_subjects": 2}}}, "needs at least three subjects; got 2"),
        ({"identify": {"window_trs": 300}}, "window_trs must leave at least two windows"),
        ({"dataset": {"name": "simulated", "subjects": ["nobody"]}}, "dataset.subjects must be among"),
        ({"identify": {"windwo_trs": 3}}, r"unknown key 'identify.windwo_trs'. Did you mean 'window_trs'\?"),
    ],
)
def test_what_cannot_work_is_refused(config, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(config(**changes))
    assert not (tmp_path / "out").exists()
