"""What the decoder finds in listeners whose truth is known: from no signal to plenty, with intervals over seeds.

    python benchmarks/decoding_truth.py --json results.json      # goes on where it was stopped; more seeds are added
    python benchmarks/decoding_truth.py --quick
    python benchmarks/decoding_truth.py --seeds 0 --snrs 10 --wider 10 40 160      # only: what a wider beam finds

Real Moth stories (NEUROLM_DATA), a language model of neurolm for features and proposals, planted weights,
planted noise covariance with AR(1) in time; every decoder is learned from six training stories, the test story
is held out. At each signal-to-noise ratio: decodes at the true word times with and without the true words among
the candidates, search error and model error, ranks under teacher forcing and decodes with and without the noise
covariance, identification of windows from BOLD, and how well the word rate is recovered. Without signal:
story scores against both nulls.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.decoding import (
    BeamSearch,
    DecoderSettings,
    NoiseModel,
    WordDecoder,
    error_kind,
    identify,
    null_decodes,
    score_windows,
    teacher_forced_ranks,
)
from neurolm.decoding.diagnosis import comparable_words, word_accuracy
from neurolm.decoding.lexicon import FIRST_WORDS
from neurolm.decoding.word_rate import words_per_tr
from neurolm.encoding import correlation_score
from neurolm.features import FeatureCache, LMStates
from neurolm.lm import load
from neurolm.simulation.decoded_subject import simulate_listener
from neurolm.stimuli import ContextWindow, Transcript, read_textgrid
from neurolm.storage import read_json, write_json

TRAINING = ("souls", "avatar", "legacy", "odetostepfather", "undertheinfluence", "howtodraw")
TEST = "wheretheressmoke"
SNRS = (0.0, 0.1, 1.0, 10.0)
SETTINGS = {"n_voxels": 200, "n_bootstraps": 5, "alphas": tuple(np.logspace(0, 7, 8).tolist())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="neurolm/lstm-small")
    parser.add_argument("--layer", type=int, default=2)
    parser.add_argument("--beam", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--snrs", type=float, nargs="+", default=SNRS)
    parser.add_argument("--nulls", type=int, default=12)
    parser.add_argument("--nulls-at", type=float, nargs="*", default=[0.0], help="ratios with null decodes")
    parser.add_argument("--test-s", type=float, default=45.0, help="seconds of the test story")
    parser.add_argument(
        "--wider", type=int, nargs="+", help="only decode at these beams, true words among the candidates, and swap words"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, help="write the results to this file as they come; what it holds already is kept")
    parser.add_argument("--join", type=Path, nargs="+", help="only print the table of these files together")
    options = parser.parse_args()
    if options.join:
        joined = {(row["snr"], row["seed"]): row for path in options.join for row in read_json(path)["listeners"]}
        print(table(list(joined.values())))
        return
    if options.quick:
        options.beam, options.seeds, options.nulls, options.test_s = 3, [0], 2, 40.0
    stories = [read_story(name) for name in (*TRAINING, TEST)]
    stories[-1] = stories[-1][: int(np.searchsorted(stories[-1].mid_times, options.test_s))]
    lm = load(options.model)
    space = LMStates(lm, options.layer, ContextWindow(6), lowercase=True, cache=FeatureCache())
    if options.wider:
        for seed, snr in product(options.seeds, options.snrs):
            print(json.dumps(wider_beams(lm, space, stories, snr, seed, options.wider)), flush=True)
        return
    asked = {name: getattr(options, name) for name in ("model", "layer", "beam", "nulls", "nulls_at", "test_s")}
    rows: list[dict[str, Any]] = read_rows(options.json, asked)
    for seed in options.seeds:
        for snr in (0.0, 1.0) if options.quick else options.snrs:
            if any((row["snr"], row["seed"]) == (snr, seed) for row in rows):
                continue
            rows.append(one_listener(lm, space, stories, snr, seed, options))
            print(json.dumps(rows[-1]), flush=True)
            if options.json:
                content = {"options": asked, "words": len(stories[-1]), "listeners": rows, "summary": summary(rows)}
                write_json(options.json, content)
    print(table(rows))


def read_rows(path: Path | None, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Listeners that an earlier run with the same options left."""
    if path is None or not path.is_file():
        return []
    known = read_json(path)
    if known["options"] != asked:
        raise SystemExit(f"{path} holds results of other options: {known['options']}")
    return known["listeners"]


