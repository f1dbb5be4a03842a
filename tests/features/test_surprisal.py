"""Surprisal and entropy against the definition, word by word, and against closed forms."""

import math

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.features import FeatureCache, FeatureSpace, Surprisal
from neurolm.lm.language_model import LMOutput
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.stimuli import ContextWindow

CONTEXTS = [
    ContextWindow(1),
    ContextWindow(8),
    ContextWindow(3, "tokens"),
    ContextWindow(24, "sliding"),
    ContextWindow(unit="story"),
]


def start_of_window(word, context, spans):
    if context.unit == "story":
        return 0
    if context.unit == "words":
        return spans[max(0, word - context.n), 0]
    if context.unit == "tokens":
        return max(0, spans[word, 0] - context.n)
    start = 0
    while spans[word, 1] > start + context.n:
        start += context.n // 2
    return start


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_it_is_the_sum_over_tokens_of_minus_log_probability(lm, story, context):
    """Each word from a forward pass of its own, in float64 from the logits on."""
    tokens = lm.tokenizer.encode_words(story.words, leading_space=False)
    expected = []
    for word, (first, stop) in enumerate(tokens.spans):
        start = start_of_window(word, context, tokens.spans)
        ids = [lm.tokenizer.bos_id, *tokens.ids[start:stop].tolist()]
        with torch.inference_mode():
            log_p = torch.log_softmax(lm.step(torch.tensor([ids])).logits[0].double(), -1)
        at = range(first - start, stop - start)  # after the tokens before; position 0 is the separator
        expected.append(
            [
                -sum(float(log_p[p, ids[p + 1]]) for p in at),
                -sum(float((log_p[p].exp() * log_p[p]).sum()) for p in at),
            ]
        )
    ours = Surprisal(lm, context, entropy=True).extract(story)
    assert np.abs(ours.values - expected).max() <= 1e-5 * np.max(expected)
    assert ours.names == ("surprisal", "entropy")


def test_streamed_in_chunks_it_is_the_same(lm, story):
    at_once = Surprisal(lm, ContextWindow(unit="story"), entropy=True).extract(story).values
    streamed = Surprisal(lm, ContextWindow(unit="story"), entropy=True, batch_tokens=9).extract(story).values
    assert np.abs(streamed - at_once).max() <= 1e-5 * at_once.max()


def test_the_entropy_of_a_word_does_not_depend_on_the_word(models, make_story):
    """Before a one-token word both stories are the same, so is the uncertainty; the surprisal is not."""
    lm = models["gpt2 of transformers"]
    endings = [word for word in ("the", "of", "to", "and", "her") if len(lm.tokenizer.encode(" " + word)) == 1][:2]
    values = [
        Surprisal(lm, ContextWindow(5), entropy=True).extract(make_story(["her", "book", "of", last])).values for last in endings
    ]
    assert values[0][3, 1] == values[1][3, 1]
    assert values[0][3, 0] != values[1][3, 0]


class Markov:
    """p(b | a) is 0.9 where b follows a in the alphabet, else the rest is shared."""

    name, n_layers, max_context = "markov", 0, None
    device = torch.device("cpu")

    def __init__(self):
        self.tokenizer = WordTokenizer(list("abcd"), unknown=None, eos="<eos>")
        n = self.tokenizer.vocab_size
        p = torch.full((n, n), 0.1 / (n - 1))
        p[torch.arange(n), (torch.arange(n) + 1) % n] = 0.9
        self.log_p = p.log()

    def step(self, ids, state=None, layers=None, *, logits=True):
        return LMOutput(self.log_p[ids] if logits else None, (ids[..., None].float(),), ())

    def weights_hash(self):
        return "markov"


def test_a_markov_chain_has_the_surprisal_and_entropy_of_its_table(make_story):
    features = Surprisal(Markov(), ContextWindow(3), entropy=True).extract(make_story(list("abca")))
    common, rare = -math.log(0.9), -math.log(0.1 / 4)
    np.testing.assert_allclose(features.values[:, 0], [common, common, common, rare], rtol=1e-6)
    np.testing.assert_allclose(features.values[:, 1], 0.9 * common + 0.1 * rare, rtol=1e-6)


def test_n_counts_the_words_before(lm, story):
    features = Surprisal(lm, ContextWindow(4)).extract(story)
    assert features.context.tolist()[:6] == [0, 1, 2, 3, 4, 4]
    assert features.shortened.tolist()[:6] == [True] * 4 + [False] * 2


def test_a_later_word_changes_no_bit_of_an_earlier_surprisal(lm, make_story, story):
    other = [*story.words[:-1], "cat"]
    for context in CONTEXTS:
        before = Surprisal(lm, context, batch_tokens=1).extract(story).values
        after = Surprisal(lm, context, batch_tokens=1).extract(make_story(other)).values
        np.testing.assert_array_equal(after[:-1], before[:-1])
        assert after[-1] != before[-1]


def test_a_cached_surprisal_serves_the_entropy_too(lm, story, tmp_path):
    cache = FeatureCache(tmp_path)
    alone = Surprisal(lm, ContextWindow(4), cache=cache).extract(story)
    both = Surprisal(lm, ContextWindow(4), entropy=True, cache=cache).extract(story)
    assert len(list(tmp_path.glob("*.h5"))) == 1
    np.testing.assert_array_equal(both.values[:, :1], alone.values)


def test_a_tokenizer_without_a_first_token_is_refused():
    model = Markov()
    model.tokenizer = WordTokenizer(list("abcd"), unknown=None, eos=None)
    with pytest.raises(InputError, match="lm must have a beginning-of-text token"):
        Surprisal(model, ContextWindow(3))


def test_it_is_a_feature_space(models):
    assert isinstance(Surprisal(models["toy"], ContextWindow(3)), FeatureSpace)
