"""Stories that are heard more than once, recognised by their words and not by their names.

Letters, case and punctuation do not count, nor do a few words that differ: what two stories share are runs of
at least `RUN_WORDS` words in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RUN_WORDS = 6  # unrelated stories share hardly a run of so many words
SAME_STORY = 0.5  # of the shorter story's words: above it, both are one stimulus
NEAR_DUPLICATE = 0.1  # above it, the overlap is worth a word


def plain_words(words: Sequence[str]) -> tuple[str, ...]:
    """Words without case and punctuation; those of signs alone are left out."""
    bare = ("".join(sign for sign in word.casefold() if sign.isalnum()) for word in words)
    return tuple(word for word in bare if word)


def shared_words(first: Sequence[str], second: Sequence[str]) -> float:
    """Share of the shorter story's words that stand in the other one, in runs of at least `RUN_WORDS` words."""
    a, b = sorted((plain_words(first), plain_words(second)), key=len)
    return _shared(a, b)


def stimulus_groups(stories: Sequence[Sequence[str]]) -> np.ndarray:
    """Number stories by what was heard: those that share most of their words get the same number.

    Parameters
    ----------
    stories : sequence of sequences of str
        The words of each run's story.

    Returns
    -------
    groups : array of int of shape (n_stories,)
        In the order of first appearance: [0, 1, 0] where the third story repeats the first.
    """
    plain = [plain_words(story) for story in stories]
    groups = list(range(len(plain)))
    for i in range(len(plain)):
        for j in range(i):
            if groups[i] != groups[j] and _shared(*sorted((plain[i], plain[j]), key=len)) > SAME_STORY:
                groups = [groups[j] if group == groups[i] else group for group in groups]
    return _renumbered(groups)


def near_duplicates(stories: Sequence[Sequence[str]]) -> list[tuple[int, int, float]]:
    """(first, second, share) of stories that share more than `NEAR_DUPLICATE` of the shorter one's words."""
    plain = [plain_words(story) for story in stories]
    pairs = ((j, i, _shared(*sorted((plain[i], plain[j]), key=len))) for i in range(len(plain)) for j in range(i))
    return [pair for pair in pairs if pair[2] > NEAR_DUPLICATE]


def _shared(short: tuple[str, ...], long: tuple[str, ...]) -> float:
    if not short:
        return 0.0
    if short == long:
        return 1.0
    n = min(RUN_WORDS, len(short))
    known = {long[i : i + n] for i in range(len(long) - n + 1)}
    starts = np.array([short[i : i + n] in known for i in range(len(short) - n + 1)])
    covered = np.convolve(starts, np.ones(n)) > 0
    return float(covered.mean())


def _renumbered(groups: list[int]) -> np.ndarray:
    order = list(dict.fromkeys(groups))
    return np.array([order.index(group) for group in groups])
