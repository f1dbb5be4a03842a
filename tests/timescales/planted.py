"""Stories with drifting topics, a bank of leaky integrators, and voxels whose windows are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import lfilter

from neurolm.brain import BoldRun, Regions
from neurolm.encoding import Design
from neurolm.features import Features
from neurolm.stimuli import Transcript

N_WORD_TYPES, WIDTH, TR = 400, 12, 2.0
HRF = np.array([0.5, 1.0, 0.7, 0.3])
DELAYS = (1, 2, 3, 4)
_VECTORS = np.random.default_rng(7).normal(size=(N_WORD_TYPES, WIDTH))


def tell(n_words: int = 1500, seed: int = 0, *, drift: float = 60.0, sentence: int = 12, name: str = "") -> Transcript:
    """A story whose topic drifts over `drift` words; a word is likelier the nearer it is to the topic."""
    rng = np.random.default_rng([seed, 1])
    keep = np.exp(-1 / drift)
    topic = lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.normal(size=(n_words + 300, WIDTH)), axis=0)[300:]
    affinity = 0.5 * topic @ _VECTORS.T + rng.gumbel(size=(n_words, N_WORD_TYPES))
    durations = rng.uniform(0.25, 0.55, n_words)
    offsets = np.cumsum(durations)
    index = np.arange(n_words)
    words = tuple(f"w{i}" for i in affinity.argmax(1))
    return Transcript(words, offsets - durations, offsets, index // sentence, index // (5 * sentence), name or f"story{seed}")


@dataclass
class Bank:
    """Leaky averages of tanh mixtures of word vectors: `per_scale` units for each timescale in words.

    context : only the last so many words are heard
    resets : begin again at every new paragraph
    mixing_seed : which mixtures; the same for all timescales
    """

    timescales: tuple[float, ...]
    per_scale: int = 4
    context: int | None = None
    resets: bool = False
    mixing_seed: int = 3

    def extract(self, transcript: Transcript) -> Features:
        parts = [self._integrate(transcript, tau) for tau in self.timescales]
        slices = {f"{tau:g} words": slice(i * self.per_scale, (i + 1) * self.per_scale) for i, tau in enumerate(self.timescales)}
        return Features(np.concatenate(parts, axis=1), transcript.mid_times, slices=slices)

    def settings(self) -> dict[str, Any]:
        return {"kind": "bank", "timescales": list(self.timescales)}

    def sweep(self, transcript: Transcript, contexts: Any) -> dict[int, Features]:
        return {c: Bank(self.timescales, self.per_scale, int(c), self.resets).extract(transcript) for c in contexts}

    def _integrate(self, transcript: Transcript, tau: float) -> np.ndarray:
        types = np.array([int(word[1:]) % N_WORD_TYPES for word in transcript.words])
        mixing = np.random.default_rng(self.mixing_seed).normal(scale=0.5, size=(WIDTH, self.per_scale))
        drive = np.tanh(_VECTORS[types] @ mixing)
        keep = np.exp(-1 / tau)
        starts = [0]
        if self.resets:
            starts = [0, *(np.flatnonzero(np.diff(transcript.paragraphs)) + 1).tolist()]
        whole = [lfilter([1 - keep], [1, -keep], drive[a:b], axis=0) for a, b in zip(starts, [*starts[1:], len(drive)])]
        state = np.concatenate(whole)
        if self.context is None or self.context >= len(state):
            return state
        forgotten = np.zeros_like(state)
        forgotten[self.context :] = keep**self.context * state[: -self.context]
        return state - forgotten


def listen(
    stories: list[Transcript], taus: np.ndarray, r: float, seed: int = 0, *, resets: bool = False, ar1: float = 0.4
) -> list[BoldRun]:
    """BOLD of voxels that follow one leaky average each, through the HRF, with AR(1) noise.

    r : correlation of the signal with the BOLD; 0 is noise alone.
    """
    rng = np.random.default_rng([seed, 2])
    mixtures = rng.normal(size=(4, len(taus)))
    times = [np.arange(0, story.offsets[-1] + 8, TR) for story in stories]
    signals = [np.empty((len(t), len(taus))) for t in times]
    for v, tau in enumerate(taus):
        features = [Bank((float(tau),), resets=resets).extract(story) for story in stories]
        design = Design.from_training(features, times, DELAYS)
        for out, feature, t in zip(signals, features, times):
            delayed = design.transform(feature, t).reshape(len(t), len(DELAYS), -1)
            out[:, v] = np.einsum("d,tdf,f->t", HRF, delayed, mixtures[:, v])
    spread = np.concatenate(signals).std(0)
    runs = []
    for story, t, signal in zip(stories, times, signals):
        noise = lfilter([np.sqrt(1 - ar1**2)], [1, -ar1], rng.normal(size=(len(t) + 50, len(taus))), axis=0)[50:]
        data = r * (signal - signal.mean(0)) / spread + np.sqrt(1 - r**2) * noise
        space = Regions(tuple(f"v{i}" for i in range(len(taus))))
        runs.append(BoldRun(data.astype(np.float32), t, space, "planted", story.name))
    return runs
