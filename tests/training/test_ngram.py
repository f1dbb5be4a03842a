"""Kneser-Ney beside an independent, slow implementation straight from Chen & Goodman's formulas."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.training.ngram import KneserNey

BOS = 0


def slow_kneser_ney(documents, order, vocab_size):
    """Dictionaries of tuples; returns p(word | context tuple)."""
    raw = [Counter() for _ in range(order + 1)]
    for document in documents:
        tokens = [BOS, *document]
        for n in range(1, order + 1):
            for i in range(len(tokens) - n + 1):
                raw[n][tuple(tokens[i : i + n])] += 1
    adjusted = [None] * (order + 1)
    for n in range(1, order + 1):
        if n == order:
            adjusted[n] = Counter(raw[n])
        else:
            adjusted[n] = Counter(gram[1:] for gram in raw[n + 1])
            for gram, count in raw[n].items():
                if gram[0] == BOS and n > 1:
                    adjusted[n][gram] = count
        adjusted[n].pop((BOS,), None)
    discounts, followers = [None], [None]
    for n in range(1, order + 1):
        c = Counter(adjusted[n].values())
        if min(c[k] for k in (1, 2, 3, 4)) == 0:
            discounts.append([0, 0.5, 1.0, 1.5])
        else:
            y = c[1] / (c[1] + 2 * c[2])
            discounts.append([0] + [k - (k + 1) * y * c[k + 1] / c[k] for k in (1, 2, 3)])
        after = defaultdict(dict)
        for gram, count in adjusted[n].items():
            after[gram[:-1]][gram[-1]] = count
        followers.append(after)

    def p(word, context):
        n = len(context) + 1
        lower = 1 / (vocab_size - 1) if n == 1 else p(word, context[1:])
        counts = followers[n].get(context)
        if not counts:
            return lower
        d, total = discounts[n], sum(counts.values())
        taken = sum(d[min(count, 3)] for count in counts.values())
        own = counts.get(word, 0)
        return max(own - d[min(own, 3)], 0) / total + taken / total * lower

    return p


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, 20)
    return [rng.choice(np.arange(1, 20), size=n, p=weights / weights.sum()) for n in (900, 40, 1, 300)]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_equal_the_slow_implementation(documents, order):
    held_out = [np.random.default_rng(1).integers(1, 25, size=60), np.array([3, 3, 24, 1])]
    model = KneserNey(order, 25, BOS).fit(documents)
    p = slow_kneser_ney(documents, order, 25)
    for document, nats in zip(held_out, model.token_nats(held_out)):
        tokens = (BOS, *document.tolist())
        expected = [-np.log(p(tokens[i], tokens[max(0, i - order + 1) : i])) for i in range(1, len(tokens))]
        np.testing.assert_allclose(nats, expected, rtol=1e-12)


def test_hand_computed_bigrams():
    # text: a b a b a c, fallback discounts (0.5, 1, 1.5); events a, b, c, d (start is never predicted)
    a, b, c, d = 1, 2, 3, 4
    model = KneserNey(2, 5, BOS).fit([np.array([a, b, a, b, a, c])])
    # continuation counts: a after {start, b} 2, b after {a} 1, c after {a} 1; total 4
    # taken: 1 + 0.5 + 0.5 = 2 -> reserved 2/4; p1(b) = 0.5/4 + 0.5 * 1/4 = 0.25; p1(d) = 0.125
    # after a: b 2, c 1, total 3; taken 1 + 0.5 -> p(b|a) = 1/3 + 0.5 * 0.25
    nats = model.token_nats([np.array([a, b]), np.array([a, d])])
    assert np.exp(-nats[0][1]) == pytest.approx(1 / 3 + 0.5 * 0.25)
    assert np.exp(-nats[1][1]) == pytest.approx(0.5 * 0.125)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_sum_to_one(documents, order):
    model = KneserNey(order, 25, BOS).fit(documents)
    for context in ([], [1], [24], [2, 1, 1], [1, 1, 1, 1]):
        nats = model.token_nats([np.array([*context, word]) for word in range(1, 25)])
        assert sum(np.exp(-part[-1]) for part in nats) == pytest.approx(1, abs=1e-12)


def test_longer_context_helps_on_text_that_has_it():
    rng = np.random.default_rng(0)
    text = np.tile(np.arange(1, 11), 100)
    noisy = np.where(rng.random(len(text)) < 0.1, rng.integers(1, 11, len(text)), text)
    nats = [np.mean(KneserNey(n, 11, BOS).fit([noisy[:800]]).token_nats([noisy[800:]])[0]) for n in (1, 2, 3)]
    assert nats[0] == pytest.approx(np.log(10), abs=0.1)
    assert nats[2] < nats[1] < nats[0] - 1


def test_impossible_input_is_refused():
    with pytest.raises(InputError, match="An empty corpus trains nothing"):
        KneserNey(3, 10, BOS).fit([])
    with pytest.raises(InputError, match="order must be at least 1"):
        KneserNey(0, 10, BOS)
    with pytest.raises(InputError, match=r"token ids in 0\.\.9"):
        KneserNey(2, 10, BOS).fit([np.array([1, 2])]).token_nats([np.array([10])])


@pytest.mark.parametrize("order", [2, 4, 5, 9])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_order_that_no_document_reaches_backs_off_to_the_longest_that_there_is(order, length):
    document = np.array([1, 2, 3])[:length]
    model = KneserNey(order, 5, 0).fit([document] * 20)
    total = sum(np.exp(-model.token_nats([np.array([*document[:-1], word])])[0][-1]) for word in range(1, 5))
    assert total == pytest.approx(1), "after any context the probabilities of all words sum to one"
    reached = KneserNey(min(order, length + 1), 5, 0).fit([document] * 20)
    texts = [np.array([1, 2, 1]), np.array([3])]
    for ours, theirs in zip(model.token_nats(texts), reached.token_nats(texts)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
