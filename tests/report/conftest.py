"""Reports with made-up numbers of a realistic size: 27 listeners, 362 rows, 6 regions, 31 layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from neurolm import report as nr

REGIONS = ("LATL", "RATL", "LPTL", "LIPL", "LPreM", "LIFG")


@dataclass(frozen=True)
class Finding:
    name: str
    status: str
    message: str


def make_story(rng: np.random.Generator, name: str = "alice", n_trs: int = 362, status: str = "ok") -> nr.StoryAlignment:
    times = 20 + 2.0 * np.arange(n_trs)
    rate = rng.poisson(5.7 * (1 + 0.4 * np.sin(times / 9)), n_trs)
    bold = np.convolve(rate - rate.mean(), [0, 0.1, 0.5, 0.9, 0.6, 0.2], "full")[:n_trs]
    bold = bold / bold.std() * 0.4 + 0.2 * rng.standard_normal(n_trs)
    lags = 2.0 * np.arange(-15, 16)
    curve = 0.42 * np.exp(-((lags - 5) ** 2) / 30) + 0.04 * rng.standard_normal(len(lags))
    message = "word rate and BOLD correlate best at 6 s (r = 0.42, 95 % of shifted BOLD below 0.16, p = 0.001)."
    return nr.StoryAlignment(
        story=name,
        tr_times=times,
        word_rate=rate,
        bold_mean=bold,
        bold_sd=0.9 + 0.1 * rng.random(n_trs),
        n_words=2127,
        n_words_before=61,
        n_words_after=0,
        speech_s=(0.6, 741.2),
        lags=nr.LagCurve(lags_s=lags, r=curve, null_95=0.16, p=0.001),
        words_by_tr=tuple("down the rabbit-hole" if i else "<script>alert('words')</script>" for i in range(n_trs)),
        dropped=("10 volumes before the first row (0 to 20 s)",),
        findings=(
            Finding("coverage", "ok", "BOLD of 362 rows covers 20.0 to 744.0 s, words 0.6 to 741.2 s."),
            Finding("lag", status, message),
        ),
    )


def make_scores(
    rng: np.random.Generator, who: str, peak: np.ndarray, ceiling: np.ndarray, layers: tuple[int, ...], **more: Any
) -> nr.LayerScores:
    depth = np.asarray(layers, dtype=float)[:, None] / max(max(layers), 1)
    r = peak * (0.72 + 0.28 * np.exp(-(((depth - 0.66) / 0.3) ** 2))) + 0.008 * rng.standard_normal((len(layers), len(peak)))
    null = np.stack([np.full_like(r, -0.11), np.full_like(r, 0.12)])
    p = np.full(r.shape, 0.001)
    tested = np.full(len(peak), 0.001)
    above = peak * 0.5
    return nr.LayerScores(
        who=who,
        layers=layers,
        r=r,
        interval=np.stack([r - 0.06, r + 0.05]),
        null=null,
        p=p,
        q=p,
        ceiling=ceiling,
        baselines=(
            nr.Baseline(
                name="word rate",
                r=peak * 0.47,
                description="the number of words in each TR, with the same delays.",
                q=tested,
                difference=above,
                difference_interval=np.stack([above - 0.1, above + 0.1]),
                difference_p=tested,
                difference_q=tested,
            ),
            nr.Baseline(
                name="content-free", r=peak * 0.3, description="random vectors in place of the words, at the same times."
            ),
        ),
        **more,
    )


def make_report(*, seed: int = 0, layers: tuple[int, ...] = tuple(range(31)), regions: tuple[str, ...] = REGIONS, **more: Any):
    rng = np.random.default_rng(seed)
    n_regions = len(regions)
    peak = np.resize([0.57, 0.53, 0.59, 0.51, 0.49, 0.36], n_regions)
    mean = make_scores(rng, "mean listener", peak, np.minimum(peak + 0.22, 0.95), layers, ceiling_name="√ρ, mean of 27 listeners")
    single = make_scores(rng, "single listeners", peak * 0.42, peak * 0.62, layers, ceiling_name="√r̄, one listener")
    subjects = tuple(f"s{18 + i}" for i in range(27))
    each = single.r + 0.08 * rng.standard_normal((27, 1, n_regions))
    each[3, :, min(2, n_regions - 1)] = np.nan
    grid = np.logspace(1, 6, 11)
    fields: dict[str, Any] = {
        "title": "Alice in Wonderland, 27 listeners, six language regions",
        "dataset": nr.DatasetFacts(
            name="Alice",
            task="each subject listened once to chapter 1 of Alice in Wonderland",
            subjects=subjects,
            stories=("alice",),
            n_words=2127,
            n_trs=362,
            tr=2.0,
            source="Brennan et al. (2016)",
            licence="CC-BY 4.0",
            left_out={"s33": "all time courses are zero"},
            known_problems=("Row 0 of the BOLD is story time 20 s: ten volumes were dropped.",),
        ),
        "methods": nr.MethodFacts(
            model="SmolLM2-135M",
            n_model_layers=30,
            n_units=576,
            context="each word saw 256 to 512 tokens of past",
            word_vector="the state at its last sub-word token",
            delays=(1, 2, 3, 4),
            preprocessing="Legendre polynomials up to degree 6 were removed and each time course was z-scored",
            n_folds=5,
            gap_trs=5,
            n_inner_folds=5,
            null="shift BOLD",
            n_null=1000,
            interval="95% bootstrap over listeners",
            ceiling="Noise ceilings follow from the correlations between listeners (Spearman, 1910; Brown, 1910).",
        ),
        "regions": regions,
        "scores": (mean, single),
        "alignment": (make_story(rng),),
        "listeners": nr.Listeners(names=subjects, r=each, baselines={"word rate": np.full((27, n_regions), 0.1)}),
        "alphas": nr.ChosenAlphas(
            grid=grid, chosen=rng.choice(grid, (5, len(layers), n_regions), p=np.r_[0.01, np.full(9, 0.1), 0.09])
        ),
        "provenance": nr.Provenance(
            settings={"dataset": {"name": "alice"}, "encode": {"folds": 5, "alphas": [10.0, 1e6]}, "title": "<b>not bold</b>"},
            versions={"neurolm": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
            inputs={"alice.TextGrid": "ab" * 32, "s18-timecourses.txt": "cd" * 32},
            machine={"Processor": "2 cores", "Memory": "8 GiB"},
            stages_s={"features": 41.3, "encode": 62.9, "report": 3.1},
        ),
        "references": nr.references(["brennan2016"]),
    }
    return nr.EncodingReport(**{**fields, **more})


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """`build(...)` makes an EncodingReport; keyword arguments replace its fields."""
    return make_report
