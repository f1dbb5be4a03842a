"""The batched search against the published algorithm carried out step by step, one hypothesis at a time."""

import itertools
import math

import numpy as np
import pytest
import torch
from nltk.stem.snowball import SnowballStemmer

from neurolm.checks import InputError
from neurolm.decoding.beam_search import BeamSearch, _Search
from neurolm.decoding.candidate_features import CandidateFeatures
from neurolm.decoding.hypothesis import Beam, best_extensions, extension_counts
from neurolm.decoding.lexicon import FIRST_WORDS, FUNCTION_WORDS, Lexicon, vocabulary_of
from neurolm.decoding.proposals import WordProposals, nucleus_of
from neurolm.decoding.word_search import NextWords
from neurolm.features.lm_states import LMStates
from neurolm.lm import ToyModel
from neurolm.stimuli import ContextWindow, Transcript

from .conftest import WORDS, toy_decoder, voxel_log_likelihood
from .pieces import PieceTokenizer


def plain_search(toy, times, vocabulary, beam_width, extensions=5, context_s=8.0, mass=0.9, ratio=0.1):
    """Tang et al. (2023), in voxel space, with lists."""
    tokenizer, stem = toy.lm.tokenizer, SnowballStemmer("english").stem
    blank = toy.likelihood.blank_for(times).numpy()
    beam, beams, known = [((), 0.0)], [], {}
    for i in range(len(times)):
        pool = []
        order = sorted(range(len(beam)), key=lambda h: beam[h][1])
        values = [beam[h][1] for h in order]
        for h, (words, log_p) in enumerate(beam):
            if i == 0:
                proposals = [(w, 1 / len(FIRST_WORDS)) for w in FIRST_WORDS]
            else:
                start = max(0, min(min(j for j in range(i + 1) if j == i or times[j] > times[i] - context_s), i - 5))
                context = words[start:]
                ids = [tokenizer.bos_id, *tokenizer.encode(" ".join(context))]
                p = torch.softmax(toy.lm.step(torch.tensor([ids])).logits[0, -1].double(), 0).numpy()
                ranked = sorted(
                    (
                        (p[t], w)
                        for t, w in enumerate(tokenizer.vocabulary)
                        if w != "<eos>" and p[t] >= ratio * p[1:].max()  # <unk> counts in both cuts, as published
                    ),
                    key=lambda item: -item[0],
                )
                proposals, total = [], 0.0
                for value, w in ranked:
                    if total >= mass:
                        break
                    total += value
                    proposals.append((w, value))
                pairs = set(itertools.pairwise(context))
                proposals = [
                    (w, value)
                    for w, value in proposals
                    if w in vocabulary
                    and (context[-1], w) not in pairs
                    and (w in FUNCTION_WORDS or stem(w) not in {*context, *map(stem, context)})
                ]
            ties = [k for k, value in enumerate(values, start=1) if value == log_p]
            quota = math.ceil(extensions * np.mean(ties) / len(beam))
            scored = []
            for place, (w, value) in enumerate(proposals):
                text = (*words, w)
                for j in range(i + 1):
                    if text[: j + 1] not in known:
                        seen = text[max(0, j - 2) : j + 1]
                        known[text[: j + 1]] = toy.space.extract(Transcript(seen, times[: len(seen)], times[: len(seen)])).values[
                            -1
                        ]
                states = np.stack([known[text[: j + 1]] for j in range(i + 1)])
                filled = np.vstack([states, np.tile(blank, (len(times) - i - 1, 1))])
                scored.append((-voxel_log_likelihood(toy.listener, filled, times), h, place, text, log_p + math.log(value)))
            pool += sorted(scored, key=lambda c: c[0])[:quota]
        beam = [(text, log_p) for _, _, _, text, log_p in sorted(pool)[:beam_width]]
        beams.append([text for text, _ in beam])
    return beams


def beams_of(search, times):
    """The texts of the beam after every word."""
    state, beams = _Search(search, np.asarray(times), None), []
    for _ in times:
        state.step()
        beams.append([tuple(state.beam.text_of(h)) for h in range(state.beam.n_hypotheses)])
    return beams


@pytest.mark.parametrize("beam_width", [1, 5])
def test_beams_equal_the_published_algorithm_word_by_word(rng, beam_width):
    toy = toy_decoder(rng, n_trs=7)
    times = toy.story.mid_times
    vocabulary = set(WORDS) - {"winter", "quiet"}
    search = BeamSearch(WordProposals(toy.lm, vocabulary), toy.likelihood, beam_width)
    assert beams_of(search, times) == plain_search(toy, times, vocabulary, beam_width)


