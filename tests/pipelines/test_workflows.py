"""Workflows: one for each kind of config, thin, and planned as the plan says."""

import re
import subprocess
from pathlib import Path

import pytest

from neurolm.checks import FileError
from neurolm.workflows.engine import WorkflowState, shipped, snakemake_command
from neurolm.workflows.kinds import KINDS, kind_of, plan_of
from neurolm.workflows.stages import stage_path

CONFIGS = sorted(shipped("configs").rglob("*.yaml"))
SNAKEFILES = sorted(shipped("pipelines").glob("*.smk"))
SMALL = """\
dataset: {{name: simulated, options: {{n_subjects: 3}}}}
analysis: {kind}
threads: 1
"""
ONE_OF_EACH = {
    "encoding": "features: {model: tiny, layers: [1]}\n",
    "comparison": "models: [{name: A, model: tiny}, {name: B, model: tiny}]\n",
    "timescales": "estimators: [context, isc]\n",
    "contrast": "",
    "identification": "",
}


def test_every_kind_of_config_has_a_workflow_and_no_workflow_is_left_over():
    assert sorted(KINDS) == [path.stem for path in SNAKEFILES]


@pytest.mark.parametrize("path", SNAKEFILES, ids=lambda p: p.stem)
def test_rules_are_thin_each_calls_one_command_and_says_what_it_needs(path):
    rules = re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]
    assert rules[0].startswith("all:")
    for rule in rules[1:]:
        assert re.search(r'    shell:\n        COMMAND \+ f" [a-z]+ .*"\n*$', rule), rule
        assert "mem_mb=" in rule
        assert "runtime=" in rule
        assert ("threads: config" in rule) == ('gpu=config["gpus"]' in rule)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_config_names_its_kind(path):
    assert kind_of(path) in KINDS


@pytest.mark.parametrize("kind", [*ONE_OF_EACH, "decoding", "training"])
def test_snakemake_plans_the_steps_of_the_plan(kind, tmp_path):
    config, folder = tmp_path / "my.yaml", tmp_path / "a folder with {braces}"
    config.write_text(SMALL.format(kind=kind) + ONE_OF_EACH.get(kind, ""))
    if kind == "decoding":
        config.write_text("analysis: decoding\nsimulated: {test_s: 20}\n")
    elif kind == "training":
        config = shipped("configs") / "train" / "lstm-small.yaml"
    _, plan = plan_of(config, output=folder, look=False)
    plan.write()
    command = [*snakemake_command(plan.workflow, plan.output, cores=1), "--dry-run", "--printshellcmds"]
    planned = subprocess.run(command, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    (folder / ".neurolm" / "snakemake.log").write_text(planned.stdout + planned.stderr)
    rules = [stage.rule for stage in plan.stages()]
    assert WorkflowState.read(folder / ".neurolm").planned == {rule: rules.count(rule) for rule in rules}
    assert f"'{folder}'/" in planned.stdout + planned.stderr
    for makes in (stage_path(plan.output, stage) for stage in plan.stages()):
        assert makes in planned.stdout + planned.stderr


def test_an_unknown_kind_is_named_with_the_nearest(tmp_path):
    (tmp_path / "my.yaml").write_text("seed: 0\nanalysis: encodign\n")
    with pytest.raises(FileError, match=r"my\.yaml:2: 'analysis' is 'encodign'. Did you mean 'encoding'\?"):
        kind_of(tmp_path / "my.yaml")


def test_a_config_of_a_newer_version_is_refused_in_words(tmp_path):
    (tmp_path / "my.yaml").write_text("analysis: encoding\nversion: 7\nsomething: new\n")
    with pytest.raises(FileError, match=r"my\.yaml:2: has version 7 of the format, this neurolm reads up to 1. Update neurolm."):
        plan_of(tmp_path / "my.yaml", output=tmp_path)


def test_paths_in_a_config_are_relative_to_where_the_run_was_started(tmp_path, monkeypatch, capsys):
    from neurolm.workflows import run

    monkeypatch.chdir(tmp_path)
    for i in range(8):
        Path(f"text-{i}.txt").write_text("a rabbit took a watch out of its pocket " * 30)
    Path("my.yaml").write_text(
        "name: tiny\ncorpus: {files: ['text-*.txt'], form: raw, validation: 0.2, test: 0.2}\n"
        "tokenizer: {kind: characters}\nmodel: {kind: RNN, settings: {width: 8, n_layers: 1}}\n"
        "batches: {batch_size: 4, length: 8}\ntrainer: {n_steps: 5, optimizer: {kind: adamw, lr: 0.01}}\nbaseline_order: 0\n"
    )
    for said in ("train computed", "Nothing to do"):
        run("my.yaml", cores=1, device="cpu")
        assert said in capsys.readouterr().out
    assert (tmp_path / "models" / "tiny" / "model.safetensors").is_file()


def test_on_one_machine_steps_take_turns_on_its_gpu_and_on_a_cluster_they_do_not(tmp_path):
    assert snakemake_command("comparison", tmp_path, cores=16)[-2:] == ["--resources", "gpu=1"]
    on_cluster = snakemake_command("comparison", tmp_path, cores=16, profile="slurm")
    assert "--resources" not in on_cluster
    assert on_cluster[-1] == str(shipped("pipelines") / "profiles" / "slurm")
