"""Exact, gist and error by the written rule."""

import itertools

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.decoding.embedding_recall import StaticEncoder
from neurolm.decoding.gist import common_subsequence, compare_texts, mark_words
from neurolm.decoding.text_scores import WordErrorRate
from neurolm.features.static_embeddings import StaticEmbeddings
from neurolm.stimuli import Transcript


def test_common_subsequence_is_the_longest(rng):
    for _ in range(30):
        a, b = (list(rng.choice(list("abc"), size=rng.integers(0, 8))) for _ in range(2))
        pairs = common_subsequence(a, b)
        assert all(a[i] == b[j] for i, j in pairs)
        assert all(p[0] < q[0] and p[1] < q[1] for p, q in itertools.pairwise(pairs))
        longest = max(
            n
            for n in range(len(a) + 1)
            for own in itertools.combinations(a, n)
            if any(own == other for other in itertools.combinations(b, n))
        )
        assert len(pairs) == longest


def test_each_heard_word_is_used_once_and_exact_comes_first():
    similarity = np.array([[1.0, 0.2, 0.9], [0.1, 0.95, 0.8]])
    assert mark_words(["cat", "road"], ["cat", "street", "lane"], similarity, 0.7) == ("exact", "gist", "error")
    assert mark_words(["cat", "road"], ["cat", "street", "lane"], similarity, np.nan) == ("exact", "error", "error")
    assert mark_words([], ["a"], np.zeros((0, 1)), 0.5) == ("error",)
    assert mark_words(["a"], [], np.zeros((1, 0)), 0.5) == ()


def vectors(tmp_path, rng, words):
    """Word vectors in which word 2k + 1 means nearly what word 2k means."""
    base = rng.normal(size=(len(words) // 2, 20))
    rows = [base[i // 2] + (0.2 * rng.normal(size=20) if i % 2 else 0) for i in range(len(words))]
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(f"{w} {' '.join(f'{x:.5f}' for x in row)}" for w, row in zip(words, rows)))
    return StaticEncoder(StaticEmbeddings(path, missing=0.0))


def test_threshold_calls_one_in_twenty_null_words_gist_and_finds_planted_gist(tmp_path, rng):
    words = [f"w{i:03d}" for i in range(400)]
    encoder = vectors(tmp_path, rng, words)
    times = np.arange(0, 200, 0.5)

    def text(own):
        return Transcript(tuple(own), times, times)

    heard = rng.choice(words[::2], size=400)
    nulls = [text(rng.choice(words[::2], size=400)) for _ in range(10)]
    planted = [words[words.index(w) + 1] if i % 4 == 1 else (w if i % 4 == 0 else "zzz") for i, w in enumerate(heard)]
    result = compare_texts(text(planted), text(heard), encoder=encoder, null=nulls, scores=[WordErrorRate()])
    assert result.share("exact") == pytest.approx(0.25, abs=0.01)
    assert result.share("gist") == pytest.approx(0.25, abs=0.03)
    chance = compare_texts(text(rng.choice(words[::2], size=400)), text(heard), encoder=encoder, null=nulls)
    assert chance.share("gist") < 0.08
    assert {mark: len(null) for mark, null in result.null_shares.items()} == {"exact": 10, "gist": 10}
    assert result.null_shares["gist"].mean() == pytest.approx(0.05, abs=0.02)
    assert result.null_shares["exact"].mean() == pytest.approx(0.08, abs=0.02)
    assert (result.share_p("exact"), result.share_p("gist")) == (1 / 11, 1 / 11)
    assert "which 5% of" in result.rule
    assert "~" in result.to_text()
    assert "*" in result.to_text()
    first = result.to_records()[0]
    assert len(first["marks"].split()) == len(first["decoded"].split())
    assert first["wer"] == pytest.approx(0.75)


def test_where_nothing_was_decoded_shares_of_words_are_those_of_null_decodes_and_p_is_no_smaller_than_it_says(tmp_path, rng):
    words = [f"w{i:02d}" for i in range(40)]
    encoder, times = vectors(tmp_path, rng, words), np.arange(0, 40, 0.5)
    small, above = {"exact": 0, "gist": 0}, {"exact": [], "gist": []}
    for _ in range(60):
        heard, *texts = (Transcript(tuple(rng.choice(words, size=80)), times, times) for _ in range(11))
        result = compare_texts(texts[0], heard, encoder=encoder, null=texts[1:])
        for mark in small:
            small[mark] += result.share_p(mark) <= 2 / 11
            above[mark].append(result.share(mark) - result.null_shares[mark].mean())
    assert max(small.values()) <= 17  # 11 expected at most: equal shares count against the decode
    assert all(abs(np.mean(values)) < 0.01 for values in above.values())


def test_without_an_encoder_there_is_no_gist_and_the_rule_says_so(tmp_path, rng):
    times = np.arange(0, 45.0)
    text = Transcript(("a",) * 45, times, times)
    result = compare_texts(text, text)
    assert [w.start_s for w in result.windows] == [0, 20]
    assert result.share("exact") == 1
    assert "no encoder was given" in result.rule
    alone = compare_texts(text, text, encoder=vectors(tmp_path, rng, ["a", "b"]), null=[text])
    assert "null decodes hold no content words" in alone.rule
    assert alone.share("exact") == 1
    assert list(alone.null_shares) == ["exact"]
    assert np.isnan(result.share_p("exact"))
    with pytest.raises(InputError, match="hold null decodes when an encoder is given"):
        compare_texts(text, text, encoder=vectors(tmp_path, rng, ["a", "b"]))
