"""A recurrent encoder beside ridge with FIR delays: the same features, rows and folds.

Held-out correlation of five contiguous blocks with a gap of 5 TRs. Both read the same delayed features (leading
directions, learned on the training rows); ridge chooses its penalty, the network when to stop, within the
training rows of each fold. Two data sets: simulated regions whose time constant is planted (1 to 64 words), and the
mean of 27 listeners to Alice in Wonderland with one layer of SmolLM2-135M.

    python benchmarks/recurrent_encoder.py                     # a minute on one core
    python benchmarks/recurrent_encoder.py --quick             # seconds: only checks that it runs
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

ALPHAS = np.logspace(0, 6, 13)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["simulated", "alice"], choices=["simulated", "alice"])
    parser.add_argument("--cores", nargs="+", default=["lstm", "rnn"], choices=["lstm", "rnn", "feed_forward"])
    parser.add_argument("--layer", type=int, default=20, help="of SmolLM2-135M, for Alice")
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for name in options.data:
        X, Y, regions = simulated() if name == "simulated" else alice(options.layer)
        print(f"\n{name}: {len(X)} TRs, {X.shape[1]} delayed features, {Y.shape[1]} regions")
        print("| encoder | seconds | mean r | " + " | ".join(regions) + " |\n|" + "---|" * (3 + len(regions)), flush=True)
        for encoder in ("ridge, all features", "ridge, leading directions", *options.cores):
            began = time.process_time()
            r = held_out(encoder, X, Y, options)
            row = " | ".join(f"{x:.2f}" for x in r)
            print(f"| {encoder} | {time.process_time() - began:.0f} | {r.mean():.3f} | {row} |", flush=True)


def held_out(encoder: str, X: np.ndarray, Y: np.ndarray, options: Any) -> np.ndarray:
    """(n_regions,) correlation of out-of-fold predictions, averaged over folds as Fisher z."""
    from neurolm.encoding import contiguous_blocks
    from neurolm.statistics import columnwise_correlation

    scores = []
    for train, test in contiguous_blocks(len(X), 5, gap=5):
        predicted = fit_and_predict(encoder, X, Y, train, options)[test]
        scores.append(columnwise_correlation(Y[test], predicted))
    return np.tanh(np.arctanh(np.array(scores)).mean(0))


def fit_and_predict(encoder: str, X: np.ndarray, Y: np.ndarray, train: np.ndarray, options: Any) -> np.ndarray:
    """Predictions of all rows by a fit of the training rows."""
    import warnings

    from neurolm.encoding import RecurrentEncoder, RidgeCV
    from neurolm.encoding.crossval import blocks_of_rows

    if encoder.startswith("ridge"):
        Z = X if "all" in encoder else leading(X, train, options.components)
        place = {row: i for i, row in enumerate(train)}
        inner = [tuple(np.array([place[row] for row in part]) for part in fold) for fold in blocks_of_rows(train, 5, gap=5)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # penalties at the grid's edge
            model = RidgeCV(ALPHAS, cv=inner, scoring="correlation", fit_intercept=True).fit(Z[train], Y[train])
        return model.predict(Z)
    breaks = np.flatnonzero(np.diff(train) != 1) + 1
    settings: dict[str, Any] = {"n_epochs": 3, "n_members": 1} if options.quick else {}
    network = RecurrentEncoder(encoder, n_components=options.components, **settings)
    network.fit(X[train], Y[train], run_onsets=[0, *breaks])
    return network.predict(X)


def leading(X: np.ndarray, train: np.ndarray, n: int) -> np.ndarray:
    mean = X[train].mean(0)
    _, spread, directions = np.linalg.svd(X[train] - mean, full_matrices=False)
    return (X - mean) @ (directions[:n].T / spread[:n] * len(train) ** 0.5)


def simulated() -> tuple[np.ndarray, np.ndarray, list[str]]:
    from neurolm.datasets import load_dataset
    from neurolm.datasets.simulated import REGIONS, word_properties
    from neurolm.features import Features

    dataset = load_dataset("simulated")
    story = dataset.stories()[0]
    transcript = dataset.transcript(story)
    features = Features(word_properties(transcript).astype(np.float32), transcript.mid_times)
    return *stacked(features, dataset.mean_listener()), list(REGIONS)


def alice(layer: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    from neurolm.brain.preprocess import detrend_legendre, mean_run, zscore_run
    from neurolm.datasets import load_dataset
    from neurolm.features import FeatureCache, LMStates
    from neurolm.lm import load
    from neurolm.stimuli import ContextWindow

    dataset = load_dataset("alice")
    states = LMStates(load("smollm2-135m"), layer, ContextWindow(256, "sliding"), lowercase=True, cache=FeatureCache())
    features = states.extract(dataset.transcript("alice"))
    runs = [zscore_run(detrend_legendre(dataset.bold(subject, "alice"), 6)) for subject in dataset.subjects()]
    run = mean_run(runs)
    return *stacked(features, run), [str(name) for name in run.space.table()["region"]]


def stacked(features: Any, run: Any) -> tuple[np.ndarray, np.ndarray]:
    from neurolm.encoding import Design

    data = Design.from_training([features], [run], [1, 2, 3, 4]).stack([features], [run])
    return data.X.astype(np.float64), data.Y.astype(np.float64)


if __name__ == "__main__":
    main()