def test_decoding_without_noise_and_with_true_words_among_candidates_recovers_the_text(rng):
    toy = toy_decoder(rng, noise=0.02, n_voxels=200, width=48, per_second=1.0)
    search = BeamSearch(WordProposals(toy.lm, no_repeats=False), toy.likelihood, 30)
    result = search.search(toy.story.mid_times, extra_words=[[w] for w in toy.story.words])
    right = np.mean([a == b for a, b in zip(result.transcript.words, toy.story.words)])
    assert right > 0.85
    assert np.array_equal(result.transcript.mid_times, toy.story.mid_times)


def test_reported_likelihood_is_that_of_the_text(rng):
    toy = toy_decoder(rng, n_trs=14)
    result = BeamSearch(toy.lm, toy.likelihood, 5).search(toy.story.mid_times)
    for rank, hypothesis in enumerate(result.hypotheses):
        want = toy.likelihood.log_likelihood_of(result.transcript_of(rank))
        assert hypothesis.log_likelihood == pytest.approx(want, abs=1e-4)  # float32 features, other batches
    assert [h.log_likelihood for h in result.hypotheses] == sorted((h.log_likelihood for h in result.hypotheses), reverse=True)


@pytest.mark.parametrize(
    "context",
    [ContextWindow(1, "words"), ContextWindow(4, "words"), ContextWindow(5, "tokens"), ContextWindow(unit="story")],
    ids=str,
)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_candidate_features_equal_extraction(rng, context, pooling):
    pieces = [" riv", " st", " qu", " w", "er", "one", "iet", "ind", "ow", " home", " i"]
    model = ToyModel(PieceTokenizer(pieces), width=8)
    space = LMStates(model, [1, 2], context, pooling, leading_space=True)
    words = ["river", "stone", "quiet", "window", "home", "i"]
    lexicon = Lexicon(words)
    beam = Beam(lexicon)
    n = 1
    for _ in range(9):
        parents, chosen = rng.integers(0, n, size=7), rng.integers(0, 6, size=7)
        features = CandidateFeatures(space, lexicon, rows_at_once=4)
        vectors, which = features.vectors(beam, parents, chosen)
        for candidate in range(7):
            text = (*beam.text_of(int(parents[candidate])), words[chosen[candidate]])
            want = space.extract(Transcript(text, np.arange(len(text)), np.arange(len(text)))).values[-1]
            assert np.abs(vectors[which[candidate]].numpy() - want).max() < 1e-5
        beam.extend(parents, chosen, np.zeros(7))
        n = 7


def test_equal_endings_are_computed_once(rng):
    toy = toy_decoder(rng)
    lexicon = Lexicon(WORDS)
    beam = Beam(lexicon)
    for words in ([0, 1, 2], [5, 5, 5], [6, 6, 7]):
        beam.extend(np.arange(3) if beam.n_words else np.zeros(3, int), np.array(words), np.zeros(3))
    vectors, which = CandidateFeatures(toy.space, lexicon).vectors(beam, np.array([0, 1, 2, 0]), np.array([9, 9, 9, 8]))
    assert len(vectors) == 3
    assert which[0] == which[1] != which[2]


def test_any_feature_space_that_says_how_far_it_looks_back_can_decode(rng):
    toy = toy_decoder(rng, n_trs=6)

    class Wrapped:
        words_before = 2
        extract = toy.space.extract
        settings = toy.space.settings

    times = toy.story.mid_times
    want = BeamSearch(toy.lm, toy.likelihood, 4).decode(times)
    toy.likelihood.feature_space = Wrapped()
    assert BeamSearch(toy.lm, toy.likelihood, 4).decode(times) == want
    with pytest.raises(InputError, match="say `words_before`"):
        CandidateFeatures(object(), Lexicon())


def test_rank_decides_how_many_extensions_and_ties_share_their_rank():
    assert extension_counts(np.array([-3.0, -1.0, -2.0]), 5).tolist() == [2, 5, 4]
    assert extension_counts(np.array([-2.0, -2.0, -2.0, -2.0]), 5).tolist() == [4, 4, 4, 4]
    assert extension_counts(np.array([-7.0]), 5).tolist() == [5]
    assert extension_counts(np.arange(200.0), 5).sum() == 600


