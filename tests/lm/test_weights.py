import json
import os

import pytest
import torch

from neurolm.checks import FileError, InputError
from neurolm.lm import (
    LSTM,
    RNN,
    BytePairTokenizer,
    CharTokenizer,
    FeedForward,
    MultiTimescaleLSTM,
    RecurrentDropout,
    Transformer,
    WordTokenizer,
    load,
    load_model,
    pretrained,
    save_model,
)
from neurolm.lm.weights import build_model

TEXT = "the cat sat on the mat and the dog sat on the cat"
WORDS = WordTokenizer.from_words(TEXT.split())
MODELS = [
    lambda: RNN(WORDS, 8, 2, tied=False, embedding_width=5),
    lambda: LSTM(BytePairTokenizer.train([TEXT], 260), 8, 2, forget_bias=1.0, dropout=RecurrentDropout(hidden=0.2)),
    lambda: MultiTimescaleLSTM(WORDS, 8, 3, embedding_width=4, longest=50.0),
    lambda: Transformer(CharTokenizer.from_text(TEXT), 8, 2, 2, 64, bias=False, dropout=0.1),
    lambda: FeedForward(WORDS, 8, 2, window=3),
]


@pytest.mark.parametrize("build", MODELS, ids=["rnn", "lstm", "mt-lstm", "transformer", "feed-forward"])
def test_a_saved_model_comes_back_whole(build, tmp_path):
    lm = build()
    save_model(lm, tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again) is type(lm)
    assert again.config == lm.config
    assert again.weights_hash() == lm.weights_hash()
    assert again.tokenizer.settings() == lm.tokenizer.settings()
    ids = torch.tensor([lm.tokenizer.encode(TEXT)])
    torch.testing.assert_close(again.step(ids).logits, lm.eval().step(ids).logits, atol=1e-6, rtol=0)  # another order of sums
    assert not again.training
    assert load(tmp_path / "model", trainable=True).training


@pytest.fixture
def saved(tmp_path):
    save_model(LSTM(WORDS, 8, 2), tmp_path / "model", about={"corpus": "a cat"})
    return tmp_path / "model"


def test_half_precision_halves_the_file_and_loads_as_float32(saved, tmp_path):
    lm = LSTM(WORDS, 64, 2)
    save_model(lm, tmp_path / "whole")
    save_model(lm, tmp_path / "half", dtype=torch.float16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    again = load_model(tmp_path / "half")
    assert again.embedding.weight.dtype == torch.float32
    torch.testing.assert_close(again.embedding.weight, lm.embedding.weight, atol=1e-4, rtol=1e-3)


def test_the_folder_is_what_it_says(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    content = json.loads((saved / "config.json").read_text())
    assert (content["format"], content["version"], content["about"]) == ("neurolm-model", 1, {"corpus": "a cat"})


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    save_model(LSTM(WORDS, 8, 2), tmp_path / "again", about={"corpus": "a cat"})
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_model_that_ships_is_found_by_name(saved, monkeypatch):
    monkeypatch.setattr(pretrained, "SHIPPED", saved.parent)
    assert load("neurolm/model").name == "neurolm/model"
    with pytest.raises(InputError, match=r"Did you mean 'neurolm/model'\?"):
        load("neurolm/modl")


def test_saving_over_a_model_keeps_other_files(saved):
    (saved / "README.md").write_text("card")
    save_model(LSTM(WORDS, 8, 2, seed=1), saved)
    assert (saved / "README.md").read_text() == "card"
    assert load_model(saved).weights_hash() == LSTM(WORDS, 8, 2, seed=1).weights_hash()


def test_when_the_disk_is_full_the_old_model_survives(saved, monkeypatch):
    import safetensors.torch

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(FileError, match="No space left on device"):
        save_model(LSTM(WORDS, 8, 2, seed=1), saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_model_cannot_be_saved_where_nobody_may_write(saved):
    if os.geteuid() == 0:
        target = saved / "model.safetensors" / "below"
    else:
        saved.chmod(0o500)
        target = saved / "below"
    with pytest.raises(FileError, match="cannot make this folder"):
        save_model(LSTM(WORDS, 8, 2), target)


def damage(saved, file, change):
    path = saved / file
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_one_changed_byte_is_noticed(saved, file):
    damage(saved, file, lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    with pytest.raises(FileError, match="is damaged or of another model"):
        load(saved)


def test_half_a_file_and_a_missing_one_are_noticed(saved):
    damage(saved, "model.safetensors", lambda data: data[: len(data) // 2])
    with pytest.raises(FileError, match="is damaged"):
        load(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(FileError, match="no such file"):
        load(saved)


def test_the_weights_of_another_architecture_are_refused(saved, tmp_path):
    save_model(RNN(WORDS, 8, 2), tmp_path / "rnn")
    from neurolm.lm.weights import read_weights

    with pytest.raises(FileError, match="is of another size"):
        read_weights(LSTM(WORDS, 8, 2), tmp_path / "rnn" / "model.safetensors")
    with pytest.raises(FileError, match="does not have the weights of this architecture"):
        read_weights(Transformer(WORDS, 8, 2, 2, 8), saved / "model.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(FileError, match="not a whole safetensors file"):
        read_weights(LSTM(WORDS, 8, 2), tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "format version 2, this neurolm reads 1"),
        ({"format": "something"}, "names no model_type"),
        ({"model": {"kind": "GRU"}}, "kind of model must be one of"),
        ({"model": {"kind": "LSTM", "vocab_size": 99}}, "have the model's 99 tokens"),
        ({"model": {"kind": "LSTM", "vocab_size": WORDS.vocab_size, "heads": 2}}, "hold the settings of LSTM"),
    ],
)
def test_a_config_that_cannot_be_is_refused(saved, change, message):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FileError, match=message):
        load(saved)


def test_a_config_alone_builds_a_fresh_model():
    lm = LSTM(WORDS, 8, 2, forget_bias=1.0, dropout=RecurrentDropout(outputs=0.1))
    built = build_model(json.loads(json.dumps(lm.config)), WORDS, seed=0)
    assert built.weights_hash() == lm.weights_hash()
    assert built.dropout == lm.dropout
