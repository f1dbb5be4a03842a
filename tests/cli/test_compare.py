"""A model comparison from its config to table and figure, on simulated listeners and models of a few kilobytes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from neurolm.checks import FileError, InputError
from neurolm.cli.main import app
from neurolm.datasets import load_dataset
from neurolm.encoding import ModelComparison
from neurolm.lm import LSTM, Transformer
from neurolm.lm.char_tokenizer import CharTokenizer
from neurolm.lm.weights import save_model
from neurolm.workflows.comparison import make_comparison
from neurolm.workflows.comparison_config import ComparisonConfig
from neurolm.workflows.config import read_config_as
from neurolm.workflows.kinds import plan_of
from neurolm.workflows.stages import stage_path

CONFIGS = Path(__file__).parents[2] / "configs"
LETTERS = "abcdefghijklmnopqrstuvwxyz '-.,;:!?"
CONFIG = """\
analysis: comparison
title: Small models
dataset: {{name: simulated, options: {{n_subjects: 5}}}}
models:
  - {{name: An LSTM, model: {folder}/lstm}}
  - {{name: transformer, model: {folder}/transformer, layers: [0, 2]}}
  - {{name: Absent, model: {folder}/nowhere, optional: true}}
reading: {{context: {{n: 48, unit: sliding}}, lowercase: true}}
encode: {{alphas: {{low: 10, high: 10000, count: 3}}, folds: 3, inner_folds: 3, bootstrap: 200}}
threads: 1
output: {folder}/out
"""


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """What the rules of pipelines/comparison.smk do, one after the other in this process."""
    folder = tmp_path_factory.mktemp("comparison")
    letters = CharTokenizer.from_text(LETTERS)
    save_model(LSTM(letters, width=12, n_layers=2, seed=0), folder / "lstm")
    save_model(Transformer(letters, width=12, n_layers=2, n_heads=2, max_context=48, seed=1), folder / "transformer")
    config = folder / "my.yaml"
    config.write_text(CONFIG.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROLM_CACHE", str(folder / "cache"))
        _, plan = plan_of(config, output=None)
        plan.write()
        call("stimuli", "check", plan.output / "config.json")
        for name in ("AnLSTM", "transformer"):
            call("features", "extract", plan.output / "models" / name / "config.json")
        said = call("compare", plan.output / "config.json")
    return plan, said


def test_table_and_figure_hold_every_model_and_say_who_was_left_out(compared):
    plan, said = compared
    folder = plan.output / "comparison"
    text = (folder / "models.md").read_text()
    assert said.strip() == text.strip()
    for name in ("An LSTM", "transformer", "word rate"):
        assert f"| {name} |" in text
    assert text.startswith("# ") or text.startswith("| Model | Layer | Score [95 %] | p |")
    assert "corrected for all pairs of the table below (max-T" in text
    assert "Absent was left out" in text
    assert "no such folder" in text
    with open(folder / "models.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["p_from_best"] == "n/a" for row in rows] == [True, False, False]
    assert {row["model"] for row in rows} == {"An LSTM", "transformer", "word rate"}
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)
    assert {row["bits_per_byte"] == "n/a" for row in rows if row["model"] == "word rate"} == {True}
    assert (folder / "models_figure.svg").read_text().count("word rate") >= 1
    assert {path.name for path in folder.iterdir()} >= {"pairs.csv", "regions.csv", "scores.h5", "models_figure.pdf"}


def test_scores_are_those_of_the_library_and_layers_as_asked(compared):
    plan, _ = compared
    result = ModelComparison.load(plan.output / "comparison" / "scores.h5")
    by_name = {model.name: model for model in result.models}
    assert by_name["transformer"].layers == ("layer 0", "layer 2")
    assert by_name["An LSTM"].layers == ("layer 0", "layer 1", "layer 2")
    assert len(result.pairs) == 3
    assert by_name["word rate"].score > 0.05  # word properties were planted, and words drive them all
    table = result.space.table()
    noise = [i for i, name in enumerate(next(iter(table.values()))) if "noise" in str(name)]
    for model in result.models:
        assert (np.abs(model.r[:, noise].mean(0)) < 0.1).all()


def test_bits_per_byte_are_of_the_words_as_they_were_read_and_kept(compared):
    plan, _ = compared
    known = json.loads((plan.output / "models" / "AnLSTM" / "text.json").read_text())
    story = plan.first.dataset.transcript(plan.first.stories[0])
    n_bytes = len(" ".join(story.words).lower().encode())
    assert known["n_bytes"] == n_bytes - 1  # this model has no token to predict the first letter from
    assert 4.0 < known["bits_per_byte"] < 7.0  # an untrained model over 35 letters: about log2(35)


def test_a_second_plan_touches_nothing(compared):
    plan, _ = compared
    before = {path: path.stat().st_mtime_ns for path in plan.output.rglob("*.json")}
    plan.write()
    assert {path: path.stat().st_mtime_ns for path in plan.output.rglob("*.json")} == before


def test_the_rules_of_the_workflow_make_what_the_plan_says(compared):
    plan, _ = compared
    for makes in (stage_path(plan.output, stage) for stage in plan.stages()):
        assert (plan.output / makes).is_file()
    rules = (CONFIGS.parent / "pipelines" / "comparison.smk").read_text()
    for command in (
        "stimuli check {FOLDER}/config.json",
        "features extract {FOLDER}/models/{{wildcards.model}}/config.json",
        "compare {FOLDER}/config.json",
    ):
        assert command in rules


def test_the_shipped_config_can_be_planned_without_looking_for_models():
    config = read_config_as(ComparisonConfig, CONFIGS / "compare_models.yaml")
    plan = make_comparison(config, look=False)
    assert [stage.rule for stage in plan.stages()] == ["check", *["features"] * len(config.models), "compare"]
    assert plan.first.config.features.lowercase is True


def test_the_shipped_config_gives_every_shipped_model_a_context_that_it_can_hold():
    from neurolm.features import plan_extraction
    from neurolm.workflows.extraction import lm_states, open_model

    config = read_config_as(ComparisonConfig, CONFIGS / "compare_models.yaml")
    story = load_dataset("simulated").transcript("the_clockmaker_of_saltmarsh")[:200]
    shipped = [model for model in config.models if model.model.startswith("neurolm/")]
    assert len(shipped) == 3
    for model in shipped:
        features = config.analysis_of(model, "nowhere").features
        plan_extraction(lm_states(open_model(features.model, "cpu"), features), story)  # refuses what does not fit


def test_mistakes_are_named_with_their_line(tmp_path):
    config = tmp_path / "my.yaml"
    text = CONFIG.format(folder=tmp_path)
    config.write_text(text.replace("optional: true", "optionall: true"))
    with pytest.raises(FileError, match=r"my\.yaml:7: unknown key 'models\.2\.optionall'\. Did you mean 'optional'\?"):
        plan_of(config, output=None)
    config.write_text(text.replace("name: transformer", "name: AnLSTM"))
    with pytest.raises(FileError, match="names of models must differ"):
        plan_of(config, output=None)
    config.write_text(text.replace("analysis: comparison", "analysis: comparisons"))
    with pytest.raises(FileError, match=r"my\.yaml:1: 'analysis' is 'comparisons'"):
        plan_of(config, output=None)


def test_a_model_that_is_not_optional_must_be_there_and_one_must_be(tmp_path):
    config = tmp_path / "my.yaml"
    text = CONFIG.format(folder=tmp_path)
    config.write_text(text)
    with pytest.raises(InputError, match="no such folder"):  # lstm is not optional: its features cannot be extracted
        call("features", "extract", _config_of_first_model(config))
    with pytest.raises(InputError, match="no such folder"):
        call("compare", config)
    config.write_text(text.replace("lstm}", "lstm, optional: true}").replace("[0, 2]}", "[0, 2], optional: true}"))
    with pytest.raises(InputError, match="models must hold at least one that is available"):
        plan_of(config, output=None)


def _config_of_first_model(config):
    _, plan = plan_of(config, output=None)
    plan.write()
    return plan.first.output / "config.json"


@pytest.mark.slow
def test_the_workflow_runs_is_reused_and_scores_as_the_commands_do(neurolm, compared, tmp_path):
    plan, _ = compared
    config = plan.output.parent / "my.yaml"
    again = tmp_path / "again"
    first = neurolm("run", config, "--output", again, "--cores", 1)
    assert first.returncode == 0, first.stderr
    assert "Result:" in first.stdout
    for name in ("models.csv", "pairs.csv", "regions.csv", "models_figure.svg"):
        assert (again / "comparison" / name).read_bytes() == (plan.output / "comparison" / name).read_bytes()
    second = neurolm("run", config, "--output", again, "--cores", 1)
    assert "Nothing to do" in second.stdout
    config.write_text(config.read_text().replace("bootstrap: 200", "bootstrap: 300"))
    third = neurolm("run", config, "--output", again, "--cores", 1)
    assert "Reused, finished earlier: check, features." in third.stdout
