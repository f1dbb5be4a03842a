import math

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LanguageModel, ToyModel
from neurolm.lm.language_model import reorder_state

WORDS = ["the", "cat", "sat", "on", "the", "mat", "and", "the", "dog", "sat", "on", "the", "cat"]


@pytest.fixture
def toy():
    return ToyModel.for_words(WORDS, timescales=(2.0, 8.0))


def ids_of(toy, words):
    return torch.from_numpy(toy.tokenizer.encode_words(words).ids)[None]


def test_it_satisfies_the_protocol(toy):
    assert isinstance(toy, LanguageModel)
    out = toy.step(ids_of(toy, WORDS))
    assert out.logits.shape == (1, len(WORDS), toy.tokenizer.vocab_size)
    assert [h.shape for h in out.hidden] == [(1, len(WORDS), 16)] * 3


def test_chunks_equal_the_whole_by_bits(toy):
    ids = ids_of(toy, WORDS)
    whole = toy.step(ids)
    first = toy.step(ids[:, :5])
    second = toy.step(ids[:, 5:], first.state)
    assert torch.equal(torch.cat([first.hidden[2], second.hidden[2]], 1), whole.hidden[2])


def test_a_layer_forgets_at_its_timescale(toy):
    """Two pasts that differ in the first word part as e^(-t / timescale)."""
    one, other = ids_of(toy, ["cat", *WORDS]), ids_of(toy, ["dog", *WORDS])
    gap = (toy.step(one).hidden[1] - toy.step(other).hidden[1]).norm(dim=-1)[0]
    expected = gap[0] * torch.exp(-torch.arange(len(WORDS) + 1) / 2.0)
    torch.testing.assert_close(gap, expected, rtol=1e-3, atol=1e-6)


def test_layers_above_the_highest_asked_for_are_not_computed(toy):
    out = toy.step(ids_of(toy, WORDS), layers=[1], logits=False)
    assert out.logits is None
    assert out.hidden[0] is None
    assert out.hidden[2] is None
    assert len(out.state[1]) == 1


def test_the_same_seed_gives_the_same_hash(toy):
    assert toy.weights_hash() == ToyModel.for_words(WORDS).weights_hash()
    assert toy.weights_hash() != ToyModel.for_words(WORDS, seed=1).weights_hash()
    assert toy.weights_hash() != ToyModel.for_words(WORDS, timescales=(2.0, 9.0)).weights_hash()


def test_reordered_state_follows_its_row(toy):
    ids = torch.tensor([[2, 3], [4, 5]])
    state = reorder_state(toy.step(ids).state, torch.tensor([1, 0]))
    swapped = toy.step(torch.tensor([[2], [2]]), state).logits
    straight = toy.step(torch.tensor([[2], [2]]), toy.step(ids).state).logits
    assert torch.equal(swapped, straight[[1, 0]])


def test_too_long_a_state_is_refused():
    toy = ToyModel.for_words(WORDS, max_context=4)
    with pytest.raises(InputError, match="fit in 4 tokens"):
        toy.step(torch.zeros(1, 5, dtype=torch.int64))


def test_decay_is_the_exponential_of_the_timescale(toy):
    np.testing.assert_allclose(toy.decays, [math.exp(-1 / 2), math.exp(-1 / 8)])
