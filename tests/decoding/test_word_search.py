"""Words from pieces: against every word there is, one by one."""

import itertools

import numpy as np
import pytest
import torch

from neurolm.decoding.lexicon import Lexicon
from neurolm.decoding.prefix_states import PrefixReader, plan_cuts
from neurolm.decoding.word_search import WordPieces, WordSearch
from neurolm.lm import ToyModel

from .pieces import small_pieces


def fold_into(lexicon):
    def fold(spelling):
        return lexicon.id_of(spelling.lower()) if any(c.isalnum() for c in spelling) else -1

    return fold


def sharp(model, factor):
    model.embeddings *= factor
    return model


CONTEXTS = [(0, 1, 5, 2), (0, 3), (0, 1, 5, 6, 7, 2, 9), (0, 3)]


def every_spelling(model, context, max_pieces):
    """{spelling: probability} of all words of up to `max_pieces` pieces, each read from the beginning."""
    pieces = WordPieces(model.tokenizer)
    begins, continues = np.flatnonzero(pieces.begins), np.flatnonzero(pieces.continues)
    out = {}
    for n in range(max_pieces):
        spellings = [(first, *rest) for first in begins for rest in itertools.product(continues, repeat=n)]
        logits = model.step(torch.tensor([[*context, *spelling] for spelling in spellings])).logits
        p = torch.softmax(logits.double(), dim=2).numpy()[:, len(context) - 1 :]
        for spelling, own in zip(spellings, p):
            value = own[0, spelling[0]] / own[0, begins].sum()
            for i, token in enumerate(spelling[1:], start=1):
                value *= own[i, token]
            if any(c.isalnum() for token in spelling for c in pieces.texts[token]):
                out[spelling] = value * (1 - own[n + 1, continues].sum())
    return out


def as_words(model, spellings):
    """The spellings' probabilities summed by lower-case word."""
    texts = WordPieces(model.tokenizer).texts
    words = {}
    for spelling, p in spellings.items():
        word = "".join(texts[t] for t in spelling).strip().lower()
        words[word] = words.get(word, 0.0) + p
    return words


@pytest.mark.parametrize(("sharpness", "ratio"), [(0.5, 0.1), (1.0, 0.1), (1.0, 1e-9)])
def test_pieces_sum_to_words_exactly(sharpness, ratio):
    model = sharp(ToyModel(small_pieces(), width=6), sharpness)
    lexicon = Lexicon()
    got = WordSearch(model, fold_into(lexicon), ratio=ratio, max_pieces=3).next_words(CONTEXTS)
    for row, context in enumerate(CONTEXTS):
        spellings = every_spelling(model, context, 3)
        words = as_words(model, {s: p for s, p in spellings.items() if p >= ratio * max(spellings.values())})
        want = {w: p for w, p in words.items() if p >= ratio * max(words.values())}
        own = {lexicon.words[w]: np.exp(v) for c, w, v in zip(got.contexts, got.words, got.log_probabilities) if c == row}
        assert own == pytest.approx(want, rel=1e-5)
        assert list(own.values()) == sorted(own.values(), reverse=True)


def test_words_of_all_lengths_have_probability_one_together():
    model = sharp(ToyModel(small_pieces(), width=6), 1.5)
    got = WordSearch(model, lambda spelling: hash(spelling) % 10**9, ratio=1e-5, max_pieces=40).next_words([(0, 3)])
    assert np.exp(got.log_probabilities).sum() == pytest.approx(1, abs=0.03)


def test_bound_and_batches_change_no_word():
    model = sharp(ToyModel(small_pieces(), width=6), 1.5)
    results = []
    for rows_at_once in (1, 3, 256):
        lexicon = Lexicon()
        got = WordSearch(model, fold_into(lexicon), ratio=0.1, rows_at_once=rows_at_once).next_words(CONTEXTS)
        results.append({(c, lexicon.words[w]): v for c, w, v in zip(got.contexts, got.words, got.log_probabilities)})
    assert results[0] == pytest.approx(results[1], abs=1e-5)
    assert results[0] == pytest.approx(results[2], abs=1e-5)


def test_log_probability_of_any_spelling_is_exact():
    model = ToyModel(small_pieces(), width=6)
    search = WordSearch(model, fold_into(Lexicon()), ratio=0.3)
    for spelling, p in every_spelling(model, CONTEXTS[1], 2).items():
        assert search.log_probability(CONTEXTS[1], spelling) == pytest.approx(np.log(p), abs=1e-5)