def test_best_extensions_respect_places_and_break_ties_by_hypothesis_then_nucleus():
    scores = np.array([1.0, 3.0, 2.0, 3.0, 3.0, 0.0])
    hypotheses = np.array([0, 0, 0, 1, 1, 2])
    assert best_extensions(scores, hypotheses, np.array([2, 1, 1]), 10).tolist() == [1, 3, 2, 5]
    assert best_extensions(scores, hypotheses, np.array([2, 2, 1]), 3).tolist() == [1, 3, 4]


def test_nucleus_ends_at_the_word_that_reaches_its_mass():
    words = NextWords(np.array([0, 0, 0, 1, 1]), np.arange(5), np.log([0.5, 0.4, 0.05, 0.3, 0.2]))
    assert nucleus_of(words, 0.9).words.tolist() == [0, 1, 3, 4]
    assert nucleus_of(words, 0.85).words.tolist() == [0, 1, 3, 4]
    assert nucleus_of(words, 0.5).words.tolist() == [0, 3, 4]


def test_context_is_the_last_seconds_but_never_too_few_words():
    times = np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 20, 20.5])
    proposals = WordProposals(ToyModel.for_words(WORDS), context_s=3, min_context_words=2)
    assert [proposals.context_start(i, times) for i in range(1, 10)] == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    hopping = WordProposals(ToyModel.for_words(WORDS), context_s=3, min_context_words=2, hop_s=2)
    assert [hopping.context_start(i, times) for i in range(1, 8)] == [0, 0, 1, 1, 3, 3, 5]
    assert WordProposals(ToyModel.for_words(WORDS), context_s=np.inf).context_start(9, times) == 0


@pytest.mark.parametrize("settings", [{"hop_s": 4.0}, {"context_s": np.inf}], ids=["hop", "all"])
def test_contexts_that_grow_go_on_from_their_states(rng, settings):
    toy = toy_decoder(rng, n_trs=14)
    times = toy.story.mid_times
    growing = BeamSearch(WordProposals(toy.lm, **settings), toy.likelihood, 6)
    fresh = BeamSearch(WordProposals(toy.lm, **settings), toy.likelihood, 6)
    fresh.proposals._search.reader.remember = False
    assert growing.decode(times).words == fresh.decode(times).words


def test_an_empty_nucleus_leaves_out_the_repetition_rule_then_widens(rng):
    toy = toy_decoder(rng, n_trs=8)
    times = toy.story.mid_times
    unlikely = WordProposals(toy.lm, ["i", "river"], ratio=1.0, first_words=["river"])
    result = BeamSearch(unlikely, toy.likelihood, 4).search(times)
    assert set(result.relaxed.values()) >= {"nucleus"}
    assert len(result.transcript) == len(times)
    assert set(result.transcript.words) == {"i", "river"}
    only = WordProposals(toy.lm, ["i"], ratio=1e-6, mass=1.0)
    assert set(BeamSearch(only, toy.likelihood, 4).search(times).relaxed.values()) == {"repetition rule"}


def test_a_vocabulary_that_the_model_never_says_is_refused(rng):
    toy = toy_decoder(rng, n_trs=8)
    with pytest.raises(
        InputError, match="vocabulary must hold a word that the language model can say after 'zebra'; got 1 words"
    ):
        BeamSearch(WordProposals(toy.lm, ["zebra"], first_words=["zebra"]), toy.likelihood).decode(toy.story.mid_times)


def test_a_beam_of_one_goes_on_with_the_language_model(rng):
    toy = toy_decoder(rng, n_trs=14)
    words = BeamSearch(toy.lm, toy.likelihood, 1).decode(toy.story.mid_times).words
    assert set(words[1:]) - set(FIRST_WORDS)


def test_language_model_weight_moves_the_output_to_likelier_words(rng):
    toy = toy_decoder(rng, n_trs=12)
    log_p = [
        BeamSearch(toy.lm, toy.likelihood, 8, lm_weight=weight).search(toy.story.mid_times).hypotheses[0].log_probability
        for weight in (0.0, 30.0, 3000.0)
    ]
    assert log_p[0] < log_p[1] <= log_p[2]


