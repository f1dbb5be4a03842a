"""A whole run from one configuration, on a made-up language that is quick to learn."""

import json
import zipfile

import numpy as np
import pytest

from neurolm.checks import FileError, InputError
from neurolm.lm import load
from neurolm.lm.weights import build_model
from neurolm.training import TrainConfig, perplexity, train
from neurolm.training.recipe import kneser_ney_baseline, read_split


def story(rng, n):
    """Sentences of a small grammar."""
    nouns, verbs = ["cat", "dog", "fox", "owl", "hen"], ["sees", "hears", "likes", "follows"]
    sentence = lambda: f"the {rng.choice(nouns)} {rng.choice(verbs)} the {rng.choice(nouns)}"  # noqa: E731
    return " and ".join(sentence() for _ in range(n))


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(30):
        (tmp_path / f"{i:02}.txt").write_text(story(rng, 12))
    monkeypatch.setenv("STORIES", str(tmp_path))
    return tmp_path


def config(kind="LSTM", **changes):
    settings = {
        "LSTM": {"width": 24, "n_layers": 1},
        "Transformer": {"width": 24, "n_layers": 1, "n_heads": 2, "max_context": 32},
    }
    batches = {"kind": "streams", "batch_size": 4, "length": 16, "reset": 0.1}
    if kind == "Transformer":
        batches = {"kind": "windows", "batch_size": 4, "length": 32}
    content = {
        "name": "fable",
        "corpus": {"files": ["$STORIES/*.txt"], "form": "spoken", "validation": 0.1, "test": 0.1},
        "tokenizer": {"kind": "byte-pairs", "vocab_size": 300, "lowercase": True},
        "model": {"kind": kind, "settings": settings[kind]},
        "batches": batches,
        "trainer": {
            "n_steps": 150 if kind == "LSTM" else 500,
            "optimizer": {"lr": 0.02 if kind == "LSTM" else 0.01},
            "validate_every": 50,
            "checkpoint_every": 40,
        },
        "baseline_order": 3,
        "weights": "float16",
    }
    return TrainConfig.from_dict(content | changes)


@pytest.mark.parametrize("kind", ["LSTM", "Transformer"])
def test_a_configuration_becomes_a_model_that_can_be_loaded_and_its_numbers_are_those_of_the_file(corpus, tmp_path, kind):
    report = train(config(kind), tmp_path / "model")
    found = perplexity(load(str(tmp_path / "model")), report.split.test)
    assert found.nats == pytest.approx(report.test.nats, rel=1e-6), "measured after the rounding to float16"
    numbers = json.loads((tmp_path / "model" / "report.json").read_text())
    assert numbers["test"]["perplexity_per_word"] == pytest.approx(found.per_word)
    assert report.baseline.n_words == report.test.n_words
    chance = np.exp((np.log(5) * 2 + np.log(4)) / 6)  # per word of "the <noun> <verb> the <noun> and"
    assert chance < report.test.per_word < 2.5 * chance
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{report.test.per_word:.1f}" in card
    assert "Kneser-Ney" in card


