"""Extract a fixed story into a cache folder with a slow model; for tests that kill it or run it twice.

Arguments: cache folder, seconds per step. Prints how many times the model was stepped.
"""

import sys
import time

import numpy as np
import torch

from neurolm.features import FeatureCache, LMStates
from neurolm.lm.toy import ToyModel
from neurolm.stimuli import ContextWindow, Transcript

VOCABULARY = [f"word{i}" for i in range(50)]


class Slow(ToyModel):
    """A toy model that takes its time and counts its steps."""

    seconds = 0.0
    n_steps = 0

    def step(self, ids, state=None, layers=None, *, logits=True):
        time.sleep(self.seconds)
        self.n_steps += 1
        return super().step(ids, state, layers, logits=logits)


def slow_toy(seconds):
    lm = Slow.for_words(VOCABULARY)
    lm.seconds = seconds
    return lm


def story():
    words = np.random.default_rng(0).choice(VOCABULARY, 200)
    return Transcript(tuple(words.tolist()), np.arange(200.0), np.arange(200.0) + 0.5, name="long story")


def states(lm, folder, layers=(1, 2)):
    return LMStates(lm, layers, ContextWindow(10), batch_tokens=64, cache=FeatureCache(folder, sync_every_s=0))


if __name__ == "__main__":
    torch.set_num_threads(1)
    lm = slow_toy(float(sys.argv[2]))
    states(lm, sys.argv[1]).extract(story())
    sys.stdout.write(f"{lm.n_steps}\n")
