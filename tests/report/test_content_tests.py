"""What a report says of low-level features and content-free draws: counts only what was tested."""

from dataclasses import replace

import numpy as np

from neurolm.encoding.evaluation import BeyondLowLevel, ContentScores
from neurolm.report.content_tests import beyond_sentence, beyond_table, content_sentence, content_table, listed
from neurolm.report.encoding_page import report_page
from neurolm.report.methods import methods_paragraph
from neurolm.report.verdict import verdict


def with_tests(report):
    """Six regions: gains of .2 and .1 are significant in two, content in five."""
    difference = np.array([0.2, 0.1, 0.0, 0.0, 0.0, -0.1])
    q = np.array([0.006, 0.03, 0.5, 0.5, 0.5, 1.0])
    interval = np.stack([difference - 0.05, difference + 0.05])
    low = np.full(6, 0.3)
    beyond = BeyondLowLevel(
        low_level=low, joint=low + difference, difference=difference, interval=interval, p=q / 2, p_max=q, q=q
    )
    content = ContentScores(np.array([0.5, 0.5, 0.5, 0.5, 0.5, -0.2]), np.linspace(-0.1, 0.1, 199)[:, None] * np.ones(6))
    first = replace(report.scores[0], beyond=beyond, content=content, n_null=1000)
    methods = replace(report.methods, low_level=("word rate", "pauses", "sound power"))
    return replace(report, scores=(first, *report.scores[1:]), methods=methods)


def test_regions_with_a_gain_are_counted_with_the_columns_that_were_in(build):
    report = with_tests(build())
    said = (
        "The language model predicts beyond word rate, pauses and sound power in 2 of 6 regions "
        "(gain in held-out r 0.10 to 0.20 there, paired test, false discovery rate 0.05)."
    )
    assert beyond_sentence(report, report.scores[0]) == said
    assert said in verdict(report)
    assert "predicts better than 199 content-free draws in 5 of 6 regions" in verdict(report)
    assert "word rate, pauses and sound power" in methods_paragraph(report)
    assert "(Freedman & Lane, 1983)" in methods_paragraph(report)
    page = str(report_page(report).sections)
    assert "Beyond low-level features (word rate, pauses and sound power)" in page


def test_a_p_at_its_floor_is_an_upper_bound_in_both_tables(build):
    report = with_tests(build())
    assert "≤\u00a00.005" in str(content_table(report, report.scores[0]))
    assert "0.003" in str(beyond_table(report, report.scores[0]))


def test_nothing_is_said_where_nothing_was_tested(build):
    report = build()
    assert beyond_sentence(report, report.scores[0]) == ""
    assert content_sentence(report.scores[0], "regions", 0.05) == ""
    assert beyond_table(report, report.scores[0]) is None
    assert content_table(report, report.scores[0]) is None


def test_nothing_found_says_what_so_few_draws_could_have_found(build):
    report = with_tests(build())
    first = report.scores[0]
    beyond = replace(first.beyond, q=np.full(6, 0.9))
    few = replace(first, beyond=beyond, n_null=10, content=replace(first.content, draws=first.content.draws[:10] + 1))
    for said in (beyond_sentence(report, few), content_sentence(few, "regions", 0.05)):
        assert " in 0 of 6 regions" in said
        assert "Nothing could have been found: no p is smaller than 1/11" in said


def test_names_are_listed_as_in_a_sentence():
    assert listed(("word rate",)) == "word rate"
    assert listed(("word rate", "pauses", "sound power")) == "word rate, pauses and sound power"
