"""The models that come with the package: small, whole, and as good as their cards say."""

import json
import os
import re

import numpy as np
import pytest
import torch

from neurolm.lm import generate, load
from neurolm.lm.model_files import SHIPPED
from neurolm.training.config import TrainConfig
from neurolm.training.evaluate import perplexity
from neurolm.training.recipe import read_split

NAMES = ("lstm-small", "mt-lstm-small", "transformer-small")
TEXT = "it was the best of times and the men and women of the house went out into the garden to see what had been done"


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_it_is_small_and_comes_with_its_config_log_and_card(name):
    folder = SHIPPED / name
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000
    config = TrainConfig.from_dict(json.loads((folder / "train.json").read_text()))
    report = json.loads((folder / "report.json").read_text())
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert (config.name, lines[-1]["step"]) == (name, report["steps"])
    assert min(line["validation"] for line in lines if "validation" in line) < 0.8 * lines[0]["loss"]
    card = (folder / "README.md").read_text()
    for part in ("test", "kneser_ney"):
        assert f"{report[part]['perplexity_per_word']:.1f}" in card
    assert not re.search(r"masc|movie|alice", json.dumps(config.to_dict()["corpus"]), re.IGNORECASE), "public domain alone"


def test_it_loads_offline_and_knows_english_from_a_heap_of_words(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    lm = load(f"neurolm/{name}")
    assert lm.name == f"neurolm/{name}"
    assert next(iter(lm.parameters())).dtype == torch.float32
    heap = " ".join(np.random.default_rng(0).permutation(TEXT.split()))
    assert 3 * perplexity(lm, TEXT).per_word < perplexity(lm, heap).per_word
    assert generate(lm, "the king of", 8, seed=0) == generate(lm, "the king of", 8, seed=0) != ""


@pytest.mark.skipif("NEUROLM_DATA" not in os.environ, reason="NEUROLM_DATA names no folder of data")
def test_the_card_says_what_the_file_does(name):
    """On one held-out speech here, on all of the test text in the slow test."""
    folder = SHIPPED / name
    config = TrainConfig.from_dict(json.loads((folder / "train.json").read_text()))
    report = json.loads((folder / "report.json").read_text())
    split = read_split(config.corpus)
    for part in ("train", "validation", "test"):
        assert sum(document.n_words for document in getattr(split, part)) == report["words"][part]
    shortest = min(split.test, key=lambda document: document.n_words)
    assert perplexity(load(f"neurolm/{name}"), shortest).per_word < 3 * report["test"]["perplexity_per_word"]


@pytest.mark.slow
@pytest.mark.skipif("NEUROLM_DATA" not in os.environ, reason="NEUROLM_DATA names no folder of data")
def test_the_stated_perplexity_is_that_of_the_file(name):
    folder = SHIPPED / name
    config = TrainConfig.from_dict(json.loads((folder / "train.json").read_text()))
    found = perplexity(load(f"neurolm/{name}"), read_split(config.corpus).test)
    report = json.loads((folder / "report.json").read_text())
    assert found.per_word == pytest.approx(report["test"]["perplexity_per_word"], rel=1e-4)
    assert found.bits_per_byte == pytest.approx(report["test"]["bits_per_byte"], rel=1e-4)
