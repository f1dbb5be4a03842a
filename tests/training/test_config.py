from pathlib import Path

import pytest
import yaml

from neurolm.checks import InputError
from neurolm.lm.weights import build_model
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.training.config import TrainConfig

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))
SMALLEST = {"name": "x", "corpus": {"files": ["a.txt"]}, "trainer": {"n_steps": 10}}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_can_be_built(path):
    config = TrainConfig.from_dict(yaml.safe_load(path.read_text()))
    assert config.name == path.stem
    assert config.status.startswith(("run", "not run"))
    tokenizer = WordTokenizer([f"w{i}" for i in range(20)])
    settings = dict(config.model.settings) | {"width": 24} | ({"embedding_width": 12} if "LSTM" in config.model.kind else {})
    if "n_heads" in settings:
        settings["n_heads"] = 2
    build_model({"kind": config.model.kind, "vocab_size": tokenizer.vocab_size, **settings}, tokenizer)
    assert TrainConfig.from_dict(config.to_dict()) == config


def changed(**changes):
    return TrainConfig.from_dict(SMALLEST | changes)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    config = changed(trainer={"n_steps": 10, "clip": None, "optimizer": {"lr": "1e-3", "betas": [0.9, 0.95]}})
    assert config.trainer.optimizer.lr == 1e-3
    assert config.trainer.clip is None
    assert config.trainer.optimizer.betas == (0.9, 0.95)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer": {"n_step": 10}}, r"trainer\.n_step must be one of .* Did you mean 'n_steps'"),
        ({"trainer": {}}, r"trainer\.n_steps must be given"),
        ({"trainer": {"n_steps": "many"}}, r"trainer\.n_steps must be a whole number; got many"),
        ({"trainer": {"n_steps": True}}, r"trainer\.n_steps must be a whole number"),
        ({"trainer": {"n_steps": 10, "optimizer": {"lr": "fast"}}}, r"trainer\.optimizer\.lr must be a number; got fast"),
        ({"trainer": 5}, r"trainer.* must be a mapping"),
        ({"corpus": {"files": "a.txt"}}, r"corpus\.files must be a list"),
        ({"corpus": {"files": []}}, "name at least one file"),
        ({"corpus": {"files": ["a"], "test_files": ["b"]}}, "be given together"),
        ({"model": {"kind": "GRU"}}, "model.kind must be one of"),
        ({"tokenizer": {"kind": "word"}}, "Did you mean 'words'"),
        ({"batches": {"kind": "stream"}}, "Did you mean 'streams'"),
        ({"weights": "int8"}, "weights must be one of"),
    ],
)
def test_mistakes_in_a_configuration_are_named_by_their_place(changes, message):
    with pytest.raises(InputError, match=message):
        changed(**changes)
