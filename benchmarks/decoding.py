"""The decoder, side by side with the computation that it replaces, in one process, turn by turn.

    python benchmarks/decoding.py                        # everything
    python benchmarks/decoding.py scoring search         # some parts
    python benchmarks/decoding.py --quick                # small sizes: only checks that it runs
    python benchmarks/decoding.py --reference PATH       # a checkout of the published code, too
    python benchmarks/decoding.py --threads 1 --clock cpu    # on a machine that is not idle

Parts
-----
scoring   one word's candidates: the published computation in voxel space (whole stimulus, delays, predictions,
          residuals times precision, for each hypothesis in turn; written here from the equations) over ours.
          The published one is timed on some hypotheses and multiplied up, because its loop calls it once for
          each and shares nothing between calls (`linearity` measures that at a small size); all candidates
          of these hypotheses are ranked by both sides and compared.
search    the whole decoder with the same tiny language model; the same beams.
model     words per second and real-time factor with SmolLM2-135M at beams of 10, 50 and 200.
memory    bytes per hypothesis; time per word along a story.

Sizes, threads and the machine's load are printed with every number. Nothing of the published code is part
of this package; `--reference` imports it from the given folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from neurolm.brain import BoldRun, Unplaced
from neurolm.decoding.beam_search import BeamSearch, _Search
from neurolm.decoding.likelihood import ResponseLikelihood, RunningScore
from neurolm.decoding.noise_model import NoiseModel
from neurolm.decoding.proposals import WordProposals
from neurolm.encoding import Design
from neurolm.features.text_rules import TextRules

PARTS = ("scoring", "search", "model", "memory")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TR, WORDS_PER_S = 2.0, 2.5
SHARPNESS = 2.2  # of the tiny model: some twenty words in a nucleus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for one thread on a machine that others use too")
    parser.add_argument("--reference", type=Path, help="checkout of the published code")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    _timed.clock = CLOCKS[options.clock]
    results: dict[str, Any] = {"machine": machine(options)}
    print(json.dumps(results["machine"]), flush=True)
    for part in options.parts:
        results[part] = globals()[f"measure_{part}"](options)
        print(part, json.dumps(results[part], indent=1), flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


def machine(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "cpu": next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), platform.processor()),
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
        "clock": options.clock,
        "torch": torch.__version__,
        "load_average": os.getloadavg()[0],
    }


# ---------------------------------------------------------------- a listener of any size


class Problem:
    """Random weights, noise and BOLD; only sizes matter here."""

    def __init__(self, n_voxels: int, n_trs: int, n_words: int, n_features: int, seed: int = 0, device: str = "cpu") -> None:
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.tr_times = np.arange(n_trs) * TR
        self.word_times = 20 + np.arange(n_words) * (n_trs * TR - 40) / n_words
        mean, std = rng.normal(size=n_features), rng.uniform(0.5, 2, n_features)
        self.design = Design((1, 2, 3, 4), TR, mean, std, names=tuple(f"f{i}" for i in range(n_features)))
        coef = (rng.normal(size=(4 * n_features, n_voxels)) / np.sqrt(4 * n_features)).astype(np.float32)
        residuals = rng.normal(size=(n_trs, n_voxels)).astype(np.float32)
        self.noise = NoiseModel().fit_residuals(residuals, run_onsets=[0, n_trs // 2])
        data = rng.normal(size=(n_trs, n_voxels)).astype(np.float32)
        self.run = BoldRun(data, self.tr_times, Unplaced("benchmark", n_voxels))
        self.coef = coef
        self.blank = rng.normal(size=n_features)
        begun = time.perf_counter()
        self.likelihood = ResponseLikelihood(
            SimpleNamespace(coef_=coef), self.noise, self.design, None, self.run, blank=self.blank, device=device
        )
        self.precompute_s = time.perf_counter() - begun

    @cached_property
    def precision(self) -> np.ndarray:
        """(n_voxels, n_voxels) for the voxel-space side; making it is counted on neither side."""
        return self.noise.multiply_precision(np.eye(self.run.n_voxels))


class VoxelSpaceScorer:
    """The published computation for the candidates of one hypothesis at a time, in float32 as there, or in float64.

    The stimulus of the whole story is built for every candidate, low-passed to TRs, z-scored by a product
    with a diagonal matrix, delayed, and multiplied by the weights on the affected TRs; residuals are
    multiplied by the precision.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype = torch.float32) -> None:
        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).to(dtype)

        self.weights_in_time = tensor(self._lanczos(problem))  # (T, N)
        self.mean, self.scale = tensor(problem.design.mean), tensor(np.diag(1 / problem.design.std))
        self.coef, self.data = tensor(problem.coef), tensor(problem.run.data)
        self.precision, self.blank = tensor(problem.precision), tensor(problem.blank)
        self.delays = problem.design.delays

    def _lanczos(self, problem: Problem) -> np.ndarray:
        first = problem.design.matrix(problem.word_times, problem.tr_times)[0]  # delay 1
        return np.vstack([first[1:], np.zeros((1, first.shape[1]))])  # words lie far from both ends of the run

    def affected(self, first_different: int, word: int) -> np.ndarray:
        begin = np.flatnonzero(self.weights_in_time[:, first_different])[0] + min(self.delays)
        end = np.flatnonzero(self.weights_in_time[:, word])[-1] + max(self.delays)
        return np.arange(max(begin, 0), min(end, len(self.data) - 1) + 1)

    @torch.inference_mode()
    def score(self, text: torch.Tensor, candidates: torch.Tensor, word: int, trs: np.ndarray) -> torch.Tensor:
        """text (word, F), candidates (n, F) -> (n,) log-likelihoods on `trs`."""
        text, candidates = text.to(self.blank), candidates.to(self.blank)
        full = self.blank.repeat(self.weights_in_time.shape[1], 1)
        full[:word] = text
        stimuli = full.repeat(len(candidates), 1, 1)
        stimuli[:, word] = candidates
        z = (self.weights_in_time @ stimuli - self.mean) @ self.scale
        delayed = z.new_zeros(len(z), z.shape[1], len(self.delays) * z.shape[2])
        for i, d in enumerate(self.delays):
            delayed[:, d:, i * z.shape[2] : (i + 1) * z.shape[2]] = z[:, : z.shape[1] - d]
        residual = delayed[:, trs] @ self.coef - self.data[trs]
        return -0.5 * ((residual @ self.precision) @ residual.transpose(1, 2)).diagonal(dim1=1, dim2=2).sum(1)


