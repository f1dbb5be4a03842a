"""Simulated listeners to real Moth stories: planted weights, planted noise covariance, a real language model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neurolm.brain import BoldRun, Unplaced
from neurolm.datasets import simulate_subject
from neurolm.decoding import NoiseModel, ResponseLikelihood, WordRateModel, vocabulary_of
from neurolm.decoding.likelihood import mean_word_vector
from neurolm.encoding import Design, RidgeCV, leave_one_run_out
from neurolm.features import LMStates
from neurolm.lm import load
from neurolm.stimuli import ContextWindow, Transcript, read_textgrid
from neurolm.temporal import lanczos_matrix

TR, N_VOXELS, AR1 = 2.0, 300, 0.4
TEST_STORY = "wheretheressmoke"
TRAINING = ("souls", "avatar", "legacy", "odetostepfather", "undertheinfluence", "howtodraw")


def moth_folder() -> Path:
    folder = Path(os.environ.get("NEUROLM_DATA", "")) / "moth_textgrids" / "TextGrids"
    if not os.environ.get("NEUROLM_DATA") or not folder.is_dir():
        pytest.skip("the Moth TextGrids are not in NEUROLM_DATA")
    return folder


def read_story(name: str) -> Transcript:
    story = read_textgrid(moth_folder() / f"{name}.TextGrid", "word")
    return story.with_words([word.lower() for word in story.words])


class Stories:
    """Stories, their features and designs: the same for every listener and every signal-to-noise ratio."""

    def __init__(self, model: str = "neurolm/lstm-small", layer: int = 2, test_s: float = 120.0) -> None:
        self.lm = load(model)
        self.space = LMStates(self.lm, layer, ContextWindow(6, "words"))
        self.training = [read_story(name) for name in TRAINING]
        whole = read_story(TEST_STORY)
        self.test = whole[: int(np.searchsorted(whole.mid_times, whole.mid_times[0] + test_s))]
        self.features = [self.space.extract(story) for story in self.training]
        self.test_features = self.space.extract(self.test)
        self.times = [tr_grid(story) for story in [*self.training, self.test]]
        self.design = Design.from_training(self.features, self.times[:-1])
        self.X = [self.design.transform(f, t) for f, t in zip([*self.features, self.test_features], self.times)]
        # enough rows of speech before and after the test part are simulated, so that its edges are like its middle
        self.vocabulary = vocabulary_of([story.words for story in self.training]) | {"i", "we", "she", "he", "they", "it"}


def tr_grid(story: Transcript) -> np.ndarray:
    return np.arange(0, story.offsets[-1] + 10, TR)


@dataclass
class Listener:
    """One simulated listener with what a decoder learned from the training runs (never from the test run)."""

    stories: Stories
    snr: float
    runs: list[BoldRun]
    model: RidgeCV
    noise: NoiseModel
    word_rate: WordRateModel
    covariance: np.ndarray
    weights: np.ndarray

    @property
    def test_run(self) -> BoldRun:
        return self.runs[-1]

    def likelihood(self, *, noise: bool = True, oracle: bool = False) -> ResponseLikelihood:
        """With the learned weights, or the planted ones."""
        model = SimpleNamespace(coef_=self.weights) if oracle else self.model
        own = NoiseModel.from_covariance(self.covariance) if oracle else self.noise
        blank = mean_word_vector(self.stories.features)
        design, space = self.stories.design, self.stories.space
        return ResponseLikelihood(model, own if noise else None, design, space, self.test_run, blank=blank)


def simulate_listener(stories: Stories, snr: float, seed: int) -> Listener:
    """Plant low-rank weights, smooth over delays, and noise with spatial factors and AR(1) in time; learn from it."""
    rng = np.random.default_rng(seed)
    lengths = [len(x) for x in stories.X]
    onsets = np.cumsum([0, *lengths[:-1]])
    X = np.concatenate(stories.X)
    planted = simulate_subject(X, N_VOXELS, snr=max(snr, 1e-9), n_delays=4, rank=30, run_onsets=onsets, seed=rng)
    covariance = spatial_covariance(rng)
    noise = ar1_noise(rng, lengths, covariance) / np.sqrt(1 + snr)
    signal = planted.signal if snr > 0 else 0 * planted.signal
    data = (signal + noise).astype(np.float32)
    edges = [*onsets, len(X)]
    names = [*TRAINING, TEST_STORY]
    space = Unplaced("simulated", N_VOXELS)
    runs = [BoldRun(data[a:b], t, space, f"sim{seed}", name) for a, b, t, name in zip(onsets, edges[1:], stories.times, names)]
    n_train = int(onsets[-1])
    cv = leave_one_run_out(onsets[:-1], n_train)
    model = RidgeCV(np.logspace(0, 7, 15), cv=cv, scoring="correlation").fit(X[:n_train], data[:n_train])
    fitted = NoiseModel(2 / 3).fit(X[:n_train], data[:n_train], run_onsets=onsets[:-1], alphas=model.best_alphas_)
    rate = WordRateModel().fit(runs[:-1], stories.training)
    return Listener(stories, snr, runs, model, fitted, rate, covariance / (1 + snr), planted.weights)


def spatial_covariance(rng: np.random.Generator, n_factors: int = 8) -> np.ndarray:
    """Few shared fluctuations beside each voxel's own noise; unit variance."""
    factors = rng.normal(size=(n_factors, N_VOXELS))
    covariance = 2 * factors.T @ factors / n_factors + np.diag(rng.uniform(0.5, 1.5, N_VOXELS))
    scale = np.sqrt(np.diag(covariance))
    return covariance / scale[:, None] / scale[None, :]


def ar1_noise(rng: np.random.Generator, lengths: list[int], covariance: np.ndarray) -> np.ndarray:
    from scipy.signal import lfilter

    root = np.linalg.cholesky(covariance)
    runs = []
    for n in lengths:
        white = rng.normal(size=(n + 50, len(root))) @ root.T * np.sqrt(1 - AR1**2)
        runs.append(lfilter([1.0], [1.0, -AR1], white, axis=0)[50:])
    return np.concatenate(runs)


def true_words_per_tr(story: Transcript, tr_times: np.ndarray) -> np.ndarray:
    return lanczos_matrix(story.mid_times, tr_times + TR / 2).sum(1)
