import math

import pytest

from neurolm.checks import InputError
from neurolm.report.decoder_table import DecodedWindow, decoder_data, decoder_table, decoder_text, mark_words
from neurolm.report.figures import csv_text


def make_window(**more):
    fields = {
        "start_s": 20.0,
        "end_s": 40.0,
        "heard": ("She", "was", "considering"),
        "decoded": ("she", "<b>is</b>", "thinking"),
        "marks": ("exact", "error", "gist"),
        "scores": {"WER": 0.5, "BERTScore": math.nan},
    }
    return DecodedWindow(**{**fields, **more})


def test_words_are_exact_in_order_and_each_heard_word_counts_once():
    assert mark_words(["the", "cat", "the", "dog"], ["THE", "the", "the"]).count("exact") == 2
    assert mark_words(["a", "b"], ["b", "a"]).count("exact") == 1
    assert mark_words([], ["a"]) == ("error",)
    assert mark_words(["a"], []) == ()


def test_gist_words_are_similar_to_a_heard_word_that_is_left():
    def is_similar(heard, decoded):
        return (heard, decoded) == ("happy", "glad")

    assert mark_words(["I", "am", "happy"], ["I", "am", "glad", "glad"], is_similar=is_similar) == (
        "exact",
        "exact",
        "gist",
        "error",
    )
    assert mark_words(["I", "am", "happy"], ["happy", "glad"], is_similar=is_similar) == ("exact", "error")


def test_the_table_escapes_words_and_says_what_is_unknown():
    html = decoder_table([make_window()])
    assert "<b>" not in html
    assert "&lt;b&gt;is&lt;/b&gt;" in html
    assert '<td class="number">n/a</td>' in html
    assert '<span class="exact"><span class="sr">exact: </span>she</span>' in html


def test_the_text_marks_words_without_colour():
    assert decoder_text([make_window()]).splitlines() == [
        "20-40 s  WER 0.50  BERTScore n/a",
        "  heard    She was considering",
        "  decoded  *she* <b>is</b> ~thinking~",
    ]


def test_the_numbers_count_marks_per_window():
    data = decoder_data([make_window(), make_window(scores={})])
    assert data["n_exact"] == [1, 1]
    assert csv_text(data).splitlines()[2].endswith("1,1,1,n/a,n/a")


def test_marks_must_fit_the_words():
    with pytest.raises(InputError, match="decoded and marks must have the same length; got 3 and 1"):
        make_window(marks=("exact",))
    with pytest.raises(InputError, match="marks must be among exact, gist, error; got right"):
        make_window(marks=("exact", "right", "gist"))
