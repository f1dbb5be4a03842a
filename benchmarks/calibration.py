"""Calibration of every p value and interval that a report prints: size and coverage on simulated data.

    python benchmarks/calibration.py            # whole table; resumes where it stopped
    python benchmarks/calibration.py --only isc --share 0.1

Each row is a number of independent data sets fixed beforehand, in batches that are kept in
benchmarks/results/calibration, one file for each row, so that an interrupted run resumes. The cost is printed before it starts.
A row passes if its nominal value lies inside its interval at the level that Holm's correction leaves it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from neurolm.brain import BoldRun, Regions, intersubject_correlation, isc_interval, isc_test, noise_ceiling
from neurolm.brain.noise_ceiling import ceiling_interval
from neurolm.brain.preprocess import detrend_legendre, trim_run
from neurolm.brain.transients import edge_transients, row_deviation
from neurolm.encoding import EvaluationSettings, evaluate, permutation_test, refit_test
from neurolm.encoding.compare_models import shift_tests
from neurolm.encoding.held_out import held_out_scores, nested_folds, nested_ridge
from neurolm.encoding.intervals import residual_bootstrap, z_interval
from neurolm.encoding.surrogate_scores import score_surrogates
from neurolm.statistics import ar1_noise, fdr, mean_interval, surrogate_draws
from neurolm.temporal import delay_run

RESULTS = Path(__file__).parent / "results" / "calibration"
ALPHAS = (10.0, 100.0, 1000.0, 1e4)
N_TRS = 300


@dataclass(frozen=True)
class Row:
    """One line of the table.

    simulate : function of a generator giving, for one data set, how many of how many are hits
    nominal : share of hits that is right
    seconds : of one data set, roughly
    limit : "two-sided", or "at most" for false discoveries
    """

    what: str
    simulate: Callable[[np.random.Generator], tuple[float, int]]
    nominal: float
    n: int
    seconds: float
    limit: str = "two-sided"


def slow(rng: np.random.Generator, n_columns: int, rho: float = 0.5, n: int = N_TRS) -> np.ndarray:
    return ar1_noise(rng.standard_normal((n, n_columns)), rho)


def design(rng: np.random.Generator, n: int = N_TRS, n_features: int = 4) -> np.ndarray:
    X = delay_run(slow(rng, n_features, 0.7, n), [1, 2, 3, 4])
    return (X - X.mean(0)) / X.std(0)


def refitted(onsets: tuple[int, ...] = (0,), null: str = "circular_shift", stop_after: int | None = None) -> Callable:
    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        X, Y = design(rng), slow(rng, 1).astype(np.float32)
        ridge = nested_ridge(X, nested_folds(list(onsets), N_TRS), ALPHAS)
        test = refit_test(
            lambda y: held_out_scores(ridge, y).scores,
            Y,
            null=null,
            n_permutations=199,
            run_onsets=onsets,
            stop_after=stop_after,
            rng=rng,
        )
        return float((test.p_values <= 0.05).sum()), 1

    return simulate


def fixed(rng: np.random.Generator) -> tuple[float, int]:
    return float((permutation_test(slow(rng, 1, 0.7), slow(rng, 1, 0.7), n_permutations=499, rng=rng).p_values <= 0.05).sum()), 1


def trimmed_transient(rng: np.random.Generator) -> tuple[float, int]:
    """p of a run whose first two rows are an onset transient that the rule drops; features have an onset of their own."""
    n = N_TRS + 2
    X, data = design(rng, n), slow(rng, 6, n=n)
    X[:2], data[:2] = X[:2] - 3, data[:2] - 5
    run = BoldRun(data, 2.0 * np.arange(n), Regions(tuple("abcdef")), "s", "story")
    found = edge_transients([row_deviation(run, 6)], 2.0, [fold.train for fold in nested_folds([0], n)])
    run, X = detrend_legendre(trim_run(run, found.start, found.end), 6), X[found.start : n - found.end]
    ridge = nested_ridge(X, nested_folds([0], len(X)), ALPHAS)
    test = refit_test(lambda y: held_out_scores(ridge, y).scores, run.data[:, :1].astype(np.float32), n_permutations=199, rng=rng)
    return float((test.p_values <= 0.05).sum()), 1


def false_discoveries(rng: np.random.Generator) -> tuple[float, int]:
    """Share of false ones among the discoveries of a sequential test at q = .1: 5 of 60 voxels follow the features."""
    X, Y = design(rng), slow(rng, 60)
    Y[:, :5] += 0.8 * (X @ rng.standard_normal((16, 5))) / 4
    ridge = nested_ridge(X, nested_folds([0, 150], N_TRS), ALPHAS)
    score = lambda y: held_out_scores(ridge, y.astype(np.float32)).scores  # noqa: E731
    test = refit_test(score, Y.astype(np.float32), n_permutations=399, run_onsets=(0, 150), stop_after=10, rng=rng)
    found = fdr(test.p_values) <= 0.1
    return float(found[5:].sum() / max(1, found.sum())), 1


STRENGTHS = {"0": 0.0, ".2": 0.3, ".55": 0.75}
TRUTH: dict[tuple[str, int], float] = {}


def one_design(rng: np.random.Generator, strength: float, n_features: int, n_voxels: int = 1) -> tuple:
    """A design, its fit of voxels that follow it with this strength, and their BOLD."""
    X = design(rng, n_features=n_features)
    drive = X @ rng.standard_normal((X.shape[1], n_voxels))
    Y = (strength * drive / drive.std(0) + slow(rng, n_voxels)).astype(np.float32)
    ridge = nested_ridge(X, nested_folds([0], N_TRS), ALPHAS)
    return ridge, held_out_scores(ridge, Y, keep_predictions=True), Y


def single_subject(name: str, n_features: int) -> Callable:
    """Whether the interval holds the expected score, which 10,000 voxels of 500 other designs give."""

    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        key, strength = (name, n_features), STRENGTHS[name]
        if key not in TRUTH:
            own = np.random.default_rng([7, n_features, int(100 * strength)])
            z = [np.arctanh(one_design(own, strength, n_features, 20)[1].scores).mean() for _ in range(500)]
            TRUTH[key] = float(np.tanh(np.mean(z)))
        ridge, fitted, Y = one_design(rng, strength, n_features)
        outer, _ = score_surrogates(ridge, residual_bootstrap(Y, fitted.predictions, 50, rng=rng), 1, 20_000)
        low, high = z_interval(fitted.scores, np.tanh(np.arctanh(outer).mean(1)))
        return float(low[0] <= TRUTH[key] <= high[0]), 1

    return simulate


def mean_of(n: int) -> Callable:
    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        low, high = mean_interval(rng.normal(0.1, 0.05, (n, 1)))
        return float(low[0] <= 0.1 <= high[0]), 1

    return simulate


def subjects_of(rng: np.random.Generator, n: int, gain: tuple[float, float], story: np.ndarray) -> np.ndarray:
    """(n, n_trs, 1): subjects who follow a story with gains of this mean and spread."""
    return rng.normal(*gain, (n, 1, 1)) * story + rng.standard_normal((n, len(story), 1))


def isc_holds(n: int, gain: tuple[float, float], method: str) -> Callable:
    """Whether the interval holds the mean over subjects for this story; the story is new in each data set."""

    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        story = rng.standard_normal((200, 1))
        data = subjects_of(rng, n, gain, story)
        truth = 0.0
        if gain != (0.0, 0.0):
            groups = subjects_of(rng, 60 * n, gain, story).reshape(60, n, 200).transpose(1, 2, 0)
            truth = float(intersubject_correlation(groups, method).mean())
        low, high = isc_interval(data, method)
        return float(low[0] <= truth <= high[0]), 1

    return simulate


def ceiling_holds(rng: np.random.Generator) -> tuple[float, int]:
    story = slow(rng, 1, 0.0, 300)
    data = subjects_of(rng, 12, (0.8, 0.2), story)
    many = subjects_of(rng, 1200, (0.8, 0.2), story).reshape(100, 12, 300).transpose(1, 2, 0)
    truth = float(np.nanmean(noise_ceiling(many, source="subjects", scored="single") ** 2) ** 0.5)
    low, high = ceiling_interval(data, scored="single")
    return float(low[0] <= truth <= high[0]), 1


def isc_null(null: str, n: int, n_trs: int) -> Callable:
    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        data = np.stack([slow(rng, 1, 0.5, n_trs) for _ in range(n)])
        return float(isc_test(data, null=null, n_null=199, rng=rng).p_values[0] <= 0.05), 1

    return simulate


def group(isc: float, statistic: str, n_subjects: int = 12) -> Callable:
    """Zero signal; subjects share a response that has nothing to do with the features."""

    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        n, n_regions = 150, 4
        shared = slow(rng, n_regions, 0.5, n)
        data = [np.sqrt(isc) * shared + np.sqrt(1 - isc) * slow(rng, n_regions, 0.5, n) for _ in range(n_subjects)]
        Y = np.concatenate(data, axis=1).astype(np.float32)
        draws = list(surrogate_draws(n, 99, min_shift=5, rng=rng))
        values = []
        for _ in range(2 if statistic == "model difference" else 1):
            X = design(rng, n, 3)
            ridge = nested_ridge(X, nested_folds([0], n, 3, 3), ALPHAS)
            outer, _ = score_surrogates(ridge, (d(Y) for d in [lambda y: y, *draws]), Y.shape[1], 20_000)
            values.append(np.tanh(np.arctanh(outer).mean(1)).reshape(100, n_subjects, n_regions))
        if statistic == "model difference":
            share = {name: v[0].mean(1) for name, v in zip("ab", values)}
            null = {name: v[1:].mean((1, 2)) for name, v in zip("ab", values)}
            return float(shift_tests(share, null)[0].p <= 0.05), 1
        mean = values[0].mean(1)  # (100, n_regions)
        if statistic == "region":
            return float((1 + (mean[1:, 0] >= mean[0, 0]).sum()) / 100 <= 0.05), 1
        return float((1 + (mean[1:].max(1) >= mean[0].max()).sum()) / 100 <= 0.05), 1

    return simulate


def content_free(signal: str) -> Callable:
    """p of the content of skewed features, against BOLD of noise or of noise and word rate: one run of 120 TRs, 400 words."""
    from neurolm.encoding.content_draws import content_scores
    from neurolm.encoding.design import resampling_weights
    from neurolm.features import Features

    settings = EvaluationSettings(alphas=(10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 1e4))
    n, folds, times = 120, nested_folds([0], 120, 3, 3), 2.0 * np.arange(120)

    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        words = np.sort(rng.uniform(0, 2 * n, 400))
        values = ar1_noise(rng.standard_normal((400, 3)), 0.5)
        values[rng.random(400) < 0.02] *= 8  # a few words with large features, as in language models
        Y = slow(rng, 1, 0.5, n)
        if signal == "word rate":
            rate = resampling_weights(words, times, (1, 2, 3, 4), 3).sum(1)[2 : 2 + n]
            Y += ((rate - rate.mean()) / rate.std())[:, None]
        stories = [Features(values + 2, words)]
        found = content_scores(["one"], lambda _: stories, [times], Y, folds, settings, n_draws=39, seed=int(rng.integers(1e9)))
        return float(found.p_values[0] <= 0.05), 1

    return simulate


def beyond_low_level(signal: bool, n_subjects: int = 1, n_regions: int = 1) -> Callable:
    """p of what features add to low-level ones, of which they hold noisy copies; BOLD follows the low-level ones or nothing.

    One run of 150 TRs and 500 words. Subjects of a group share another response as well (ISC of what is left .3); of several regions
    the smallest p corrected by max-T.
    """
    from neurolm.encoding.design import resampling_weights
    from neurolm.encoding.low_level import LowLevel
    from neurolm.features import Features

    n, times, regions = 150, 2.0 * np.arange(150), Regions(tuple("abcd"[:n_regions]))
    settings = EvaluationSettings(
        alphas=ALPHAS, n_folds=3, n_inner_folds=3, n_permutations=39, n_subject_permutations=39, n_bootstrap=0, n_content_free=0
    )

    def simulate(rng: np.random.Generator) -> tuple[float, int]:
        words = np.sort(rng.uniform(0, 2 * n, 500))
        low = np.stack([np.ones(500), rng.standard_normal(500)], axis=1)
        copies = low @ rng.standard_normal((2, 4)) + 0.5 * rng.standard_normal((500, 4))
        X = delay_run(resampling_weights(words, times, (1, 2, 3, 4), 3) @ low, [1, 2, 3, 4])[4:]
        drive = X @ rng.standard_normal((X.shape[1], n_regions))
        shared = slow(rng, n_regions, 0.5, n)
        runs = {}
        for name in "abcdef"[:n_subjects]:
            own = slow(rng, n_regions, 0.5, n)
            rest = np.sqrt(0.3) * shared + np.sqrt(0.7) * own if n_subjects > 1 else own
            runs[name] = [BoldRun(signal * drive / drive.std(0) + rest, times, regions, name, "story")]
        found = evaluate(
            {"layer": [Features(copies, words)]},
            runs,
            settings=settings,
            seed=int(rng.integers(1e6)),
            low_level=LowLevel([Features(low, words)], ("word rate", "length")),
        )
        beyond = found.scored[-1].beyond
        return float((beyond.p_max.min() if n_regions > 1 else beyond.p[0]) <= 0.05), 1

    return simulate


def end_to_end(rng: np.random.Generator) -> tuple[float, int]:
    """p of the mean over subjects, as `neurolm encode` has it, with no signal: one region of four subjects."""
    from neurolm.features import Features

    times, n = 2.0 * np.arange(150), 150
    words = np.sort(rng.uniform(0, 300, 700))
    shared = slow(rng, 1, 0.5, n)
    runs = {s: [BoldRun(0.5 * shared + slow(rng, 1, 0.5, n), times, Regions(("one",)), s, "story")] for s in "abcd"}
    settings = EvaluationSettings(
        alphas=ALPHAS, n_folds=3, n_inner_folds=3, n_permutations=0, n_subject_permutations=99, n_bootstrap=0
    )
    found = evaluate(
        {"layer": [Features(rng.standard_normal((700, 3)), words)]}, runs, settings=settings, seed=int(rng.integers(1e6))
    )
    return float(found.scored[1].p[0, 0] <= 0.05), 1


def table() -> list[Row]:
    rows = [
        Row("p, fixed predictions, one run, every shift", fixed, 0.05, 2000, 0.1),
        Row("p, refitted, one run, shifts from 5 TRs", refitted(), 0.05, 1000, 0.12),
        Row("p, refitted, one run, its onset transient dropped by the rule", trimmed_transient, 0.05, 1000, 0.15),
        Row("p, refitted, two runs, joint shifts", refitted((0, 150)), 0.05, 1000, 0.1),
        Row("p, refitted, one run, phase randomisation", refitted(null="phase_randomization"), 0.05, 1000, 0.12),
        Row("p, refitted, two runs, sequential", refitted((0, 150), stop_after=10), 0.05, 1000, 0.06),
        Row("false discoveries of a sequential test at q = .1", false_discoveries, 0.1, 400, 0.7, "at most"),
        Row("p, ISC, 3 subjects, 40 TRs, joint shifts", isc_null("circular_shift", 3, 40), 0.05, 2000, 0.06),
        Row("p, ISC, 6 subjects, 150 TRs, phases", isc_null("phase_randomization", 6, 150), 0.05, 1000, 0.22),
        Row("p, evaluate, mean over 4 subjects, end to end", end_to_end, 0.05, 400, 0.3),
    ]
    for signal in ("no signal", "word rate"):
        rows.append(Row(f"p, content-free draws, {signal}", content_free(signal), 0.05, 400, 0.35))
    rows.append(Row("p, beyond low level, one subject, no signal", beyond_low_level(False), 0.05, 400, 0.1))
    rows.append(Row("p, beyond low level, one subject, low-level signal", beyond_low_level(True), 0.05, 400, 0.1))
    group_of_six = beyond_low_level(True, 6, 4)  # what a penalised low-level fit leaves of a strong signal widens the null
    rows.append(Row("p, beyond low level, group of 6, ISC .3, low-level signal, max over regions", group_of_six, 0.05, 400, 0.2))
    for isc in (0.0, 0.15, 0.3):
        for statistic in ("region", "max over regions", "model difference"):
            rows.append(Row(f"p, group of 12, ISC {isc:g}, {statistic}", group(isc, statistic), 0.05, 400, 0.4))
    for name in STRENGTHS:
        rows.append(Row(f"interval, single subject, r {name}", single_subject(name, 4), 0.95, 2000, 0.06))
    rows.append(Row("interval, single subject, 400 columns, strength .8", single_subject(".55", 100), 0.95, 400, 0.6))
    rows += [Row(f"interval, mean of {n} subjects", mean_of(n), 0.95, 20_000, 0.0003) for n in (3, 5, 8, 27)]
    for n in (3, 8, 20):
        none, some = isc_holds(n, (0.0, 0.0), "leave_one_out"), isc_holds(n, (0.6, 0.2), "leave_one_out")
        rows.append(Row(f"interval, leave-one-out ISC 0, {n} subjects", none, 0.95, 2000, 0.006))
        rows.append(Row(f"interval, leave-one-out ISC, gain .6 +- .2, {n} subjects", some, 0.95, 2000, 0.02))
    rows.append(Row("interval, pairwise ISC, gain .6 +- .2, 8 subjects", isc_holds(8, (0.6, 0.2), "pairwise"), 0.95, 2000, 0.03))
    rows.append(Row("interval, ceiling of single subjects, 12 subjects", ceiling_holds, 0.95, 2000, 0.05))
    return rows


BATCH = 100


def kept_batches(row: Row) -> tuple[Path, dict[str, float]]:
    """The file of a row and the hits of each batch in it."""
    path = RESULTS / f"{''.join(c if c.isalnum() else '-' for c in row.what)}.json"
    return path, json.loads(path.read_text()) if path.is_file() else {}


def run(row: Row, share: float) -> dict:
    """Batches of a row that are not there yet; each has its own seed, so that it may be made in any order."""
    name = row.what
    n = max(BATCH, int(row.n * share) // BATCH * BATCH)
    path, batches = kept_batches(row)
    RESULTS.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    for b in range(n // BATCH):
        if str(b) in batches:
            continue
        rng = np.random.default_rng([sum(map(ord, name)), b])
        batches[str(b)] = sum(row.simulate(rng)[0] for _ in range(BATCH))
        path.write_text(json.dumps(batches))
        print(f"\r{name}: {(b + 1) * BATCH} of {n}, {time.perf_counter() - start:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    done = [batches[str(b)] for b in range(n // BATCH)]
    return {"what": name, "n": n, "share": sum(done) / n, "nominal": row.nominal, "limit": row.limit}


def judged(results: list[dict]) -> list[dict]:
    """p of each row against its nominal value, and Holm's verdict over the table."""
    for one in results:
        side = "greater" if one["limit"] == "at most" else "two-sided"
        test = binomtest(round(one["share"] * one["n"]), one["n"], one["nominal"], alternative=side)
        between = binomtest(round(one["share"] * one["n"]), one["n"]).proportion_ci(0.95, method="wilson")
        one |= {"p": test.pvalue, "low": between.low, "high": between.high}
    rising, outside = sorted(results, key=lambda one: one["p"]), True
    for i, one in enumerate(rising):
        outside = outside and one["p"] <= 0.05 / (len(rising) - i)
        one["outside"] = outside
    return results


def markdown(results: list[dict]) -> str:
    lines = ["| What | Data sets | Nominal | Measured [95 %] | Outside (Holm) |", "|---|---|---|---|---|"]
    for one in results:
        lines.append(
            f"| {one['what']} | {one['n']:,} | {one['nominal']:g} | {one['share']:.3f} [{one['low']:.3f}, {one['high']:.3f}] "
            f"| {'yes' if one['outside'] else 'no'} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--share", type=float, default=1.0, help="of the data sets of each row")
    asked = parser.parse_args()
    rows = [row for row in table() if asked.only in row.what]
    left = sum(max(0, row.n * asked.share - BATCH * len(kept_batches(row)[1])) * row.seconds for row in rows)
    print(f"{len(rows)} rows; about {left / 60:.0f} minutes are left on one core", file=sys.stderr)
    results = judged([run(row, asked.share) for row in rows])
    print(markdown(results))
    return int(any(one["outside"] for one in results))


if __name__ == "__main__":
    sys.exit(main())
