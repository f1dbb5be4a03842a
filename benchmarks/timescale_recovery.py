"""Are planted windows found again? Real transcripts and a real language model; five seeds, with intervals.

    NEUROLM_DATA=... python benchmarks/timescale_recovery.py --json results.json     # a seed at a time; goes on where it stopped
    python benchmarks/timescale_recovery.py bank gate                                # without the model's own features
    python benchmarks/timescale_recovery.py --quick                                  # only checks that it runs

Moth stories (NEUROLM_DATA/moth_textgrids) are read by SmolLM2-135M one word at a time; mixtures of these states are
averaged over the past by leaky integrators, one window for each voxel, log-uniform from 1.5 to 100 words; Lanczos
resampling from the real word times, a response over 2 to 8 s, AR(1) noise (.4). Every seed draws windows, mixtures
and noise again; the planted correlation of signal and BOLD is chosen so that the *held-out* one is .5 or .17 with features
that span the truth. Voxels count where their held-out prediction is significant (false discovery rate .05).

bank    features are leaky averages of the same states at seven fixed windows: they span the truth
model   features are the language model's own states of layer 20, as they come out
gate    no signal: in how many experiments of 20 voxels is any voxel called valid?
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.stats import spearmanr, t

from neurolm.brain import BoldRun
from neurolm.brain.space import Unplaced
from neurolm.encoding import Design, EncodingModel, PermutationTest
from neurolm.features import FeatureCache, Features, LMStates
from neurolm.lm import load
from neurolm.stimuli import ContextWindow, Transcript, read_textgrid
from neurolm.timescales import (
    ContextWindowSweep,
    EncodingResponder,
    FitSettings,
    ScrambleWindow,
    UnitTimescale,
    WindowResult,
    prediction_test,
    spectral_bands,
)
from neurolm.timescales.window_result import gate

GRID = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0)
SHORTEST, LONGEST = 1.5, 100.0
LEVELS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MODEL_CONTEXTS, MODEL_WORDS, SCRAMBLED_WORDS = (1, 2, 4, 8, 16, 32), 1000, 600
HRF, DELAYS, TR = np.array([0.5, 1.0, 0.7, 0.3]), (1, 2, 3, 4), 2.0
N_MIXTURES, STATE_LAYER, LAYER = 4, 8, 20
GATE_WORDS, AT_ONCE = 500, 50  # words of each of four stories; experiments beside each other in one fit
TRAIN = (
    *("souls", "avatar", "legacy", "naked", "life", "howtodraw"),
    *("odetostepfather", "undertheinfluence", "alternateithicatom", "myfirstdaywiththeyankees"),
)
UNSEEN = "wheretheressmoke"
SIGNALS = {"r about .5": 0.575, "r about .17": 0.22}  # planted correlation of signal and BOLD; the held-out one is below it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=("bank", "gate", "model"), help="some of bank, gate, model")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--voxels", type=int, default=48, help="of each seed and signal")
    parser.add_argument("--experiments", type=int, default=200, help="of the gate, without signal")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--json", help="write the results to this file as they come")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*of the targets chose the")
    bench = Recovery(options)
    kept: dict[str, Any] = {}
    if options.json and Path(options.json).is_file():
        kept = json.loads(Path(options.json).read_text())
    for part in options.parts:
        n = -(-options.experiments // AT_ONCE) if part == "gate" else bench.n_seeds
        numbers = range(options.first_seed, options.first_seed + n)
        for number in numbers:
            if str(number) not in kept.setdefault(part, {}):
                began = time.monotonic()
                kept[part][str(number)] = bench.gate(number) if part == "gate" else bench.one_seed(part, number)
                print(f"{part}, seed {number}: {time.monotonic() - began:.0f} s", flush=True)
                if options.json:
                    Path(options.json).write_text(json.dumps(kept, indent=1) + "\n")
        found = [kept[part][str(number)] for number in numbers]
        print(pooled(found) if part == "gate" else table(over_seeds(found)), flush=True)


@dataclass
class WordBank:
    """Leaky averages of mixtures of what a language model makes of single words; the last `context` words are heard."""

    vectors: Mapping[str, np.ndarray]  # (N_MIXTURES,) by word
    timescales: Sequence[float] = GRID
    context: int | None = None

    def extract(self, transcript: Transcript) -> Features:
        drive = np.stack([self.vectors[word.lower()] for word in transcript.words])
        parts = [self._averaged(drive, tau) for tau in self.timescales]
        slices = {f"{tau:g} words": slice(i * N_MIXTURES, (i + 1) * N_MIXTURES) for i, tau in enumerate(self.timescales)}
        return Features(np.concatenate(parts, axis=1), transcript.mid_times, slices=slices)

    def settings(self) -> dict[str, Any]:
        return {"kind": "word_bank", "timescales": list(self.timescales)}

    def sweep(self, transcript: Transcript, contexts: Sequence[int]) -> dict[int, Features]:
        return {n: replace(self, context=n).extract(transcript) for n in contexts}

    def _averaged(self, drive: np.ndarray, tau: float) -> np.ndarray:
        keep = np.exp(-1 / tau)
        state = lfilter([1 - keep], [1, -keep], drive, axis=0)
        if self.context is not None and self.context < len(state):
            state[self.context :] -= keep**self.context * state[: -self.context].copy()
        return state


class Recovery:
    """Stories, the language model, planted voxels of one seed, and what is found of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.n_seeds, self.n_voxels = (2, 8) if options.quick else (options.seeds, options.voxels)
        n_words = 300 if options.quick else None
        self.stories = [read_story(name)[:n_words] for name in (TRAIN[:3] if options.quick else TRAIN)]
        self.unseen = read_story(UNSEEN)[: 2 * n_words if n_words else None]
        self.levels = LEVELS[:7] if options.quick else LEVELS
        self.lm = load(options.model, device="cpu")
        self.bank_space = WordBank(word_vectors(self.lm, [*self.stories, self.unseen]))
        self.settings = FitSettings(
            alphas=tuple(10.0 ** np.arange(-1, 7)),
            n_folds=3,
            n_inner_folds=3,
            n_permutations=99,
            n_bootstrap=2,
            min_shift=20,
            level=1.0,
        )
        self.quick = replace(self.settings, n_permutations=1)

    def one_seed(self, part: str, seed: int) -> dict[str, dict[str, float]]:
        """Plant windows with both signals, look for them with the features of `part`, and judge."""
        taus, runs = [], []
        for i, r in enumerate(SIGNALS.values()):
            rng = np.random.default_rng([seed, i])
            taus.append(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), self.n_voxels)))
            runs.append(listen(self.bank_space, self.stories, taus[-1], r, rng))
        found, tested = {"bank": self.bank, "model": self.model}[part](beside(runs))
        return judged(found, tested, taus)

    def bank(self, runs: list[BoldRun]) -> tuple[dict[str, WindowResult], PermutationTest]:
        """The features span the truth."""
        features = [self.bank_space.extract(story) for story in self.stories]
        tested, responder = self._fitted(self.bank_space, features, runs)
        swept = [self.bank_space.sweep(story, self.levels) for story in self.stories]
        return {
            "product-measure timescale": UnitTimescale(settings=self.quick).run(features, runs),
            "scrambling": ScrambleWindow(self.levels, settings=self.quick).simulate(responder, [self.unseen]),
            "context saturation": ContextWindowSweep(settings=self.quick).run(swept, runs),
            "context argmax": ContextWindowSweep(index="argmax", settings=self.quick).run(swept, runs),
        }, tested

    def model(self, runs: list[BoldRun]) -> tuple[dict[str, WindowResult], PermutationTest]:
        """The language model's own states, on the beginnings of the first four stories; what it reads is kept in the cache."""
        stories = [story[:MODEL_WORDS] for story in self.stories[:4]]
        runs = [_beginning(run, story) for run, story in zip(runs, stories)]
        states = LMStates(self.lm, LAYER, ContextWindow(128, "sliding"), lowercase=True, cache=FeatureCache())
        features = [states.extract(story) for story in stories]
        tested, responder = self._fitted(states, features, runs)
        swept = [states.sweep(story, MODEL_CONTEXTS) for story in stories]
        levels = tuple(n for n in self.levels if n <= 128)
        scramble = ScrambleWindow(levels, n_scrambles=1, settings=self.quick)
        return {
            "product-measure timescale": UnitTimescale(settings=self.quick).run([spectral_bands(f) for f in features], runs),
            "context saturation": ContextWindowSweep(settings=self.quick).run(swept, runs),
            "scrambling": scramble.simulate(responder, [self.unseen[:SCRAMBLED_WORDS]]),
        }, tested

    def gate(self, seed: int) -> dict[str, Any]:
        """Experiments without signal, 20 voxels each, through the whole test."""
        n_experiments, n_voxels = (10 if self.options.quick else AT_ONCE), 20
        alphas = self.settings.alphas[::2]
        settings = replace(self.settings, n_permutations=499)  # p can fall to .002: one voxel may pass the gate by itself
        stories = [story[:GATE_WORDS] for story in self.stories[:4]]
        taus = np.full(n_experiments * n_voxels, 10.0)
        runs = listen(self.bank_space, stories, taus, 0.0, np.random.default_rng([seed, len(SIGNALS)]))
        features = [self.bank_space.extract(story) for story in stories]
        p = prediction_test(EncodingModel(alphas, delays=DELAYS, n_folds=3), features, runs, settings).p_values
        wrong = sum(gate(one).any() for one in p.reshape(n_experiments, n_voxels))
        return {"experiments": n_experiments, "with_a_valid_voxel": int(wrong), "p": p.tolist()}

    def _fitted(self, space: Any, features: Sequence[Features], runs: Sequence[BoldRun]) -> tuple[Any, EncodingResponder]:
        model = EncodingModel(self.settings.alphas, delays=DELAYS, n_folds=3).fit(features, runs)
        return prediction_test(model, features, runs, self.settings), EncodingResponder(model, space)


