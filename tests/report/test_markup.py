import numpy as np
import pytest

from neurolm.report.markup import Markup, element, interval, join, number, probability, table


def test_text_is_escaped_and_markup_is_not():
    made = element("p", "a < b & c", element("b", "<i>"))
    assert made == "<p>a &lt; b &amp; c<b>&lt;i&gt;</b></p>"


def test_attributes_are_escaped_and_named():
    made = element("a", "x", href='"><script>', class_="c", aria_label="l", hidden=True, title=None)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" class="c" aria-label="l" hidden>x</a>'


def test_strings_made_from_markup_are_escaped_again():
    # Adding a plain string to Markup gives a plain string: nothing becomes markup by accident.
    assert not isinstance(Markup("<b>") + "x", Markup)
    assert join([Markup("<b>") + "x"]) == "&lt;b&gt;x"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.567, "0.57"),
        (-0.5, "−0.50"),
        (-0.001, "0.00"),
        (np.nan, "n/a"),
        (np.inf, "n/a"),
        (None, "n/a"),
        (np.float32(1), "1.00"),
    ],
)
def test_numbers_have_a_true_minus_and_no_nan(value, text):
    assert number(value) == text


def test_an_interval_with_an_unknown_end_is_not_available():
    assert interval(0.1, np.nan) == "n/a"
    assert interval(-0.1, 0.2) == "−0.10 to 0.20"


def test_probabilities_never_read_as_zero():
    assert [probability(p) for p in (0.0001, 0.001, 0.04999, np.nan)] == ["< 0.001", "0.001", "0.050", "n/a"]


def test_p_at_the_least_that_the_permutations_allow_is_a_bound():
    assert probability(1 / 101, 1 / 101) == "≤\u00a00.010"
    assert probability(1 / 10_001, 1 / 10_001) == "≤\u00a00.0001"
    assert probability(2 / 101, 1 / 101) == "0.020"


def test_a_table_escapes_every_cell():
    made = table(("<a>", "b"), [("<r>", "<c>")], caption="<k>")
    assert "<a>" not in made
    assert "&lt;a&gt;" in made
    assert "&lt;c&gt;" in made
    assert "&lt;k&gt;" in made
    assert made.startswith('<div class="scroll" tabindex="0" role="region"')
