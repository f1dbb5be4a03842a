"""Figures of timescales, language models and encoding weights."""

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.report.figures import inline_svg, power
from neurolm.report.language_model_figures import attention_map, gradient_norm_by_lag, recall_by_lag
from neurolm.report.response_figures import haemodynamic_response, parts_scatter
from neurolm.report.timescale_figures import context_curves, timescale_map

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("value", "text"), [(10, "10"), (250.0, "250"), (1e4, "10⁴"), (31622.8, "3.2·10⁴"), (1e-6, "10⁻⁶"), (0.5, "0.5"), (0, "0")]
)
def test_powers_read_as_powers(value, text):
    assert power(value) == text


@pytest.mark.parametrize("n_regions", [1, 2, 7])
def test_context_curves_carry_every_number(n_regions):
    scales, curve = 2 ** np.arange(6), RNG.random((6, n_regions))
    regions = [f"R{i}" for i in range(n_regions)]
    index = np.where(np.arange(n_regions) % 2, np.nan, 8.0)
    picture = context_curves(scales, curve, regions, units="words", interval=np.stack([curve, curve + 1]), index=index)
    assert np.array_equal(np.reshape(picture.data["value"], (6, n_regions)), curve)
    assert picture.data["context_words"][:n_regions] == [1] * n_regions
    assert "<svg" in inline_svg(picture, "c")


def test_context_curves_of_too_many_regions_say_what_to_do():
    with pytest.raises(InputError, match=r"regions must be at most 48; got 49\. Draw a choice of regions, or a timescale_map"):
        context_curves(np.arange(1, 3), np.zeros((2, 49)), [str(i) for i in range(49)], units="words")


def test_a_scale_of_zero_gets_a_linear_axis():
    picture = context_curves(np.array([0, 1, 2]), np.zeros((3, 1)), ["A"], units="s")
    assert picture.figure.axes[0].get_xscale() == "linear"


def test_the_timescale_map_puts_short_windows_first_and_unknown_last():
    index = np.array([30.0, np.nan, 5.0])
    picture = timescale_map(["A", "B", "C"], index, units="words", interval=np.stack([index * 0.8, index * 1.2]))
    assert [t.get_text() for t in picture.figure.axes[0].get_yticklabels()] == ["C", "A", "B"]
    svg = inline_svg(picture, "t")
    assert svg.count("n/a") == 1
    assert "nan" not in svg
    assert picture.description == "Window of 3 regions: from C, 5.0, to A, 30.0 words."


def test_no_window_at_all_is_said():
    picture = timescale_map(["A"], np.array([np.nan]), units="s")
    assert picture.description == "Window of 1 regions: none was found."
    with pytest.raises(InputError, match="above zero"):
        timescale_map(["A"], np.array([0.0]), units="s")


def test_gradient_norms_of_zero_leave_the_line_but_not_the_numbers():
    lags = np.arange(1, 5)
    picture = gradient_norm_by_lag(lags, {"RNN": np.array([1, 0.1, 0, 0])})
    drawn = picture.figure.axes[0].lines[0].get_ydata()
    assert np.isnan(drawn).tolist() == [False, False, True, True]
    assert picture.data["RNN"].tolist() == [1, 0.1, 0, 0]
    assert "mathdefault" not in inline_svg(picture, "g")


def test_recall_shows_chance():
    lags = np.arange(1, 30)
    curve = np.exp(-lags / 5)
    picture = recall_by_lag(lags, {"LSTM": curve}, chance=0.1, interval={"LSTM": np.stack([curve - 0.1, curve + 0.1])})
    assert set(picture.data) == {"lag", "LSTM", "LSTM_low", "LSTM_high", "chance"}
    with pytest.raises(InputError, match="curves must be 1 to 6; got 7"):
        recall_by_lag(lags, {str(i): curve for i in range(7)}, chance=0.1)


def test_attention_is_listed_for_allowed_pairs_only():
    tokens = ["<b>", "a", "$x$"]
    weights = np.tril(np.ones((3, 3))) / np.arange(1, 4)[:, None]
    picture = attention_map(weights, tokens, title="head")
    assert len(picture.data["attention"]) == 6
    assert "&lt;b&gt;</text>" in inline_svg(picture, "a")
    with pytest.raises(InputError, match=r"weights must have shape \(3, 3\)"):
        attention_map(weights[:2], tokens)


@pytest.mark.parametrize("n_regions", [1, 6, 7, 40])
def test_the_response_peaks_where_the_weights_do(n_regions):
    response = np.array([0.1, 1.0, 0.5])[:, None] * np.ones(n_regions)
    picture = haemodynamic_response([1, 2, 3], response, [f"R{i}" for i in range(n_regions)], tr=2.0)
    line = picture.figure.axes[0].lines[-2]
    assert line.get_xdata()[np.argmax(line.get_ydata())] == 4.0


def test_parts_without_a_value_are_counted_not_drawn():
    picture = parts_scatter(
        np.array([0.1, np.nan, 0.2]), np.array([0.3, 0.3, 0.1]), ["A", "B", "C"], labels=("word rate", "language model")
    )
    assert picture.description == "unique R² of language model is above that of word rate in 1 of 2 regions. 1 have no value."
    assert len(picture.figure.axes[0].lines[-1].get_xdata()) == 2
    assert len(picture.data["word_rate"]) == 3
