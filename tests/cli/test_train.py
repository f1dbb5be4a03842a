import re
import sys

import pytest
import yaml


@pytest.fixture
def neurolm(neurolm_here):
    return neurolm_here


@pytest.fixture
def config(tmp_path):
    """A training run of a few seconds."""
    rng_text = " ".join(
        f"the {a} {b} the {c} again" for a in ("cat", "dog", "owl") for b in ("sees", "hears") for c in ("fox", "cat")
    )
    (tmp_path / "text.txt").write_text("\n\n".join([rng_text] * 60))
    content = {
        "name": "tiny",
        "corpus": {"files": [str(tmp_path / "text.txt")], "long": 100, "form": "spoken"},
        "tokenizer": {"kind": "byte-pairs", "vocab_size": 280},
        "model": {"kind": "LSTM", "settings": {"width": 16, "n_layers": 1}},
        "batches": {"kind": "streams", "batch_size": 4, "length": 8},
        "trainer": {"n_steps": 60, "optimizer": {"lr": 0.02}, "validate_every": 20, "checkpoint_every": 20},
        "baseline_order": 3,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "command", ["generate", "train model", "train recall", "train gradients", "train forecast", "train transfer"]
)
def test_help_shows_an_example_and_a_dry_run(neurolm, command):
    code, said, _ = neurolm(*command.split(), "--help")
    assert code == 0
    assert re.search(rf"Example: neurolm {command}", " ".join(said.split()))
    assert "--dry-run" in said


def test_a_config_becomes_a_model_that_writes(neurolm, config, tmp_path):
    code, said, _ = neurolm("train", "model", config, "--output", tmp_path / "model", "--device", "cpu", "--dry-run")
    assert code == 0
    assert len([line for line in said.splitlines() if not line.lstrip().startswith(("ok", "note"))]) == 2
    assert not (tmp_path / "model").exists()
    code, said, _ = neurolm("train", "model", config, "--output", tmp_path / "model", "--device", "cpu")
    assert code == 0
    assert "held-out perplexity" in said
    assert {"model.safetensors", "config.json", "tokenizer.json", "log.jsonl", "report.json", "README.md"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }

    write = ("generate", tmp_path / "model", "--prompt", "the cat sees", "--max-tokens", 12, "--device", "cpu")
    texts = [neurolm(*write, "--seed", seed)[1] for seed in (1, 1, 2)]
    assert texts[0].startswith("the cat sees")
    assert texts[0] == texts[1] != texts[2]
    assert neurolm(*write, "--beam", 3)[0] == 0


def test_text_appears_as_it_is_made(neurolm, config, tmp_path, monkeypatch):
    neurolm("train", "model", config, "--output", tmp_path / "model", "--device", "cpu")
    pieces = []

    class Screen:
        def write(self, piece):
            pieces.append(piece)

        def flush(self):
            pieces.append("shown")

    monkeypatch.setattr(sys, "stdout", Screen())
    neurolm("generate", tmp_path / "model", "--prompt", "the", "--max-tokens", 6, "--temperature", 0, "--device", "cpu")
    assert pieces.count("shown") >= 6, "each piece is shown before the next is made"


def test_gradients_are_measured_and_drawn(neurolm, tmp_path):
    code, said, _ = neurolm("train", "gradients", "--output", tmp_path, "--seeds", 2, "--width", 64, "--tokens", 42)
    assert code == 0
    slopes = {line[:54].strip(): float(line[54:].split()[0]) for line in said.splitlines()[1:7]}
    assert slopes["RNN"] < slopes["LSTM"] < slopes["LSTM, forget bias 1"] < slopes["LSTM, forget bias 5"] < 0.05
    assert (tmp_path / "gradients.svg").stat().st_size > 1000


def test_recall_gives_figure_table_and_attention_from_one_command(neurolm, tmp_path):
    code, said, _ = neurolm("train", "recall", "--output", tmp_path, "--seeds", 2, "--steps", 1)
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == ["words", "RNN", "LSTM", "MT-LSTM", "transformer", "chance"]
    assert {"recall.svg", "recall_attention.svg"} <= {path.name for path in tmp_path.iterdir()}


def test_forecasts_are_compared_beside_the_noise_floor(neurolm):
    code, said, _ = neurolm("train", "forecast", "--series", "ar2", "--seeds", 1, "--steps", 150)
    assert code == 0
    errors = {line[:22].strip(): float(line[22:].split()[0]) for line in said.splitlines()[2:]}
    assert 0.9 < errors["AR(2)"] < 1.1
    assert errors["LSTM"] < 1.25 * errors["AR(2)"] < errors["persistence"]


def test_a_transfer_says_how_many_runs_it_makes(neurolm):
    code, said, _ = neurolm(
        "train", "transfer", "neurolm/lstm-small", "sentiment", "--corpora", ".", "--lr", 3e-4, "--lr", 1e-3, "--dry-run"
    )
    assert code == 0
    assert "2 x 2 learning rates x 5 runs" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "model", "missing.yaml"], "no such file"),
        (["train", "forecast", "--series", "sunspot"], "Did you mean 'sunspots'?"),
        (["train", "transfer", "neurolm/lstm-small", "tagging", "--corpora", "."], "task must be one of"),
        (["generate", "./nowhere"], "no such folder"),
        (["generate", "neurolm/lstm-smal"], "ships with neurolm"),
    ],
)
def test_bad_input_ends_in_one_message_and_code_2(neurolm, arguments, message):
    code, _, complaint = neurolm(*arguments)
    assert code == 2
    assert message in complaint
    assert len(complaint.strip().splitlines()) == 1
