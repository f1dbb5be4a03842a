import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.features import Features
from neurolm.timescales.contrast_items import covariates_of, extremes, read_candidates

TABLE = """Word\tConc\tCount\tClass
apple\t5.0\t120\tNoun
truth\t1.5\t400\tNoun
run\t4.0\t900\tVerb
gizmo\t4.5\t2\tNoun
fire truck\t4.9\t0\t#N/A
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "norms.txt").write_text(TABLE)
    return tmp_path / "norms.txt"


def test_rows_are_chosen_by_class_and_frequency(path):
    found = read_candidates(path, "Conc", "Count", only={"Class": ["Noun"]}, least_frequency=100)
    assert found.items == ("apple", "truth")
    assert found.ratings.tolist() == [5.0, 1.5]
    np.testing.assert_allclose(found.frequency, np.log10([121, 401]))


def test_phrases_are_items_with_a_space_whatever_their_count(path):
    assert read_candidates(path, "Conc", "Count", kind="phrases", least_frequency=100).items == ("fire truck",)


def test_a_table_without_frequencies_has_zeros_to_match_on(path):
    found = read_candidates(path, "Conc")
    assert len(found.items) == 4
    assert (found.frequency == 0).all()


def test_what_is_not_there_is_said(path):
    with pytest.raises(InputError, match="has no column 'Klass'"):
        read_candidates(path, "Conc", only={"Klass": ["Noun"]})
    with pytest.raises(InputError, match="holds no words that are asked for"):
        read_candidates(path, "Conc", "Count", least_frequency=5000)
    with pytest.raises(InputError, match="at least 3 on each side"):
        extremes(read_candidates(path, "Conc"), 4, 0.5, np.random.default_rng(0))


def test_extremes_are_the_ends_of_the_rating(path):
    from neurolm.timescales.contrast_items import Candidates

    everything = Candidates(
        tuple(f"w{i}" for i in range(40)), np.random.default_rng(1).permutation(np.arange(40.0)), np.zeros(40)
    )
    kept = extremes(everything, 40, 0.25, np.random.default_rng(0))
    assert sorted(kept.ratings) == [*range(10), *range(30, 40)]


def test_covariates_are_letters_frequency_and_surprisal_in_the_sentence(path):
    class Place:
        """Each word's place in what is heard."""

        def extract(self, transcript):
            return Features(np.arange(len(transcript), dtype=float)[:, None], transcript.mid_times)

        def settings(self):
            return {}

    found = read_candidates(path, "Conc", "Count", kind="phrases")
    covariates = covariates_of(found, Place(), ["they saw {} today", "a {}"])
    assert covariates.tolist() == [[9, 0, ((2 + 3) / 2 + (1 + 2) / 2) / 2]]
