import re
from dataclasses import replace

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.report import lights, verdict
from neurolm.report.methods import cited, methods_paragraph
from neurolm.report.verdict import shown


def test_arrays_of_another_shape_are_refused(build):
    report = build()
    with pytest.raises(InputError, match=r"interval of mean listener must have shape \(2, 31, 6\); got \(31, 6\)"):
        replace(report.scores[0], interval=report.scores[0].r)
    with pytest.raises(InputError, match="r of mean listener must have shape"):
        replace(report, regions=report.regions[:-1])
    with pytest.raises(InputError, match="word_rate of alice and tr_times must have the same length"):
        replace(report.alignment[0], word_rate=np.zeros(3))
    with pytest.raises(InputError, match=r"listeners\.r must have shape"):
        replace(report, listeners=replace(report.listeners, r=np.zeros((2, 31, 6))))


def test_the_verdict_states_the_numbers_of_the_table(build):
    report = build()
    now = shown(report.scores[0])
    best = int(now.r.argmax())
    text = verdict(report)
    assert f"in {(now.q < 0.05).sum()} of 6 regions" in text
    layer = report.scores[0].layers[now.position[best]]
    highest = f"Highest of 6, a choice that is not corrected for: {report.regions[best]}, layer {layer}, r = {now.r[best]:.2f}"
    assert highest in text
    assert "Higher than word rate in 6 and lower in 0 of the 6 regions where either of them predicts (paired test," in text
    assert "content-free" not in text  # no test, no claim
    single = shown(report.scores[1])
    assert f"Single listeners there: r = {single.r[best]:.2f}, {100 * single.share[best]:.0f}% of the ceiling." in text


def test_only_regions_where_either_predicts_are_counted_and_only_by_the_paired_test(build):
    """Of 700 columns of noise half lie above word rate: that is no finding."""
    rng = np.random.default_rng(0)
    report = build(regions=tuple(f"v{i}" for i in range(700)), layers=(0,), columns="voxels")
    scores, n = report.scores[0], 700
    r, rate = 0.05 * rng.standard_normal((2, n))
    r[:20], rate[20:25] = 0.4, 0.3
    q, rate_q, difference_q = (np.full(n, 0.9) for _ in range(3))
    q[:20], rate_q[20:25], difference_q[:12], difference_q[20:22] = 0.01, 0.01, 0.02, 0.02
    difference_q[600] = 0.001  # neither predicts there
    word_rate = replace(
        scores.baselines[0], r=rate, q=rate_q, difference=r - rate, difference_p=difference_q, difference_q=difference_q
    )
    scores = replace(scores, r=r[None], q=q[None], baselines=(word_rate,))
    text = verdict(replace(report, scores=(scores,)))
    assert "Higher than word rate in 12 and lower in 2 of the 25 voxels where either of them predicts" in text
    assert (r > rate).sum() > 300


def test_nothing_significant_is_said_plainly(build):
    report = build()
    scores = replace(report.scores[0], q=np.ones_like(report.scores[0].r))
    assert verdict(replace(report, scores=(scores,))) == (
        "SmolLM2-135M predicts held-out BOLD of the mean listener in 0 of 6 regions (false discovery rate 0.05)."
    )


def test_nothing_found_names_what_so_few_permutations_could_have_found(build):
    report = build()
    scores = replace(report.scores[0], q=np.ones_like(report.scores[0].r), n_null=39)
    scores = replace(scores, chosen=replace(scores.chosen, q=np.ones(6)) if scores.chosen else None)
    text = verdict(replace(report, scores=(scores,)))
    assert text.endswith("With 39 permutations an effect in fewer than 3 of 6 regions could not have been found, however strong.")
    none = replace(scores, n_null=9)
    assert "Nothing could have been found: no p is smaller than 1/10 with 9 permutations." in verdict(
        replace(report, scores=(none,))
    )
    found = {light.name: light for light in lights(replace(report, scores=(none,)))}
    assert found["Resolution"].status == "failed"
    assert "Resolution" not in {light.name for light in lights(replace(report, scores=(replace(scores, n_null=999),)))}


def test_a_share_of_the_ceiling_has_an_interval_of_both(build):
    from neurolm.report.verdict import share_interval

    r, ceiling = np.array([0.4, 0.4]), np.array([0.5, 0.5])
    low, high = share_interval(r, np.array([[0.3, 0.4], [0.5, 0.4]]), ceiling, np.array([[0.5, 0.4], [0.5, 0.6]]))
    np.testing.assert_allclose(low, [0.8 - 0.2, 0.8 - 0.8 * 0.2])
    np.testing.assert_allclose(high, [0.8 + 0.2, 0.8 + 0.8 * 0.2])
    assert np.isnan(share_interval(r, np.stack([r, r]), ceiling, None)).all()
    report = build()
    scores = replace(
        report.scores[0], ceiling_interval=np.stack([report.scores[0].ceiling * 0.9, report.scores[0].ceiling * 1.1])
    )
    assert "% to " in verdict(replace(report, scores=(scores, *report.scores[1:])))


