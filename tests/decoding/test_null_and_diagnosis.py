"""Nulls that cannot decode, and where errors come from."""

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.decoding.beam_search import BeamSearch
from neurolm.decoding.diagnosis import error_kind, rescore, teacher_forced_ranks, word_accuracy
from neurolm.decoding.null import null_decodes
from neurolm.decoding.proposals import WordProposals
from neurolm.decoding.word_rate import length_aware_times
from neurolm.stimuli import Transcript

from .conftest import toy_decoder


@pytest.mark.parametrize("kind", ["circular_shift", "random_likelihood"])
def test_null_decodes_share_word_times_and_differ_from_each_other(rng, kind):
    toy = toy_decoder(rng, n_trs=40, per_second=0.5)
    search = BeamSearch(toy.lm, toy.likelihood, 4)
    times = toy.story.mid_times[:20]
    nulls = null_decodes(search, times, 3, kind=kind, rng=1)
    assert len({text.words for text in nulls}) == 3
    assert all(np.array_equal(text.mid_times, times) for text in nulls)
    again = null_decodes(search, times, 3, kind=kind, rng=1)
    assert [t.words for t in again] == [t.words for t in nulls]


def test_a_run_too_short_for_the_shifts_is_refused(rng):
    toy = toy_decoder(rng, n_trs=40, per_second=0.5)
    with pytest.raises(InputError, match=r"n must be at most 11, the circular shifts of this run beyond 30 s; got 12"):
        null_decodes(BeamSearch(toy.lm, toy.likelihood, 2), toy.story.mid_times, 12)


def test_model_error_and_search_error_are_told_apart(rng):
    toy = toy_decoder(rng, n_trs=20, noise=0.05, n_voxels=60, width=24, per_second=1.0)
    search = BeamSearch(toy.lm, toy.likelihood, 1)
    lost = error_kind(toy.likelihood, search.decode(toy.story.mid_times), toy.story)
    assert lost.kind == "search error"
    assert lost.gain > 0
    assert error_kind(toy.likelihood, toy.story, toy.story).kind == "none"
    noise_alone = toy.likelihood.shifted(9)
    wide = BeamSearch(WordProposals(toy.lm, ratio=1e-3, mass=1.0), noise_alone, 30).decode(toy.story.mid_times)
    assert error_kind(noise_alone, wide, toy.story).kind == "model error"


def test_true_words_rank_first_when_there_is_no_noise_and_anywhere_when_there_is_nothing_else(rng):
    toy = toy_decoder(rng, n_trs=20, noise=0.02, n_voxels=100, width=24, per_second=1.0)
    search = BeamSearch(WordProposals(toy.lm, ratio=1e-6, mass=1.0, no_repeats=False), toy.likelihood, 1)
    ranks = teacher_forced_ranks(search, toy.story)
    assert ranks.coverage == pytest.approx(1, abs=0.02)  # the first word must be a pronoun
    assert ranks.percentile_rank > 0.9
    none = teacher_forced_ranks(search.with_likelihood(toy.likelihood.shifted(10)), toy.story)
    assert abs(none.percentile_rank - 0.5) < 0.2
    narrow = BeamSearch(WordProposals(toy.lm), toy.likelihood, 1)
    few = teacher_forced_ranks(narrow, toy.story)
    assert few.coverage < 0.8
    assert np.isnan(few.model_rank[~few.proposed]).all()
    assert (few.model_rank[few.proposed] >= 1).all()


def test_rescoring_orders_texts_by_the_whole_runs_likelihood(rng):
    toy = toy_decoder(rng, n_trs=20, noise=0.1, per_second=1.0)
    texts = [toy.story.with_words(rng.permutation(toy.story.words).tolist()) for _ in range(4)]
    ordered = rescore(toy.likelihood, [*texts, toy.story])
    assert ordered[0][0] == toy.story
    assert [value for _, value in ordered] == sorted((value for _, value in ordered), reverse=True)
    aware = rescore(toy.likelihood, [toy.story], length_aware=True)[0]
    times = length_aware_times(toy.story.words, toy.story.mid_times, toy.likelihood.run.tr_times)
    want = toy.likelihood.log_likelihood_of(Transcript(toy.story.words, times, times))
    assert aware[1] == pytest.approx(want)


def test_word_accuracy_ignores_case(rng):
    toy = toy_decoder(rng, n_trs=8)
    loud = toy.story.with_words([w.upper() for w in toy.story.words])
    assert word_accuracy(toy.story, loud) == 1
