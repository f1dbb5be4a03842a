"""Does surprisal with more context predict Alice's listeners better? Raw, less its mean, and beside word rate.

    NEUROLM_DATA=... python benchmarks/alice_surprisal.py       # minutes; the surprisals are kept in the cache

Held-out correlation of the mean of 27 listeners (10 mm regions, Legendre trend of degree 6 removed), five blocks
with gaps of 5 TRs, penalties chosen inside; mean over six regions. Surprisal summed into TRs counts words as well:
less its mean over the story it does not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurolm.brain.preprocess import detrend_legendre, mean_run, zscore_run
from neurolm.datasets import load_dataset
from neurolm.features import FeatureCache, Features, Surprisal, WordRate, join
from neurolm.lm import load
from neurolm.stimuli import ContextWindow
from neurolm.timescales import FitSettings
from neurolm.timescales.held_out_fit import held_out_fit, stack

CONTEXTS = (1, 4, 16, 64)


def main() -> None:
    dataset = load_dataset("alice", radius="10mm")
    story = dataset.transcript("alice")
    listener = mean_run([zscore_run(detrend_legendre(dataset.bold(s, "alice"), 6)) for s in dataset.subjects()])
    settings = FitSettings(alphas=tuple(float(a) for a in np.geomspace(0.1, 1e7, 17)), n_permutations=1)

    def score(features: Features) -> float:
        data = stack([features], [listener], settings)
        return float(held_out_fit(data.X, data, settings).scores.mean())

    rate = WordRate().extract(story)
    space = Surprisal(load("smollm2-135m"), ContextWindow(CONTEXTS[-1]), lowercase=True, cache=FeatureCache())
    swept = space.sweep(story, CONTEXTS)
    print(f"word rate alone: {score(rate):.3f}")
    print("| words before | mean surprisal (nats) | surprisal | less its mean | with word rate |\n|---|---|---|---|---|")
    for n, surprisal in swept.items():
        mean = surprisal.values.mean()
        centred = replace(surprisal, values=surprisal.values - mean)
        scores = (score(surprisal), score(centred), score(join({"rate": rate, "surprisal": centred})))
        print(f"| {n} | {mean:.2f} | {' | '.join(f'{r:.3f}' for r in scores)} |", flush=True)


if __name__ == "__main__":
    main()