def judged(found: Mapping[str, WindowResult], tested: PermutationTest, taus: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    """Rank correlation with the truth, bias, yield and held-out r of every signal and estimator."""
    rows = {}
    for i, (signal, truth) in enumerate(zip(SIGNALS, taus, strict=True)):
        part = slice(i * len(truth), (i + 1) * len(truth))
        valid, r = gate(tested.p_values[part]), tested.scores[part]
        for name, result in found.items():
            index = np.where(valid, result.index[part], np.nan)
            known = np.isfinite(index)
            rows[f"{signal}, {name}"] = {
                "rho": float(spearmanr(index[known], truth[known]).statistic) if known.sum() > 5 else np.nan,
                "bias_octaves": float(np.median(np.log2(index[known] / truth[known]))) if known.any() else np.nan,
                "share_valid": float(known.mean()),
                "held_out_r": float(r.mean()),
            }
    return rows


def over_seeds(found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Mean and interval over seeds of every number."""
    return {name: {key: summary([one[name][key] for one in found]) for key in found[0][name]} for name in found[0]}


def read_story(name: str) -> Transcript:
    folder = Path(os.environ.get("NEUROLM_DATA", "data")) / "moth_textgrids" / "TextGrids"
    return replace(read_textgrid(folder / f"{name}.TextGrid", "word"), name=name)


def word_vectors(lm: Any, stories: Sequence[Transcript]) -> dict[str, np.ndarray]:
    """A few bounded mixtures of the model's state at each word by itself, its leading directions first."""
    forms = sorted({word.lower() for story in stories for word in story.words})
    times = np.arange(len(forms), dtype=np.float64)
    everything = Transcript(tuple(forms), times, times + 0.5, name="every word once")
    states = LMStates(lm, STATE_LAYER, ContextWindow(1), lowercase=True, cache=FeatureCache()).extract(everything).values
    centred = states.astype(np.float64) - states.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:24]
    scores = centred @ directions.T
    mixing = np.random.default_rng(3).normal(scale=0.5, size=(24, N_MIXTURES))
    return dict(zip(forms, np.tanh(scores / scores.std(0) @ mixing)))


def listen(bank: WordBank, stories: Sequence[Transcript], taus: np.ndarray, r: float, rng: np.random.Generator) -> list[BoldRun]:
    """BOLD of voxels that follow one leaky average each: HRF, AR(1) noise; r = 0 is noise alone."""
    times = [np.arange(story.onsets[0], story.offsets[-1] + 8, TR) for story in stories]
    signal = [np.zeros((len(tr), len(taus))) for tr in times]
    if r > 0:
        features = [replace(bank, timescales=tuple(taus)).extract(story) for story in stories]
        design = Design.from_training(features, times, DELAYS)
        mixtures = rng.normal(size=(len(taus), N_MIXTURES))
        for out, story, tr in zip(signal, features, times):
            delayed = design.transform(story, tr).reshape(len(tr), len(DELAYS), len(taus), N_MIXTURES)
            out[:] = np.einsum("d,tdvm,vm->tv", HRF, delayed, mixtures)
    spread = np.concatenate(signal).std(0) if r > 0 else 1.0
    runs = []
    for story, tr, one in zip(stories, times, signal):
        noise = lfilter([np.sqrt(1 - 0.4**2)], [1, -0.4], rng.normal(size=(len(tr) + 50, len(taus))), axis=0)[50:]
        data = r * (one - one.mean(0)) / spread + np.sqrt(1 - r**2) * noise
        runs.append(BoldRun(data.astype(np.float32), tr, Unplaced("planted", len(taus)), "planted", story.name))
    return runs


def beside(sets: Sequence[Sequence[BoldRun]]) -> list[BoldRun]:
    """The voxels of several experiments on the same stories as one."""
    joined = []
    for runs in zip(*sets, strict=True):
        data = np.concatenate([run.data for run in runs], axis=1)
        joined.append(BoldRun(data, runs[0].tr_times, Unplaced("planted", data.shape[1]), "planted", runs[0].story))
    return joined


def _beginning(run: BoldRun, story: Transcript) -> BoldRun:
    """The rows that were measured while this part of the story was heard."""
    rows = run.tr_times < story.offsets[-1] + 8
    return BoldRun(run.data[rows], run.tr_times[rows], run.space, run.subject, run.story)


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds with its 95 % interval (Student's t)."""
    known = np.array([v for v in values if np.isfinite(v)])
    mean = float(known.mean()) if len(known) else float("nan")
    spread = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
    return {"mean": mean, "low": mean - spread, "high": mean + spread, "seeds": [float(v) for v in values]}


def wilson(k: int, n: int) -> tuple[float, float]:
    """95 % interval of a share."""
    z, share = 1.96, k / n
    middle, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float((middle - spread) / (1 + z * z / n)), float((middle + spread) / (1 + z * z / n))


def pooled(found: Sequence[Mapping[str, Any]]) -> str:
    """How many experiments without signal had a valid voxel, over all batches."""
    n, k = (sum(one[key] for one in found) for key in ("experiments", "with_a_valid_voxel"))
    p = np.concatenate([one["p"] for one in found])
    low, high = wilson(k, n)
    share = f"{k} of {n} experiments without signal have a valid voxel: {k / n:.3f} [{low:.3f}, {high:.3f}]"
    return f"{share}; p is at most .05 in {(p <= 0.05).mean():.4f} of {len(p):,} voxels"


def table(result: Mapping[str, Any]) -> str:
    """As Markdown."""
    lines = [
        "| signal, estimator | Spearman with truth | bias (octaves) | voxels with a window | held-out r |",
        "|---|---|---|---|---|",
    ]
    for name, row in result.items():
        cells = [f"{row[key]['mean']:.2f} [{row[key]['low']:.2f}, {row[key]['high']:.2f}]" for key in row]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