def test_whole_words_keep_the_models_own_distribution():
    model = ToyModel.for_words(["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran"], width=6)
    lexicon = Lexicon()
    context = tuple(model.tokenizer.encode("<eos> the cat sat"))
    got = WordSearch(model, fold_into(lexicon), ratio=0.1).next_words([context])
    p = torch.softmax(model.step(torch.tensor([context])).logits[0, -1].double(), 0).numpy()
    words = [model.tokenizer.vocabulary[i] for i in np.argsort(-p) if "<" not in model.tokenizer.vocabulary[i]]
    kept = [w for w in words if p[model.tokenizer.vocabulary.index(w)] >= 0.1 * p[model.tokenizer.vocabulary.index(words[0])]]
    assert [lexicon.words[w] for w in got.words] == kept
    assert np.exp(got.log_probabilities) == pytest.approx([p[model.tokenizer.vocabulary.index(w)] for w in kept])


def test_pieces_know_their_part():
    pieces = WordPieces(small_pieces())
    texts = np.array(pieces.texts)
    assert set(texts[pieces.begins]) == {" a", " b", " c", " A", " "}
    assert set(texts[pieces.continues]) == {"a", "b", "c", "ab", "'"}
    assert not pieces.are_whole_words
    assert WordPieces(ToyModel.for_words(["x", "y"]).tokenizer).are_whole_words


def random_contexts(rng, n=24):
    trunk = rng.integers(1, 9, size=12).tolist()
    contexts = []
    for _ in range(n):
        keep = rng.integers(0, 13)
        contexts.append((0, *trunk[:keep], *rng.integers(1, 9, size=rng.integers(0, 4)).tolist()))
    return contexts


@pytest.mark.parametrize("call_cost", [0, 16, 10**6])
@pytest.mark.parametrize("remember", [False, True])
def test_shared_prefixes_give_what_reading_alone_gives(rng, call_cost, remember):
    model = ToyModel(small_pieces(), width=6)
    reader = PrefixReader(model, call_cost=call_cost, remember=remember)
    contexts = random_contexts(rng)
    for _ in range(3):
        groups = reader.read(contexts)
        assert sorted(np.concatenate([g.rows for g in groups]).tolist()) == list(range(len(contexts)))
        for group in groups:
            for i, row in enumerate(group.rows):
                alone = model.step(torch.tensor([contexts[row]]))
                assert torch.allclose(group.logits[i], alone.logits[0, -1], atol=1e-5)
                got, _ = reader.step(group.state, np.array([i]), np.array([[3, 5]]))
                want = model.step(torch.tensor([[*contexts[row], 3, 5]])).logits[0, -1]
                assert torch.allclose(got[0], want, atol=1e-5)
        contexts = [(*contexts[i], *rng.integers(1, 9, size=rng.integers(1, 3)).tolist()) for i in rng.integers(0, 24, size=24)]


def test_shared_prefixes_are_read_once(rng):
    class Counting(ToyModel):
        tokens = 0

        def step(self, ids, *args, **kwargs):
            self.tokens += ids.numel()
            return super().step(ids, *args, **kwargs)

    model = Counting(small_pieces(), width=6)
    contexts = random_contexts(rng, 60)
    distinct = {context[:n] for context in contexts for n in range(1, len(context) + 1)}
    PrefixReader(model, call_cost=0).read(contexts)
    assert model.tokens == len(distinct)


def test_cuts_are_the_cheapest(rng):
    contexts = sorted({context[:9] for context in random_contexts(rng, 8)})
    lengths = {len(c) for c in contexts}

    def cost(cuts):
        return sum(
            len({c[:stop] for c in contexts if len(c) >= stop}) * (stop - start) + 5 for start, stop in zip([0, *cuts], cuts)
        )

    depths = range(1, max(lengths) + 1)
    allowed = [
        cuts
        for n in range(1, len(depths) + 1)
        for cuts in itertools.combinations(depths, n)
        if lengths <= set(cuts) and max(lengths) in cuts
    ]
    assert cost(plan_cuts(contexts, 5)) == min(cost(list(cuts)) for cuts in allowed)


def test_entries_of_a_whole_word_vocabulary_may_hold_dots():
    model = ToyModel.for_words(["mr.", "u.s.", "the", "किताब", "--"])
    begins = {model.tokenizer.vocabulary[i] for i in WordSearch(model, fold_into(Lexicon()), ratio=0.1).pieces.begin_ids}
    assert begins == {"mr.", "u.s.", "the", "किताब"}
