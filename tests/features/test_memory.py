"""How many tokens a batch may hold."""

import numpy as np
import pytest
import torch

from neurolm.features import memory
from neurolm.lm import LSTM

LENGTHS = np.array([30, 130, 90])


@pytest.fixture
def plenty(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**12)


def test_transformers_get_batches_of_about_two_thousand_tokens(models, plenty):
    lm = models["transformer"]
    assert memory.choose_budget(lm, memory.bytes_per_token(lm, 4), LENGTHS) == 2048


def test_recurrent_models_get_batches_of_many_rows(models, plenty):
    lm = models["LSTM"]
    assert memory.choose_budget(lm, memory.bytes_per_token(lm, 4), LENGTHS) == 64 * 130


def test_one_long_stream_is_cut_into_chunks(models, plenty):
    assert memory.choose_budget(models["LSTM"], 1000, np.array([100_000])) == 2048


def test_little_free_memory_makes_small_batches(models, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 4_000_000)
    assert memory.choose_budget(models["transformer"], 1000, LENGTHS) == 1000
    assert memory.choose_budget(models["transformer"], 100_000, LENGTHS) == 256


def test_the_vocabulary_counts_where_words_are_predicted(models):
    lm = models["transformer"]
    assert memory.bytes_per_token(lm, 1, 50_000) - memory.bytes_per_token(lm, 1) == 4 * 3 * 50_000


def test_free_memory_is_within_the_machine():
    free = memory.free_memory(torch.device("cpu"))
    assert 0 < free < 1 << 50


def test_the_widths_are_found_by_reading_a_token(models, bpe):
    assert memory.layer_widths(models["gpt2 of transformers"]) == (32, 32, 32, 32)
    assert memory.layer_widths(LSTM(bpe, width=24, n_layers=3, embedding_width=8)) == (8, 24, 24, 8)