# ---------------------------------------------------------------- scoring


def measure_scoring(options: argparse.Namespace) -> dict[str, Any]:
    """Time of one word-step: 200 hypotheses, 30 candidates each."""
    small = _Step(Problem(500, 60, 120, 32, device=options.device), options, n_hypotheses=20)
    out: dict[str, Any] = {"linearity": small.linearity(), "500 voxels": small.compare()}
    for n_voxels in () if options.quick else (2_000, 10_000):
        problem = Problem(n_voxels, 300, 1_500, 768, device=options.device)
        out[f"{n_voxels} voxels"] = _Step(problem, options, n_hypotheses=200).compare()
        print(f"  {n_voxels} voxels: {json.dumps(out[f'{n_voxels} voxels'])}", flush=True)
    return out


class _Step:
    """One word's candidates, all distinct: hypotheses that differ in their last words, 30 candidates each."""

    def __init__(self, problem: Problem, options: argparse.Namespace, n_hypotheses: int, n_candidates: int = 30) -> None:
        rng, word = problem.rng, len(problem.word_times) // 2
        n_features, n_differ = problem.design.n_features, 12
        shared = rng.normal(size=(word, n_features)).astype(np.float32)
        self.problem, self.word, self.n_hypotheses = problem, word, n_hypotheses
        self.texts = np.repeat(shared[None], n_hypotheses, axis=0)
        self.texts[:, word - n_differ :] = rng.normal(size=(n_hypotheses, n_differ, n_features))
        self.candidates = rng.normal(size=(n_hypotheses * n_candidates, n_features)).astype(np.float32)
        self.parents = np.repeat(np.arange(n_hypotheses), n_candidates)
        scorer = VoxelSpaceScorer(problem)
        self.trs = scorer.affected(word - n_differ, word)
        self.theirs = {"voxel_space": self._voxel_space(scorer)}
        if options.reference:
            self.theirs["published"] = self._published(options.reference, scorer)

    def compare(self, n_rounds: int = 3, n_timed: int = 2) -> dict[str, Any]:
        """Both sides in turn: all hypotheses of ours, `n_timed` others of each of theirs in every round."""
        compared = n_rounds * n_timed
        ours, our_s = self._ours(compared)
        seconds: dict[str, list[float]] = {name: [] for name in self.theirs}
        found: dict[str, list[torch.Tensor]] = {name: [] for name in self.theirs}
        ours_found: list[torch.Tensor] = []
        for round_ in range(n_rounds):
            ours_found.append(ours())
            for name, score in self.theirs.items():
                for hypothesis in range(round_ * n_timed, (round_ + 1) * n_timed):
                    got: list[Any] = []
                    seconds[name].append(_timed(lambda h=hypothesis, s=score, into=got: into.append(s(h)), torch.device("cpu")))
                    found[name].append(torch.as_tensor(got[0]))
        own = ours_found[0].cpu()[: compared * len(self.parents) // self.n_hypotheses]
        exact = self._voxel_space(VoxelSpaceScorer(self.problem, torch.float64))
        result: dict[str, Any] = {
            "sizes": {
                "voxels": self.problem.run.n_voxels,
                "trs": len(self.problem.tr_times),
                "words": len(self.problem.word_times),
                "features": self.problem.design.n_features,
                "hypotheses": self.n_hypotheses,
                "candidates": len(self.candidates),
                "affected_trs": len(self.trs),
            },
            "ours_s": [round(s, 4) for s in our_s],
            "precompute_s": self.problem.precompute_s,
            "voxel_space_in_float64": _same_ranking(own, torch.cat([exact(h) for h in range(compared)]), compared),
        }
        for name, scores in found.items():
            one = float(np.median(seconds[name]))
            result[name] = {
                "s_per_hypothesis": [round(s, 3) for s in seconds[name]],
                "s_per_step": one * self.n_hypotheses,
                "ratio": one * self.n_hypotheses / float(np.median(our_s)),
                **_same_ranking(own, torch.cat(scores).double(), compared),
            }
        return result

    def linearity(self) -> dict[str, float]:
        """All hypotheses in turn, over their number times the median of one: 1 where multiplying up is right."""
        out = {}
        for name, score in self.theirs.items():
            score(0)  # not in the times: what the first call alone has to do
            singles = [_timed(lambda h=h, s=score: s(h), torch.device("cpu")) for h in range(self.n_hypotheses)]
            whole = _timed(lambda s=score: [s(h) for h in range(self.n_hypotheses)], torch.device("cpu"))
            out[name] = whole / (self.n_hypotheses * float(np.median(singles)))
        return out

    def _ours(self, compared: int) -> tuple[Callable[[], torch.Tensor], list[float]]:
        """A call that scores all candidates and commits the best, and the times of its calls."""
        likelihood, n = self.problem.likelihood, self.n_hypotheses
        running = likelihood.start(self.problem.word_times)
        blank = running.blank.cpu().numpy()
        so_far = torch.zeros(n, dtype=torch.float64)
        for h in range(compared):  # so that candidates of different hypotheses can be compared
            text = np.repeat(blank[None], len(self.problem.word_times), axis=0)
            text[: self.word] = self.texts[h]
            so_far[h] = likelihood.log_likelihood(text, self.problem.word_times) - running.base
        vectors = {w: torch.from_numpy(self.texts[:, w]) for w in range(running.oldest_needed(self.word), self.word)}
        device = likelihood.device
        rows, parents = (torch.from_numpy(array).to(device) for array in (self.candidates, self.parents))
        which = torch.arange(len(rows), device=device)
        seconds: list[float] = []

        def step(into: list[torch.Tensor]) -> None:
            scores = running.score(rows, which, parents)
            best = torch.argsort(scores, descending=True)[:n]
            running.commit(scores[best], rows, which[best], parents[best])
            into.append(scores)

        def call() -> torch.Tensor:
            running.resume(self.word, so_far, vectors)
            scores: list[torch.Tensor] = []
            seconds.append(_timed(lambda: step(scores), device))
            return scores[0]

        return call, seconds

    def _voxel_space(self, scorer: VoxelSpaceScorer) -> Callable[[int], torch.Tensor]:
        def score(hypothesis: int) -> torch.Tensor:
            own = torch.from_numpy(self.candidates[self.parents == hypothesis])
            return scorer.score(torch.from_numpy(self.texts[hypothesis]), own, self.word, self.trs)

        return score

    def _published(self, folder: Path, scorer: VoxelSpaceScorer) -> Callable[[int], Any]:
        """One hypothesis's candidates through the published classes."""
        problem = self.problem
        stimulus_model, encoding_model = (_import_published(folder, name) for name in ("StimulusModel", "EncodingModel"))
        statistics = (problem.design.mean, problem.design.std)
        sm = stimulus_model.StimulusModel(scorer.weights_in_time.double().numpy(), statistics, problem.blank)
        em = encoding_model.EncodingModel(problem.run.data, problem.coef, np.arange(problem.run.n_voxels), None)
        em.precision = scorer.precision  # as set_shrinkage would make it, by a slower inverse

        def score(hypothesis: int) -> Any:
            own = self.candidates[self.parents == hypothesis]
            variants = sm.make_variants(self.word, list(self.texts[hypothesis]), list(own), self.trs)
            return em.prs(variants, self.trs)

        return score


def _same_ranking(ours: torch.Tensor, theirs: torch.Tensor, n_hypotheses: int) -> dict[str, Any]:
    """How well scores agree up to a constant: orders within each hypothesis and over all candidates together."""
    difference = ours - theirs
    order, other = torch.argsort(ours), torch.argsort(theirs)
    within = [
        torch.equal(torch.argsort(a), torch.argsort(b)) for a, b in zip(ours.chunk(n_hypotheses), theirs.chunk(n_hypotheses))
    ]
    return {
        "compared_hypotheses": n_hypotheses,
        "compared_candidates": len(ours),
        "same_order_within_hypotheses": all(within),
        "same_order_over_all": torch.equal(order, other),
        "largest_difference": float((difference - difference.median()).abs().max()),
        "smallest_gap": float(ours.sort().values.diff().min()),
        "largest_score": float(theirs.abs().max()),
    }


# ---------------------------------------------------------------- the whole decoder


def measure_search(options: argparse.Namespace) -> dict[str, Any]:
    """Words per second of whole decoders with the same tiny word-level model; the beams are compared after every word."""
    n_voxels, n_trs, n_words, beam, n_steps = (200, 60, 120, 10, 6) if options.quick else (2_000, 300, 1_400, 200, 8)
    timed = slice(n_steps - 3, n_steps)  # by then the beam is full
    lm, space, vocabulary = _tiny_model()
    problem = Problem(n_voxels, n_trs, n_words, 64)
    search, plain = _decoders(lm, space, vocabulary, problem, beam)
    state = _Search(search, problem.word_times, None)
    ours, theirs, overlap = [], [], []
    for _ in range(n_steps):
        ours.append(_timed(state.step, torch.device("cpu")))
        theirs.append(_timed(plain.step, torch.device("cpu")))
        print(
            f"  word {len(ours)}: {state.beam.n_hypotheses} hypotheses, ours {ours[-1]:.3f} s, voxel space {theirs[-1]:.3f} s",
            flush=True,
        )
        overlap.append(len(set(_texts(state)) & {tuple(words) for words in plain.words}) / state.beam.n_hypotheses)
    result = {
        "sizes": {"voxels": n_voxels, "trs": n_trs, "words": n_words, "beam": beam, "steps": n_steps},
        "ours_words_per_s": 1 / float(np.median(ours[timed])),
        "voxel_space_words_per_s": 1 / float(np.median(theirs[timed])),
        "ratio": float(np.median(theirs[timed]) / np.median(ours[timed])),
        "share_of_beam_in_common_with_float32": float(np.mean(overlap)),
        "same_beams_as_float64_voxel_space": _same_beams(lm, space, vocabulary),
        "candidates_per_word": float(np.mean(state.n_candidates[timed])),
    }
    if options.reference:
        published = PublishedDecoder(options.reference, lm, vocabulary, problem, beam)
        times = [_timed(published.step, torch.device("cpu")) for _ in range(n_steps)]
        result["same_beams_as_published"] = [h.words for h in published.decoder.beam] == plain.words
        result["published_words_per_s"] = 1 / float(np.median(times[timed]))
        result["ratio_to_published"] = float(np.median(times[timed]) / np.median(ours[timed]))
    return result


def _decoders(lm: Any, space: Any, vocabulary: list[str], problem: Problem, beam: int) -> tuple[BeamSearch, PlainDecoder]:
    problem.likelihood.feature_space = space
    search = BeamSearch(WordProposals(lm, vocabulary, rules=TextRules(bos=False)), problem.likelihood, beam)
    return search, PlainDecoder(lm, space, vocabulary, problem, beam, search.proposals)


def _same_beams(lm: Any, space: Any, vocabulary: list[str]) -> bool:
    """Whether every beam, in its order, is that of voxel space in float64 (float32 rounds near ties): a small problem."""
    problem = Problem(200, 60, 120, 64)
    search, plain = _decoders(lm, space, vocabulary, problem, 20)
    plain.scorer = VoxelSpaceScorer(problem, torch.float64)
    state, same = _Search(search, problem.word_times, None), True
    for _ in range(20):
        state.step()
        plain.step()
        same &= _texts(state) == [tuple(words) for words in plain.words]
    return same


def _texts(state: _Search) -> list[tuple[str, ...]]:
    return [tuple(state.beam.text_of(h)) for h in range(state.beam.n_hypotheses)]


def _tiny_model() -> tuple[Any, Any, list[str]]:
    """A recurrent model of two layers over 2,000 made-up words, with predictions as sharp as a trained model's."""
    from neurolm.features import LMStates
    from neurolm.lm import ToyModel, WordTokenizer
    from neurolm.stimuli import ContextWindow

    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    made_up = sorted({"".join(rng.choice(syllables, size=3)) for _ in range(2_600)})[:1_994]
    vocabulary = ["i", "we", "she", "he", "they", "it", *made_up]
    lm = ToyModel(WordTokenizer(vocabulary), width=64)
    lm.embeddings *= SHARPNESS
    return lm, LMStates(lm, 2, ContextWindow(6), bos=False, lowercase=True), vocabulary


class PlainDecoder:
    """The published algorithm, hypothesis by hypothesis, with the same proposals as ours and candidates scored in voxel space.

    Proposals come from one batch over the beam, as published; features of one hypothesis's candidates are
    one batch over whole contexts; likelihoods are one call of `VoxelSpaceScorer` per hypothesis.
    """

    def __init__(
        self, lm: Any, space: Any, vocabulary: list[str], problem: Problem, beam_width: int, rules: WordProposals
    ) -> None:
        self.lm, self.space, self.problem, self.beam_width, self.rules = lm, space, problem, beam_width, rules
        self.scorer = VoxelSpaceScorer(problem)
        self.words: list[list[str]] = [[]]
        self.log_p: list[float] = [0.0]
        self.texts: list[list[np.ndarray]] = [[]]

    def step(self) -> None:
        from neurolm.decoding.hypothesis import Beam, extension_counts

        word = len(self.words[0])
        beam = Beam(self.rules.lexicon)
        for i in range(word):
            ids = np.array([self.rules.lexicon.id_of(words[i]) for words in self.words])
            beam.extend(np.arange(len(ids)) if i else np.zeros(len(ids), dtype=np.int64), ids, np.array(self.log_p))
        options, _ = self.rules.propose(beam, self.problem.word_times)
        counts = extension_counts(np.array(self.log_p), 5)
        different = next((i for i in range(word) if len({words[i] for words in self.words}) > 1), word)
        trs = self.scorer.affected(min(different, word), word)
        pool = []
        for h, (words, log_p, text) in enumerate(zip(self.words, self.log_p, self.texts)):
            mine = np.flatnonzero(options.contexts == h)
            if not len(mine):
                continue
            new = [self.rules.lexicon.words[i] for i in options.words[mine]]
            vectors = self._features([[*words, w][-6:] for w in new])
            stacked = torch.from_numpy(np.array(text)) if text else torch.zeros(0, 64)
            scores = self.scorer.score(stacked, torch.from_numpy(vectors), word, trs).numpy()
            own = sorted(zip(-scores, range(len(new))), key=lambda pair: pair[0])[: counts[h]]
            for score, i in own:
                pool.append((score, [*words, new[i]], log_p + options.log_probabilities[mine[i]], [*text, vectors[i]]))
        pool = sorted(pool, key=lambda entry: entry[0])[: self.beam_width]
        self.words, self.log_p, self.texts = ([entry[k] for entry in pool] for k in (1, 2, 3))

    def _features(self, contexts: list[list[str]]) -> np.ndarray:
        ids = torch.tensor([self.lm.tokenizer.encode(" ".join(words)) for words in contexts])
        with torch.inference_mode():
            hidden = self.lm.step(ids).hidden[2]
        return hidden[:, -1].numpy()


class PublishedDecoder:
    """The published classes around the same tiny model."""

    def __init__(self, folder: Path, lm: Any, vocabulary: list[str], problem: Problem, beam_width: int) -> None:
        names = ("Decoder", "StimulusModel", "EncodingModel", "LanguageModel")
        decoder, stimulus, encoding, language = (_import_published(folder, name) for name in names)
        self.stimulus, self.problem, self.hypothesis = stimulus, problem, decoder.Hypothesis
        self.decoder = decoder.Decoder(problem.word_times, beam_width)
        gpt = _AsPublishedModel(lm)
        self.features = stimulus.LMFeatures(model=gpt, layer=2, context_words=5)
        self.lm = language.LanguageModel(gpt, vocabulary, nuc_mass=0.9, nuc_ratio=0.1)
        self.lanczos = VoxelSpaceScorer(problem).weights_in_time.double().numpy()
        self.sm = stimulus.StimulusModel(self.lanczos, (problem.design.mean, problem.design.std), problem.blank)
        voxels = np.arange(problem.run.n_voxels)
        self.em = encoding.EncodingModel(problem.run.data, problem.coef, voxels, None)
        self.em.precision = torch.from_numpy(problem.precision).float()
        self.word = 0

    def step(self) -> None:
        trs = self.stimulus.affected_trs(self.decoder.first_difference(), self.word, self.lanczos)
        n_context = self.decoder.time_window(self.word, 8, floor=5)
        proposals = self.lm.beam_propose(self.decoder.beam, n_context)
        for (words, log_p), (hypothesis, n) in zip(proposals, self.decoder.get_hypotheses()):
            if len(words):
                vectors = list(self.features.extend([[*hypothesis.words, w] for w in words]))
                scores = self.em.prs(self.sm.make_variants(self.word, hypothesis.embs, vectors, trs), trs)
                children = [self.hypothesis(parent=hypothesis, extension=x) for x in zip(words, log_p, vectors)]
                self.decoder.add_extensions(children, scores, n)
        self.decoder.extend(verbose=False)
        self.word += 1


class _AsPublishedModel:
    """Our model with the methods that the published classes call."""

    def __init__(self, lm: Any) -> None:
        self.lm, self.vocab = lm, lm.tokenizer.vocabulary
        self.word2id = {word: i for i, word in enumerate(self.vocab)}

    def get_context_array(self, contexts: list[list[str]]) -> torch.Tensor:
        return torch.tensor([[self.word2id[w] for w in words] for words in contexts])

    def get_hidden(self, ids: torch.Tensor, layer: int) -> np.ndarray:
        with torch.inference_mode():
            return self.lm.step(ids).hidden[layer].numpy()

    def get_probs(self, ids: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return torch.softmax(self.lm.step(ids).logits, dim=2).numpy()


def _import_published(folder: Path, name: str) -> Any:
    """A module of the published code, with the plotting and table libraries that it does not need here left out."""
    import importlib
    import warnings

    place = str(folder / "decoding")
    if place not in sys.path:
        sys.path.insert(0, place)
        for missing in ("tables", "matplotlib.pyplot"):
            sys.modules.setdefault(missing, SimpleNamespace())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


# ---------------------------------------------------------------- a real model


def measure_model(options: argparse.Namespace) -> dict[str, Any]:
    """Words per second with SmolLM2-135M proposing and giving features (layer 20, 6 words), 2.5 words heard a second."""
    from neurolm.features import LMStates
    from neurolm.lm import load
    from neurolm.stimuli import ContextWindow

    lm = load("smollm2-135m", device=options.device)
    space = LMStates(lm, 20, ContextWindow(6), lowercase=True)
    problem = Problem(200 if options.quick else 2_000, 300, 1_000, 576, device=options.device)
    problem.likelihood.feature_space = space
    on_gpu = options.device != "cpu"
    costs = {"rows_at_once": 4096, "call_cost": 2000} if on_gpu else {"rows_at_once": 256, "call_cost": 16}
    out: dict[str, Any] = {}
    for name, hop in (("8 s of context", 0.0), ("8 to 16 s of context, growing", 8.0)):
        proposals = WordProposals(lm, hop_s=hop, **costs)
        state = _Search(BeamSearch(proposals, problem.likelihood, 10, **costs), problem.word_times, None)
        plan = ((2, 3, 2),) if options.quick else ((10, 16, 24), (50, 3, 12), (200, 3, 10))
        for beam, n_warm, n_steps in plan:  # the beam widens: the words before are those of the narrower one
            state.settings.beam_width = beam
            for _ in range(n_warm):
                state.step()
            times = [_timed(state.step, lm.device) for _ in range(n_steps)]
            rate = 1 / float(np.mean(times))
            out[f"{name}, beam {beam}"] = {
                "words_per_s": rate,
                "real_time_factor": rate / WORDS_PER_S,
                "hypotheses": state.beam.n_hypotheses,
                "candidates_per_word": float(np.mean(state.n_candidates[-n_steps:])),
                "seconds_per_word": [round(t, 3) for t in times],
            }
            print(f"  {name}, beam {beam}: {json.dumps(out[f'{name}, beam {beam}'])}", flush=True)
    return out


# ---------------------------------------------------------------- memory and time along a story


def measure_memory(options: argparse.Namespace) -> dict[str, Any]:
    """Bytes that one hypothesis costs, and time per word early and late in a story."""
    n_features, n_hypotheses = (32, 20) if options.quick else (768, 200)
    problem = Problem(500, 300, 1_500, n_features, device=options.device)
    running = problem.likelihood.start(problem.word_times)
    rng = problem.rng
    vectors = torch.from_numpy(rng.normal(size=(n_hypotheses * 10, n_features)).astype(np.float32)).to(running.scores.device)
    which = torch.arange(len(vectors), device=running.scores.device)
    seconds = []
    for _ in range(len(problem.word_times) if not options.quick else 40):
        parents = torch.randint(0, running.n_hypotheses, (len(vectors),), device=running.scores.device)
        seconds.append(_timed(lambda p=parents: _advance(running, vectors, which, p, n_hypotheses), running.scores.device))
    tenth = max(1, len(seconds) // 10)
    return {
        "sizes": {"features": n_features, "hypotheses": n_hypotheses, "words": len(seconds)},
        "score_megabytes_per_hypothesis": running.change[0].numel() * running.change.element_size() / 1e6,
        "history_bytes_per_hypothesis_and_word": 8,
        "ms_per_word_first_tenth": 1e3 * float(np.median(seconds[1:tenth])),
        "ms_per_word_last_tenth": 1e3 * float(np.median(seconds[-tenth:])),
    }


def _advance(running: RunningScore, vectors: torch.Tensor, which: torch.Tensor, parents: torch.Tensor, n: int) -> None:
    scores = running.score(vectors, which, parents)
    best = torch.argsort(scores, descending=True)[:n]
    running.commit(scores[best], vectors, which[best], parents[best])


def _timed(run: Callable[[], Any], device: torch.device) -> float:
    clock = _timed.clock
    begun = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


if __name__ == "__main__":
    main()