def read_story(name: str) -> Transcript:
    story = read_textgrid(Path(os.environ["NEUROLM_DATA"]) / "moth_textgrids" / "TextGrids" / f"{name}.TextGrid", "word")
    return story.with_words([word.lower() for word in story.words])


def one_listener(
    lm: Any, space: Any, stories: list[Transcript], snr: float, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Everything that is measured on one simulated listener."""
    begun = time.process_time()
    listener, decoder = fitted(space, stories, snr, seed)
    run, story = listener.runs[-1], stories[-1]
    likelihood = decoder.likelihood(space, run)
    vocabulary = decoder.vocabulary_ | set(FIRST_WORDS)
    proposals = decoder.proposals(lm)
    search = BeamSearch(proposals, likelihood, options.beam)
    free = search.search(story.mid_times).transcript
    helped = search.search(story.mid_times, extra_words=comparable_words(story)).transcript
    ranks = teacher_forced_ranks(search, story)
    decoder.noise_ = NoiseModel.from_covariance(np.eye(len(decoder.voxels_)))
    white = search.with_likelihood(decoder.likelihood(space, run))
    ranks_white = teacher_forced_ranks(white, story)
    helped_white = white.search(story.mid_times, extra_words=comparable_words(story)).transcript
    X = decoder.design_.transform(space.extract(story), run.tr_times).astype(np.float64)
    predicted, measured = X @ decoder.coef_, run.data[:, decoder.voxels_]
    found = identify(measured, predicted, window_trs=4, n_permutations=500)
    row: dict[str, Any] = {
        "snr": snr,
        "seed": seed,
        "test_r": float(np.nanmedian(correlation_score(measured, predicted.astype(np.float32)))),
        "selected_voxels_with_signal": float(listener.has_signal[decoder.voxels_].mean()),
        "word_rate_r": float(np.corrcoef(decoder.word_rate_.predict(run), words_per_tr(story, run.tr_times))[0, 1]),
        "coverage": ranks.coverage,
        "true_words_in_vocabulary": float(np.mean([w in vocabulary for w in story.words])),
        "teacher_forced_rank": ranks.percentile_rank,
        "teacher_forced_rank_white_noise": ranks_white.percentile_rank,
        "rank_gained_by_covariance": ranks.percentile_rank - ranks_white.percentile_rank,
        "identification": found.mean_percentile_rank,
        "identification_p": found.p_value,
        "free": judged(free, story, likelihood),
        "true_words_among_candidates": judged(helped, story, likelihood),
        "true_words_among_candidates_white_noise": judged(helped_white, story, white.likelihood),
    }
    if snr in options.nulls_at and options.nulls:
        for kind in ("circular_shift", "random_likelihood"):
            nulls = null_decodes(search, story.mid_times, options.nulls, kind=kind, min_shift_s=10, rng=seed)
            scores = score_windows(free, story, 10, null=nulls)
            row[kind] = {name: {"z": scores.story_z(name), "p": scores.story_p(name)} for name in scores.scores}
            print(f"  snr {snr:g}, seed {seed}, {kind}: {row[kind]}", file=sys.stderr, flush=True)
    return row | {"cpu_s": time.process_time() - begun}


def fitted(space: Any, stories: list[Transcript], snr: float, seed: int) -> tuple[Any, WordDecoder]:
    listener = simulate_listener(space, stories, n_training=len(TRAINING), snr=snr, seed=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*of the targets chose the")  # voxels without signal do
        return listener, WordDecoder(DecoderSettings(**SETTINGS)).fit(space, listener.runs[:-1], stories[:-1])


def wider_beams(lm: Any, space: Any, stories: list[Transcript], snr: float, seed: int, beams: list[int]) -> dict[str, Any]:
    """Whether one swapped word makes the true text less likely, and what wider beams find with the true words among the candidates."""
    listener, decoder = fitted(space, stories, snr, seed)
    story, likelihood, rng = stories[-1], decoder.likelihood(space, listener.runs[-1]), np.random.default_rng(0)
    values = space.extract(story).values
    heard = likelihood.log_likelihood(values, story.mid_times)
    below = []
    for i in np.repeat(np.arange(len(values)), 10):
        j = int(rng.integers(len(values)))
        if story.words[i] != story.words[j]:
            swapped = values.copy()
            swapped[i] = values[j]
            below.append(likelihood.log_likelihood(swapped, story.mid_times) < heard)
    out: dict[str, Any] = {"snr": snr, "seed": seed, "swaps": len(below), "swaps_less_likely": float(np.mean(below))}
    for beam in beams:
        search = BeamSearch(decoder.proposals(lm), likelihood, beam)
        decoded = search.decode(story.mid_times, extra_words=comparable_words(story))
        out[f"beam {beam}"] = judged(decoded, story, likelihood)
    return out


def judged(decoded: Transcript, story: Transcript, likelihood: Any) -> dict[str, float]:
    scores = score_windows(decoded, story, 10)
    error = error_kind(likelihood, decoded, story)
    return {name: scores.story_score(name) for name in scores.scores} | {
        "word_accuracy": word_accuracy(decoded, story),
        "heard_minus_decoded": error.gain,
        "model_error": float(error.kind == "model error"),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and half of the 95 % interval (t, over seeds) of every number at each ratio."""
    return {
        f"snr {snr:g}": _mean_interval([row for row in rows if row["snr"] == snr]) for snr in sorted({r["snr"] for r in rows})
    }


SHOWN = {
    "r of voxels": ("test_r",),
    "word rate r": ("word_rate_r",),
    "identification": ("identification",),
    "true word's rank": ("teacher_forced_rank",),
    "the same, white noise": ("teacher_forced_rank_white_noise",),
    "gained by the covariance": ("rank_gained_by_covariance",),
    "proposed": ("coverage",),
    "WER": ("free", "wer"),
    "BLEU-1": ("free", "bleu1"),
    "METEOR": ("free", "meteor"),
    "exact words": ("free", "word_accuracy"),
    "true words among the candidates: WER": ("true_words_among_candidates", "wer"),
    "BLEU-1 with them": ("true_words_among_candidates", "bleu1"),
    "METEOR with them": ("true_words_among_candidates", "meteor"),
    "exact words with them": ("true_words_among_candidates", "word_accuracy"),
    "exact words with them, white noise": ("true_words_among_candidates_white_noise", "word_accuracy"),
    "log L heard - decoded": ("free", "heard_minus_decoded"),
    "share with model error": ("free", "model_error"),
    "log L heard - decoded, with them": ("true_words_among_candidates", "heard_minus_decoded"),
    "share with model error, with them": ("true_words_among_candidates", "model_error"),
    "WER z, shifted BOLD": ("circular_shift", "wer", "z"),
    "BLEU-1 z, shifted BOLD": ("circular_shift", "bleu1", "z"),
    "METEOR z, shifted BOLD": ("circular_shift", "meteor", "z"),
    "WER z, random": ("random_likelihood", "wer", "z"),
    "BLEU-1 z, random": ("random_likelihood", "bleu1", "z"),
    "METEOR z, random": ("random_likelihood", "meteor", "z"),
}


def table(rows: list[dict[str, Any]]) -> str:
    """The summary as a table in Markdown: mean ± half of the 95 % interval over seeds."""
    found = summary(rows)
    lines = ["| | " + " | ".join(name.replace("snr", "SNR") for name in found) + " |", "|---" * (len(found) + 1) + "|"]
    for title, path in SHOWN.items():
        lines.append(f"| {title} | " + " | ".join(_cell(one, path) for one in found.values()) + " |")
    return "\n".join(lines)


def _cell(numbers: Any, path: tuple[str, ...]) -> str:
    for key in path:
        numbers = numbers.get(key) if numbers is not None else None
    return "" if numbers is None else f"{numbers[0]:.3g} ± {numbers[1]:.2g}"


def _mean_interval(rows: list[Any]) -> Any:
    from scipy.stats import t

    if isinstance(rows[0], dict):
        return {key: _mean_interval([row[key] for row in rows]) for key in rows[0] if key not in ("snr", "seed", "cpu_s")}
    values = np.array(rows, dtype=np.float64)
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return [round(float(values.mean()), 4), round(float(half), 4)]


if __name__ == "__main__":
    main()
