"""A small listener with a planted model, and the likelihood computed the long way, in voxel space."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from toy_stories import TR, WORDS, random_word_times, toy_story

from neurolm.brain import BoldRun, Regions
from neurolm.decoding.likelihood import ResponseLikelihood
from neurolm.encoding import Design
from neurolm.features import Features
from neurolm.features.lm_states import LMStates
from neurolm.lm import ToyModel
from neurolm.stimuli import ContextWindow


@dataclass
class Listener:
    """Planted weights, noise covariance and one run of BOLD driven by random word vectors."""

    design: Design
    model: SimpleNamespace
    covariance: np.ndarray
    run: BoldRun
    word_times: np.ndarray
    values: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        return np.linalg.inv(self.covariance)

    @property
    def noise(self) -> SimpleNamespace:
        return SimpleNamespace(multiply_precision=lambda rows: rows @ self.precision)


def make_listener(rng: np.random.Generator, *, n_features: int = 12, n_voxels: int = 40, n_trs: int = 40, noise: float = 1.0):
    times = random_word_times(rng, n_trs * TR)
    values = rng.normal(size=(len(times), n_features)) + rng.normal(size=n_features)
    story = Features(values, times)
    tr_times = np.arange(n_trs) * TR
    design = Design.from_training([story], [tr_times])
    coef = rng.normal(size=(len(design.delays) * n_features, n_voxels)) / np.sqrt(n_features)
    factors = rng.normal(size=(n_voxels, 5))
    covariance = factors @ factors.T / 5 + np.diag(rng.uniform(0.5, 1.5, n_voxels))
    errors = rng.multivariate_normal(np.zeros(n_voxels), covariance, size=n_trs)
    data = design.transform(story, tr_times).astype(float) @ coef + noise * errors
    run = BoldRun(data, tr_times, Regions(tuple(f"v{i}" for i in range(n_voxels))))
    return Listener(design, SimpleNamespace(coef_=coef), covariance, run, times, values)


def voxel_log_likelihood(listener: Listener, values: np.ndarray, word_times: np.ndarray, rows=slice(None)) -> float:
    """-1/2 of the weighted squared residual, from the whole stimulus, prediction and residual."""
    design = listener.design
    X = design.transform(Features(values, word_times, design.names), listener.run.tr_times)
    residual = (X.astype(float) @ listener.model.coef_ - listener.run.data)[rows]
    return -0.5 * float(np.einsum("tv,vw,tw->", residual, listener.precision, residual))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def toy_decoder(rng, *, n_trs=30, n_voxels=30, noise=0.5, width=8, per_second=2.0):
    """A language model, a feature space, and a listener to a random text with planted weights."""
    lm = ToyModel.for_words(WORDS, width=width)
    space = LMStates(lm, 2, ContextWindow(3, "words"))
    train = [toy_story(rng, 80, per_second) for _ in range(2)]
    tr_times = [np.arange(80) * TR] * 2
    design = Design.from_training([space.extract(t) for t in train], tr_times)
    coef = rng.normal(size=(len(design.delays) * design.n_features, n_voxels)) / np.sqrt(design.n_features)
    factors = rng.normal(size=(n_voxels, 5))
    covariance = factors @ factors.T / 5 + np.diag(rng.uniform(0.5, 1.5, n_voxels))
    story = toy_story(rng, n_trs, per_second)
    times = np.arange(n_trs) * TR
    errors = rng.multivariate_normal(np.zeros(n_voxels), covariance, size=n_trs)
    data = design.transform(space.extract(story), times).astype(float) @ coef + noise * errors
    run = BoldRun(data, times, Regions(tuple(f"v{i}" for i in range(n_voxels))))
    features = space.extract(story)
    listener = Listener(design, SimpleNamespace(coef_=coef), covariance, run, features.times, features.values)
    likelihood = ResponseLikelihood(listener.model, listener.noise, design, space, run)
    return SimpleNamespace(lm=lm, space=space, listener=listener, likelihood=likelihood, story=story, train=train)
