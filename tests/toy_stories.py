"""Random texts with word times, as transcripts."""

import numpy as np

from neurolm.stimuli import Transcript

TR = 2.0


def random_word_times(rng: np.random.Generator, end: float, per_second: float = 2.5) -> np.ndarray:
    times = np.cumsum(rng.gamma(2.0, 1 / (2 * per_second), size=int(2 * end * per_second)))
    return times[times < end]


_TEXT = """i she he they it we said went home river stone quiet window garden yellow morning winter letter mother
father brother open closed walked talked under over little great never always because before after night light
paper table finger summer doctor sailor captain harbour storm"""
WORDS = _TEXT.split()


def toy_story(rng: np.random.Generator, n_trs: int, per_second: float = 2.0):
    """A random text with word times, as a transcript."""
    times = random_word_times(rng, n_trs * TR, per_second)
    chosen = ["i", *rng.choice(WORDS, size=len(times) - 1)]
    return Transcript(tuple(str(w) for w in chosen), times, times)
