"""Listeners who never were: BOLD of real stories with planted weights and a planted noise covariance.

They say what a decoder could do at a signal-to-noise ratio, a number of voxels and a length of training
before anybody is scanned, and whether an analysis finds what is there and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from neurolm.brain import BoldRun, Unplaced
from neurolm.checks import bad, check_same_length
from neurolm.datasets import simulate_subject
from neurolm.encoding import Design
from neurolm.statistics import ar1_noise
from neurolm.stimuli.transcript import Transcript


@dataclass(frozen=True, eq=False)
class SimulatedListener:
    """Runs and everything that is true of them.

    runs : one for each story, voxels of unit variance in expectation
    design : of the training stories
    weights : (n_delays * n_features, n_voxels), zero for voxels without signal
    covariance : (n_voxels, n_voxels) of the noise
    has_signal : (n_voxels,) bool
    """

    runs: tuple[BoldRun, ...]
    design: Design
    weights: np.ndarray
    covariance: np.ndarray
    has_signal: np.ndarray


def simulate_listener(
    feature_space: Any,
    stories: Sequence[Transcript],
    *,
    n_training: int,
    n_voxels: int = 300,
    share_with_signal: float = 0.7,
    snr: float = 0.3,
    delays: Sequence[int] = (1, 2, 3, 4),
    rank: int = 30,
    n_noise_factors: int = 8,
    ar1: float = 0.4,
    tr: float = 2.0,
    seed: int = 0,
) -> SimulatedListener:
    """Simulate one listener to several stories.

    Parameters
    ----------
    feature_space : FeatureSpace
        What the voxels respond to.
    stories : sequence of Transcript
        The first `n_training` make the design; the others are for decoding.
    snr : float
        Variance of the signal over variance of the noise in voxels with signal; 0 plants none.
    rank : int
        Voxels read this many mixtures of the features, with weights smooth over delays.
    n_noise_factors, ar1
        Noise is shared fluctuations and each voxel's own, in equal parts on average, with this lag-1
        autocorrelation in time.

    Returns
    -------
    SimulatedListener
        The same arguments give the same numbers.
    """
    if not 1 <= n_training <= len(stories):
        raise bad("n_training", f"lie in 1..{len(stories)}, the stories", n_training)
    rng = np.random.default_rng(seed)
    features = [feature_space.extract(story) for story in stories]
    times = [np.arange(0, story.offsets.max() + 5 * tr, tr) for story in stories]
    design = Design.from_training(features[:n_training], times[:n_training], delays)
    X = np.concatenate([design.transform(f, t) for f, t in zip(features, times)])
    edges = np.cumsum([0, *(len(t) for t in times)])
    has_signal = np.arange(n_voxels) < round(share_with_signal * n_voxels)
    planted = simulate_subject(
        X, n_voxels, snr=np.where(has_signal, snr, 0), n_delays=len(delays), rank=rank, run_onsets=edges[:-1], seed=rng
    )
    covariance = noise_covariance(n_voxels, n_noise_factors, rng) * np.sqrt(np.outer(*[1 - (snr / (1 + snr)) * has_signal] * 2))
    noise = np.concatenate([correlated_noise(len(t), covariance, ar1, rng) for t in times])
    data = (planted.signal + noise).astype(np.float32)
    space = Unplaced("simulated", n_voxels)
    runs = tuple(
        BoldRun(data[a:b], t, space, f"sim{seed:03d}", story.name) for (a, b), t, story in zip(pairwise(edges), times, stories)
    )
    return SimulatedListener(runs, design, planted.weights, covariance, has_signal)


def noise_covariance(n_voxels: int, n_factors: int, rng: np.random.Generator) -> np.ndarray:
    """A few shared fluctuations beside each voxel's own noise, half of the variance each on average; unit variances."""
    factors = rng.normal(size=(n_factors, n_voxels)) / np.sqrt(n_factors)
    covariance = factors.T @ factors + np.diag(rng.uniform(0.5, 1.5, n_voxels))
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def correlated_noise(n_trs: int, covariance: np.ndarray, ar1: float, rng: np.random.Generator) -> np.ndarray:
    """(n_trs, n_voxels) Gaussian noise with this covariance over voxels and AR(1) over time, stationary from the first row."""
    check_same_length("rows of the covariance", len(covariance), "its columns", covariance.shape[1])
    noise = rng.normal(size=(n_trs, len(covariance))) @ np.linalg.cholesky(covariance).T
    return ar1_noise(noise, ar1)