def test_a_run_in_two_parts_ends_as_in_one(corpus, tmp_path):
    assert train(config(), tmp_path / "parts", until=60) is None
    parts, whole = train(config(), tmp_path / "parts"), train(config(), tmp_path / "whole")
    assert parts.lm.weights_hash() == whole.lm.weights_hash()
    for name in ("model.safetensors", "checkpoint.safetensors", "report.json", "README.md"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_that_is_given_up_leaves_its_best_weights_and_can_go_on(corpus, tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(FileError, match="holds no checkpoint"):
        train(config(), folder, give_up=True)
    assert train(config(), folder, until=110) is None
    report = train(config(), folder, give_up=True)
    assert (report.result.step, report.result.best_step) == (110, min((50, 100), key=dict(report.result.validations).get))
    assert perplexity(load(str(folder)), report.split.test).nats == pytest.approx(report.test.nats, rel=1e-6)
    assert "110 steps of 150 planned" in (folder / "README.md").read_text()
    assert train(config(), folder).lm.weights_hash() == train(config(), tmp_path / "whole").lm.weights_hash()


def test_held_out_text_is_not_trained_on(corpus):
    split = read_split(config().corpus)
    train_text = " ".join(document.text for document in split.train)
    assert len(split.train) + len(split.validation) + len(split.test) == 30
    assert all(document.text not in train_text for document in [*split.validation, *split.test])


def test_another_configuration_is_not_trained_in_the_same_folder(corpus, tmp_path):
    train(config(), tmp_path / "model", until=40)
    with pytest.raises(FileError, match=r"is of another run \(model differs\)"):
        train(config(model={"kind": "LSTM", "settings": {"width": 32, "n_layers": 1}}), tmp_path / "model")


def test_the_baseline_counts_the_same_words_and_bytes(corpus):
    split = read_split(config().corpus)
    report_tokens = config()
    from neurolm.training.recipe import build_tokenizer

    tokenizer = build_tokenizer(report_tokens.tokenizer, split.train)
    lm = build_model({"kind": "LSTM", "vocab_size": tokenizer.vocab_size, "width": 8, "n_layers": 1}, tokenizer)
    ours, theirs = perplexity(lm, split.test), kneser_ney_baseline(3, split, tokenizer)
    assert (ours.n_tokens, ours.n_words, ours.n_bytes) == (theirs.n_tokens, theirs.n_words, theirs.n_bytes)
    assert theirs.per_word < ours.per_word, "a fresh network knows nothing"


def character_run(
    tmp_path, *, train_text="one two three four five six " * 50, validation="two one six", test="one two", **changes
):
    """A run of characters whose texts come split; documents are files or members of an archive."""
    texts = {"train": train_text, "validation": validation, "test": test}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"{name}.txt", text)
    place = str(tmp_path / "all.zip::") if changes.pop("zipped", False) else f"{tmp_path}/"
    keys = {"train": "files", "validation": "validation_files", "test": "test_files"}
    corpus = {key: [f"{place}{name}.txt"] for name, key in keys.items()} | {"form": changes.pop("form", "written")}
    content = {
        "name": "letters",
        "corpus": corpus,
        "tokenizer": {"kind": "characters"},
        "model": {"kind": "LSTM", "settings": {"width": 8, "n_layers": 1}},
        "batches": {"kind": "streams", "batch_size": 2, "length": 8},
        "trainer": {"n_steps": 2},
        "baseline_order": 0,
    }
    return TrainConfig.from_dict(content | changes)


@pytest.mark.parametrize("form", ["written", "spoken", "lines", "raw"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_character_that_training_text_lacks_is_refused_before_the_first_step_by_the_name_of_its_text(
    tmp_path, form, zipped, part
):
    wrong = character_run(tmp_path, **{part: "one two 3 ñ"}, form=form, zipped=zipped)
    with pytest.raises(InputError, match=rf"^document {part}: .*got 3, ñ\. Replace"):
        train(wrong, tmp_path / "model")
    assert not (tmp_path / "model" / "train.json").exists(), "nothing is left of a run that never began"
    right = character_run(tmp_path, **{part: "one two"}, form=form, zipped=zipped)
    assert train(right, tmp_path / "model").test.n_words > 0, "the folder is free for the corrected run"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": "o"}, "document validation must hold a word to predict; got o. Without a start-of-text token"),
        ({"test": "one"}, "document test must hold a word to predict; got one"),
        ({"baseline_order": 3}, "baseline_order must be 0 for a tokenizer without a start-of-text token; got 3"),
        ({"baseline_order": -1}, "baseline_order must be at least 0"),
        ({"batches": {"kind": "documents", "batch_size": 2, "length": 8}}, "batches.kind must be streams or windows"),
        ({"batches": {"kind": "windows", "batch_size": 2, "length": 5000}}, "ids must be longer than one window of 5000"),
        (
            {
                "model": {"kind": "Transformer", "settings": {"width": 8, "n_layers": 1, "n_heads": 1, "max_context": 4}},
                "batches": {"kind": "windows", "batch_size": 2, "length": 8},
            },
            "batches.length must be at most 4, the model's max_context; got 8",
        ),
        ({"trainer": {"n_steps": 2, "optimizer": {"betas": [0.9, 1.5]}}}, r"betas must be two numbers in \[0, 1\)"),
        ({"trainer": {"n_steps": 2, "seed": 2**64}}, "seed must lie in"),
        ({"trainer": {"n_steps": 2, "accumulate": 3}}, "batch_size must be a multiple of"),
    ],
)
def test_what_would_fail_after_training_is_refused_before_it(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        train(character_run(tmp_path, **changes), tmp_path / "model")
    assert not (tmp_path / "model" / "checkpoint.safetensors").exists()


def test_documents_of_one_word_are_measured_where_a_start_of_text_token_stands_before_them(tmp_path):
    settings = {"tokenizer": {"kind": "words", "vocab_size": 20}, "baseline_order": 5}
    report = train(character_run(tmp_path, validation="two", test="one", **settings), tmp_path / "model")
    assert report.test.n_words == report.baseline.n_words == 1
    assert np.isfinite(report.baseline.per_word)


@pytest.mark.parametrize("form", ["written", "spoken", "lines", "raw"])
def test_a_byte_order_mark_is_no_letter_of_the_alphabet(tmp_path, form):
    marked = character_run(
        tmp_path, train_text="\ufeff" + "one two six " * 20, test="\ufeffone two", validation="two six", form=form
    )
    assert "\ufeff" not in train(marked, tmp_path / "model").lm.tokenizer.alphabet


def test_until_0_trains_nothing(corpus, tmp_path):
    assert train(config(), tmp_path / "model", until=0) is None
    assert not (tmp_path / "model" / "checkpoint.safetensors").exists()
    with pytest.raises(InputError, match="until must be at least 0"):
        train(config(), tmp_path / "model", until=-1)
    assert train(config(), tmp_path / "model", until=40) is None
    before = (tmp_path / "model" / "checkpoint.safetensors").read_bytes()
    assert train(config(), tmp_path / "model", until=0) is None
    assert (tmp_path / "model" / "checkpoint.safetensors").read_bytes() == before


def test_mistakes_are_told_before_training(corpus, tmp_path):
    with pytest.raises(InputError, match="hold the settings of LSTM"):
        train(config(model={"kind": "LSTM", "settings": {"witdh": 3}}), tmp_path / "model")
    with pytest.raises(FileError, match="no such file"):
        train(config(corpus={"files": ["$STORIES/none.txt"]}), tmp_path / "model")