def test_untested_scores_make_no_claim(build):
    report = build()
    scores = replace(report.scores[0], p=None, q=None)
    assert "nothing was tested, so no claim is made" in verdict(replace(report, scores=(scores,)))


def test_a_failed_alignment_outranks_every_score(build):
    report = build()
    story = report.alignment[0]
    failed = replace(story, findings=(*story.findings, type(story.findings[0])("lag", "failed", "shifted")))
    report = replace(report, alignment=(failed,))
    assert "mean nothing yet" in verdict(report)
    assert lights(report)[0].status == "failed"
    overridden = verdict(replace(report, override=("lag",)))
    assert overridden.startswith("In spite of a failed alignment check (lag), as the config asks: SmolLM2-135M predicts")


def test_regions_without_a_score_stay_unknown(build):
    report = build()
    r = report.scores[0].r.copy()
    r[:, 1] = np.nan
    scores = replace(report.scores[0], r=r)
    now = shown(scores)
    assert now.position[1] == -1
    assert np.isnan([now.r[1], now.p[1], now.q[1], now.low[1], now.share[1]]).all()
    assert any(light.name == "Missing" and "RATL" in light.message for light in lights(replace(report, scores=(scores,))))


def test_alphas_at_an_end_of_the_grid_are_warned_of(build):
    report = build()
    grid = report.alphas.grid
    for chosen, words in ((grid[:1], "downwards$"), (grid[-1:], "upwards, unless"), (grid[[0, -1]], "downwards; 50% .* upwards")):
        light = next(
            x for x in lights(replace(report, alphas=replace(report.alphas, chosen=np.tile(chosen, 9)))) if x.name == "Penalties"
        )
        assert light.status == "warning"
        assert re.search(words, light.message.rstrip("."))
    extended = replace(report, alphas=replace(report.alphas, chosen=np.tile(grid[-1:], 9), is_extended=True))
    light = next(x for x in lights(extended) if x.name == "Penalties")
    assert light.status == "ok"
    assert "extended" in light.message


def test_the_ceiling_share_is_unknown_where_there_is_no_positive_ceiling(build):
    scores = build().scores[0]
    now = shown(replace(scores, ceiling=np.array([0.8, 0.0, -0.1, np.nan, 0.7, 0.6])))
    assert np.isnan(now.share).tolist() == [False, True, True, True, False, False]


def test_arrays_of_nothing_but_nan_count_as_not_given(build):
    report = build()
    scores = replace(report.scores[0], who="sub-01", ceiling=np.full(6, np.nan), null=np.full((2, 31, 6), np.nan))
    assert scores.ceiling is None
    assert scores.null is None
    assert "predicts held-out BOLD of sub-01 in 6 of 6" in verdict(replace(report, scores=(scores,)))
    assert any("no noise ceiling" in light.message for light in lights(replace(report, scores=(scores,))))


def test_the_methods_paragraph_says_that_a_fit_was_repeated_only_where_it_was(build):
    report = build()
    assert "those of all subjects by the same lags, and the whole fit was repeated (1,000 draws);" in methods_paragraph(report)
    fixed = methods_paragraph(replace(report, methods=replace(report.methods, null="shift prediction")))
    assert "were shifted circularly, those of all subjects by the same lags, against its predictions" in fixed
    assert "repeated" not in fixed


def test_the_methods_paragraph_says_where_columns_left_the_null(build):
    report = build(columns="voxels")
    sequential = methods_paragraph(replace(report, methods=replace(report.methods, stop_after=10)))
    assert (
        "(1,000 draws at most: voxels left the null once it had reached their scores 10 times (Besag & Clifford, 1991))"
        in sequential
    )


def test_the_methods_paragraph_cites_what_it_names_and_nothing_else(build):
    report = build()
    paragraph = methods_paragraph(report)
    assert "27 subjects of the Alice data set (Brennan et al., 2016)" in paragraph
    assert "copies delayed by 1, 2, 3 and 4 TRs" in paragraph
    keys = [work.key for work in cited(report)]
    assert keys == ["brennan2016", "huth2016", "hoerl1970", "benjamini1995", "phipson2010", "spearman1910", "brown1910"]
    assert all(work.short in paragraph for work in cited(report))


def test_simulated_data_are_named_first_in_the_methods(build):
    report = build()
    dataset = replace(report.dataset, is_simulated=True)
    assert methods_paragraph(replace(report, dataset=dataset)).startswith("The data were simulated")
