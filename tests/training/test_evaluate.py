import math

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import BytePairTokenizer, ToyModel, WordTokenizer
from neurolm.stimuli import Transcript
from neurolm.training.corpus import Document
from neurolm.training.evaluate import perplexity, token_nats

TEXT = "the cat sat on the mat and the dog sat on the cat . so it goes and goes on"


@pytest.fixture(scope="module")
def pairs():
    return BytePairTokenizer.train([TEXT] * 3, 270)


def reference_nats(lm, ids):
    """One pass over the whole document, straight from the definition."""
    logits = lm.step(torch.tensor(ids)[None]).logits[0].double()
    log_p = torch.log_softmax(logits, -1)
    return -log_p[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def test_streamed_documents_equal_one_pass_each(pairs):
    lm = ToyModel(pairs)
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, pairs.vocab_size, size=n) for n in (50, 3, 120, 1, 77, *range(2, 20))]
    for nats, ids in zip(token_nats(lm, documents, tokens_per_batch=32), documents):
        np.testing.assert_allclose(nats, reference_nats(lm, ids) if len(ids) > 1 else [], rtol=1e-5)


def test_stride_one_gives_every_token_exactly_its_context(pairs):
    lm = ToyModel(pairs, max_context=7)
    ids = np.random.default_rng(0).integers(0, pairs.vocab_size, size=40)
    nats = token_nats(lm, [ids], stride=1)[0]
    expected = [reference_nats(ToyModel(pairs), ids[max(0, t - 7) : t + 1])[-1] for t in range(1, 40)]
    np.testing.assert_allclose(nats, expected, rtol=1e-5)


@pytest.mark.parametrize("n", [2, 7, 8, 9, 23])
@pytest.mark.parametrize("stride", [1, 3, 7])
def test_windows_predict_every_token_once_with_enough_context(pairs, n, stride):
    lm = ToyModel(pairs, max_context=7)
    ids = np.random.default_rng(1).integers(0, pairs.vocab_size, size=n)
    nats = token_nats(lm, [ids], stride=stride)[0]
    assert nats.shape == (n - 1,)
    for t, value in enumerate(nats, start=1):
        possible = [reference_nats(ToyModel(pairs), ids[max(0, t - c) : t + 1])[-1] for c in range(7 - stride + 1, 8)]
        assert np.isclose(possible, value, rtol=1e-5).any(), f"token {t} was predicted from a context that is too short"


def test_a_uniform_model_has_the_vocabulary_as_its_perplexity(pairs):
    lm = ToyModel(pairs)
    lm.embeddings = torch.zeros_like(lm.embeddings)
    found = perplexity(lm, TEXT)
    n_tokens, n_words = len(pairs.encode(TEXT)), len(TEXT.split())
    assert n_tokens > n_words
    assert found.per_token == pytest.approx(pairs.vocab_size, rel=1e-6)
    assert found.per_word == pytest.approx(pairs.vocab_size ** (n_tokens / n_words), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(n_tokens * math.log2(pairs.vocab_size) / len(TEXT), rel=1e-6)


def test_nats_of_documents_add_up_and_do_not_leak(pairs):
    lm = ToyModel(pairs)
    first, second = TEXT[:30], "the dog sat on the mat"
    both, *each = perplexity(lm, [first, Document("b", second)]), perplexity(lm, first), perplexity(lm, second)
    assert both.nats == pytest.approx(sum(part.nats for part in each), rel=1e-6)
    assert both.n_words == sum(part.n_words for part in each)


def test_a_transcript_counts_its_words_and_reads_as_running_text(pairs):
    words = TEXT.split()
    story = Transcript(words, np.arange(len(words)), np.arange(len(words)) + 0.5)
    lm = ToyModel(pairs)
    assert perplexity(lm, story) == perplexity(lm, TEXT)


def test_without_a_start_token_the_first_word_is_context_only():
    tokenizer = WordTokenizer.from_words(TEXT.split(), unknown=None, eos=None)
    lm = ToyModel(tokenizer)
    found = perplexity(lm, TEXT)
    assert found.n_tokens == found.n_words == len(TEXT.split()) - 1
    assert found.n_bytes == len(TEXT) - len("the")
    assert found.nats == pytest.approx(reference_nats(lm, tokenizer.encode(TEXT)).sum(), rel=1e-5)


def test_unknown_words_make_bits_per_byte_undefined():
    lm = ToyModel.for_words(TEXT.split())
    assert perplexity(lm, "the cat sat").bits_per_byte > 0
    found = perplexity(lm, "the zebra sat")
    assert found.n_unknown == 1
    assert math.isnan(found.bits_per_byte)


def test_impossible_input_is_refused(pairs):
    with pytest.raises(InputError, match="hold a word to predict"):
        perplexity(ToyModel(pairs), "  ")
    with pytest.raises(InputError, match="context must be at most 7"):
        perplexity(ToyModel(pairs, max_context=7), TEXT, context=8)
    with pytest.raises(InputError, match=r"stride must lie in 1\.\.7"):
        perplexity(ToyModel(pairs, max_context=7), TEXT, stride=8)
