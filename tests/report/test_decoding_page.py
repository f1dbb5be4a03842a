import numpy as np
import pytest

from neurolm.decoding.gist import ComparedWindow, Comparison
from neurolm.decoding.window_scores import WindowScores
from neurolm.report.decoded_words_figure import decoded_words
from neurolm.report.decoding_figures import identification_ranks
from neurolm.report.decoding_page import as_windows, decoding_page, decoding_pictures, verdict
from neurolm.report.figures import svg_text


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def comparison():
    marks = ("exact", "gist", "error")
    windows = [
        ComparedWindow(10.0 * i, 10.0 * i + 10, ("the", "old", "<b>ship</b>"), ("the", "ancient", "road"), marks, {"wer": 2 / 3})
        for i in range(3)
    ]
    return Comparison(tuple(windows), 0.5, "an encoder", 200)


@pytest.fixture
def scores(rng):
    null = rng.uniform(0, 0.2, size=(19, 4))
    return WindowScores(np.arange(4.0), 10.0, {"bleu1": np.full(4, 0.5)}, {"bleu1": null}, {"bleu1": "BLEU-1"})


def summary(scores, comparison, p):
    rows = [row | {"story_p": p} for row in scores.table()]
    words = {mark: comparison.share(mark) for mark in ("exact", "gist", "error")}
    return {
        "scores": rows,
        "published_null": rows,
        "error": {"kind": "search error", "heard": -10.0, "decoded": -12.0},
        "words": words,
        "teacher_forced": {"coverage": 0.25, "percentile_rank": 0.75},
        "identification": {"mean_percentile_rank": 0.8, "p_value": 0.02, "n_windows": 3},
    }


def test_the_page_holds_words_scores_and_reasons_and_escapes_what_was_heard(scores, comparison):
    pictures = decoding_pictures(scores, comparison)
    page = decoding_page("Title", summary(scores, comparison, 0.05), comparison, pictures, notes=("A note.",), settings={"a": 1})
    html = page.html()
    assert '<span class="exact"><span class="sr">exact: </span>the</span>' in html
    assert "<b>ship" not in html
    assert "search error" in html
    assert "proposes 25% of the true next words" in html
    assert "A note." in html
    assert "Simulated data." not in html


def test_the_verdict_says_which_scores_beat_shifted_bold(scores, comparison):
    assert "Above decodes of shifted BOLD at p ≤ .05, each score by itself: BLEU-1." in verdict(summary(scores, comparison, 0.05))
    assert "No score is above" in verdict(summary(scores, comparison, 0.2))


def test_the_verdict_prints_chance_and_p_of_exact_and_gist_words_and_a_p_at_its_floor_as_a_bound(scores, comparison):
    found = summary(scores, comparison, 0.05)
    found["words_by_chance"] = {
        "exact": {"mean": 0.08, "p": 0.05, "n_null": 19},
        "gist": {"mean": 0.3, "p": 0.4, "n_null": 19},
    }
    said = "33% are exact (decodes of shifted BOLD 8%, p ≤ 0.050), 33% are gist (decodes of shifted BOLD 30%, p = 0.400) and"
    assert said in verdict(found)
    html = decoding_page("T", found, comparison, decoding_pictures(scores, comparison)).html()
    assert "≤\u00a00.050" in html
    assert "0.000" not in html


def test_so_few_null_decodes_that_nothing_can_be_found_are_named(comparison, rng):
    few = WindowScores(np.arange(4.0), 10.0, {"bleu1": np.full(4, 0.9)}, {"bleu1": rng.uniform(0, 0.2, (9, 4))}, {"bleu1": "B"})
    found = summary(few, comparison, 0.1)
    assert "With 9 decodes of shifted BOLD no p can reach .05: nothing could have been found." in verdict(found)
    assert np.isnan(found["scores"][0]["windows_q05"])
    html = decoding_page("T", found, comparison, decoding_pictures(few, comparison)).html()
    assert "Windows: n/a where so few null decodes could have shown nothing" in html


def test_the_picture_marks_every_word_and_gives_the_same_bytes(comparison):
    picture = decoded_words(as_windows(comparison))
    assert "3 exact, 3 gist, 3 error" in picture.description
    texts = {text.get_text(): text for text in picture.figure.axes[0].texts}
    assert texts["ancient"].get_color() == "#d55e00"
    assert texts["the"].get_weight() == "bold"
    assert svg_text(picture.figure) == svg_text(decoded_words(as_windows(comparison)).figure)


def test_long_texts_are_broken_into_lines_within_their_column():
    window = ComparedWindow(0, 20, ("wonderful",) * 40, ("harbour",) * 40, ("error",) * 40)
    picture = decoded_words(as_windows(Comparison((window,), float("nan"), "", 0)))
    x = np.array([t.get_position()[0] for t in picture.figure.axes[0].texts if t.get_text() == "wonderful"])
    assert len(np.unique([t.get_position()[1] for t in picture.figure.axes[0].texts if t.get_text() == "wonderful"])) > 3
    assert x.max() < 0.545 * 9.6 * 72


def test_ranks_of_listeners_stand_beside_the_null(rng):
    picture = identification_ranks({"likelihood": ([0.6, 0.7], rng.uniform(0.4, 0.6, 100))})
    assert "by likelihood 0.650" in picture.description