def test_a_killed_search_goes_on_after_its_last_word_and_finds_the_same_words(rng, tmp_path):
    toy = toy_decoder(rng, n_trs=30)
    times = toy.story.mid_times
    search = BeamSearch(toy.lm, toy.likelihood, 6)
    whole = search.search(times)

    class Killed(Exception):
        pass

    stops = {3: 1, 20: 4, 21: 21, len(times) - 1: 22}
    for stop, resumed in stops.items():
        seen = []

        def dies(done, total, unit, note, stop=stop, seen=seen):
            seen.append(done)
            if done == stop:
                raise Killed

        with pytest.raises(Killed):
            BeamSearch(toy.lm, toy.likelihood, 6).search(times, journal=tmp_path, progress=dies)
        assert seen[0] == resumed
        with open(tmp_path / "words.jsonl", "ab") as file:
            file.write(b'{"word": 999, "par')  # a line that was cut short
    again = BeamSearch(toy.lm, toy.likelihood, 6).search(times, journal=tmp_path)
    assert [h.words for h in again.hypotheses] == [h.words for h in whole.hypotheses]
    assert [h.log_likelihood for h in again.hypotheses] == pytest.approx([h.log_likelihood for h in whole.hypotheses], abs=1e-7)
    assert again.n_candidates.tolist() == whole.n_candidates.tolist()
    finished = BeamSearch(toy.lm, toy.likelihood, 6).search(times, journal=tmp_path)
    assert finished.transcript == whole.transcript
    assert len(list(tmp_path.glob("vectors-*.npy"))) < len(times) / 2


def test_a_journal_of_another_search_is_refused(rng, tmp_path):
    toy = toy_decoder(rng, n_trs=8)
    BeamSearch(toy.lm, toy.likelihood, 3).search(toy.story.mid_times, journal=tmp_path)
    with pytest.raises(InputError, match="is the journal of another search"):
        BeamSearch(toy.lm, toy.likelihood, 4).search(toy.story.mid_times, journal=tmp_path)


def test_progress_tells_words_rate_and_the_text_so_far(rng):
    toy = toy_decoder(rng, n_trs=8)
    told = []
    words = BeamSearch(toy.lm, toy.likelihood, 3).search(toy.story.mid_times, progress=lambda *a: told.append(a)).transcript.words
    assert [t[0] for t in told] == list(range(1, len(words) + 1))
    assert "words/s" in told[-1][3]
    assert told[-1][3].endswith(" ".join(words[-4:]))


def test_impossible_input_is_refused(rng):
    toy = toy_decoder(rng, n_trs=8)
    with pytest.raises(InputError, match=r"word_times must hold at least one word.*predicts no word"):
        BeamSearch(toy.lm, toy.likelihood).decode([])
    with pytest.raises(InputError, match="word_times must never fall; got 2 s, then 1 s"):
        BeamSearch(toy.lm, toy.likelihood).decode([0, 2, 1])
    with pytest.raises(InputError, match="first_words must share a word with the vocabulary"):
        WordProposals(toy.lm, ["river"])
    with pytest.raises(InputError, match="A sliding chunk begins at another token in every hypothesis"):
        CandidateFeatures(LMStates(toy.lm, 1, ContextWindow(8, "sliding")), Lexicon())


def test_vocabulary_is_what_occurs_twice():
    assert vocabulary_of([["A", "b", "c"], ["a", "B", "d"]]) == {"a", "b"}
    with pytest.raises(InputError, match="hold words that occur at least 9 times"):
        vocabulary_of([["a"]], 9)


def test_the_unknown_word_counts_in_both_cuts_and_is_never_proposed():
    lm = ToyModel.for_words(["i", "the", "cat", "sat"])
    vocabulary = lm.tokenizer.vocabulary
    for closed in (None, {"i", "the", "cat", "sat"}):
        proposals = WordProposals(lm, closed, mass=0.7, ratio=0.01, no_repeats=False)
        beam = Beam(proposals.lexicon)
        beam.extend(np.zeros(1, dtype=np.int64), proposals.lexicon.ids_of(["i"]), np.zeros(1))
        p = torch.softmax(lm.step(torch.tensor([[lm.tokenizer.bos_id, vocabulary.index("i")]])).logits[0, -1].double(), 0).numpy()
        kept, total = [], 0.0
        for i in sorted((i for i, w in enumerate(vocabulary) if w != "<eos>"), key=lambda i: -p[i]):
            if total >= 0.7:
                break
            total += p[i]
            kept.append(vocabulary[i])
        found, relaxed = proposals.propose(beam, np.array([0.0, 0.5]))
        assert not relaxed
        assert [proposals.lexicon.words[w] for w in found.words] == [w for w in kept if w != "<unk>"]
