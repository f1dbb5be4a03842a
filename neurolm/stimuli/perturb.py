"""Stories taken apart on purpose: what a listener or a model does with them says how much past it uses.

scramble    the same words in another order, at the grain of words, blocks, sentences or paragraphs
truncate    only the last words before each position
swap        one word replaced by another
switch      one story until a point, another after it

Each gives `Perturbed`: the new transcript and, for every new word, the old position it came from.
Nothing here knows a model: an analysis runs the same pipeline on both and compares.

References
----------
Lerner et al. (2011), J. Neurosci. 31:2906 (scramble); Skrill & Norman-Haignere (2023), NeurIPS (swap);
Chien & Honey (2020), Neuron 106:675 (switch).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurolm.checks import bad, check_choice
from neurolm.stimuli.transcript import Transcript

LEVELS = ("word", "sentence", "paragraph")
REPLACED = -1


@dataclass(frozen=True, eq=False)
class Perturbed:
    """A changed transcript and where its words were before.

    Parameters
    ----------
    transcript : Transcript
        The new words with new times.
    source_index : array of int of shape (n_new_words,)
        Position of each new word in the transcript it was made from; -1 for a word that is not from it.
    """

    transcript: Transcript
    source_index: np.ndarray

    @property
    def target_index(self) -> np.ndarray:
        """(n_kept_words,) new positions in the old order: `values[target_index]` un-scrambles what was computed per new word."""
        kept = np.flatnonzero(self.source_index != REPLACED)
        return kept[np.argsort(self.source_index[kept], kind="stable")]


def scramble(transcript: Transcript, level: int | str, rng: np.random.Generator) -> Perturbed:
    """Put the units of a story into random order; inside a unit words keep order, lengths and pauses.

    Parameters
    ----------
    transcript : Transcript
    level : {"word", "sentence", "paragraph"} or int
        The unit; an int is a block of that many words (the last may be shorter), 1 the same as "word".
    rng : numpy Generator

    Returns
    -------
    perturbed : Perturbed
        Every unit moves with its own durations and the pauses inside and after it, so that the story
        keeps its length and, word for word, its timing. Sentences and paragraphs are renumbered
        in the order in which they are now heard, and a part of a sentence counts as one.

    Raises
    ------
    InputError
        If the level asks for marks that the transcript lacks.
    """
    starts = _unit_starts(transcript, level)
    order = rng.permutation(len(starts))
    ends = np.append(starts[1:], len(transcript))
    source = np.concatenate([np.arange(starts[unit], ends[unit]) for unit in order])
    return Perturbed(_retimed(transcript, source), source)


def truncate(transcript: Transcript, position: int, n_words: int) -> Perturbed:
    """The last `n_words` words up to and with `position`: all that is left of the past. Times stay."""
    _check_position(transcript, position)
    if not isinstance(n_words, (int, np.integer)) or n_words < 1:
        raise bad("n_words", "be a whole number >= 1", n_words, "1 is the word alone.")
    source = np.arange(max(0, position + 1 - n_words), position + 1)
    return Perturbed(transcript[source[0] : position + 1], source)


def swap(transcript: Transcript, position: int, word: str) -> Perturbed:
    """Another word at one position, at the same time."""
    _check_position(transcript, position)
    source = np.arange(len(transcript))
    source[position] = REPLACED
    words = [*transcript.words[:position], word, *transcript.words[position + 1 :]]
    return Perturbed(transcript.with_words(words), source)


def switch(before: Transcript, after: Transcript, position: int) -> Perturbed:
    """Words of `after` from `position` on, preceded by the past of another story.

    Parameters
    ----------
    before : Transcript
        The other story: as many words as come before `position`, taken from its end, in its own rhythm.
    after : Transcript
        The story that goes on.
    position : int
        Word of `after` at which it begins to be heard.

    Returns
    -------
    perturbed : Perturbed
        As many words as `after`. `source_index` is -1 before `position`. The foreign past ends where the
        true past did, so that everything from `position` on keeps its time.

    Raises
    ------
    InputError
        If `before` has fewer words than are needed.
    """
    _check_position(after, position)
    if len(before) < position:
        raise bad("before", f"hold at least {position} words", len(before), "Choose a later part of a longer story.")
    source = np.where(np.arange(len(after)) < position, REPLACED, np.arange(len(after)))
    if position == 0:
        return Perturbed(after, source)
    past = before[len(before) - position :]
    past = past.shifted(after.offsets[position - 1] - past.offsets[-1])
    transcript = Transcript(
        past.words + after.words[position:],
        np.concatenate([past.onsets, after.onsets[position:]]),
        np.concatenate([past.offsets, after.offsets[position:]]),
        _joined(past.sentences, after.sentences, position),
        _joined(past.paragraphs, after.paragraphs, position),
        f"{before.name} then {after.name}",
    )
    return Perturbed(transcript, source)


def _unit_starts(transcript: Transcript, level: int | str) -> np.ndarray:
    """First word of every unit."""
    if not len(transcript):
        raise bad("transcript", "hold at least one word", "none")
    if isinstance(level, (int, np.integer)) and not isinstance(level, bool):
        if level < 1:
            raise bad("level", "be a block of at least 1 word", level)
        return np.arange(0, len(transcript), level)
    check_choice("level", level, LEVELS)
    if level == "word":
        return np.arange(len(transcript))
    marks = transcript.sentences if level == "sentence" else transcript.paragraphs
    if marks is None:
        hint = f"mark_sentences(transcript, text) takes {level} marks from the plain text; or give a block size in words."
        raise bad(f"{level} marks of {transcript.name}", f"be there to scramble {level}s", "none", hint)
    return np.flatnonzero(np.diff(marks, prepend=marks[0] - 1))


def _retimed(transcript: Transcript, source: np.ndarray) -> Transcript:
    """Words in a new order, each with its own duration and the pause after it."""
    durations = transcript.offsets - transcript.onsets
    steps = np.diff(transcript.onsets, append=transcript.offsets[-1])  # to the next onset: duration and pause
    onsets = transcript.onsets[0] + np.concatenate([[0.0], np.cumsum(steps[source])[:-1]])
    return Transcript(
        tuple(transcript.words[i] for i in source),
        onsets,
        onsets + durations[source],
        _renumbered(transcript.sentences, source),
        _renumbered(transcript.paragraphs, source),
        transcript.name,
        transcript.left_out,
    )


def _renumbered(marks: np.ndarray | None, source: np.ndarray) -> np.ndarray | None:
    """0, 1, 2, ... : a new number wherever the unit changes or its words do not follow each other any more."""
    if marks is None:
        return None
    is_new = (np.diff(marks[source]) != 0) | (np.diff(source) != 1)
    return np.concatenate([[0], np.cumsum(is_new)])


def _joined(first: np.ndarray | None, second: np.ndarray | None, position: int) -> np.ndarray | None:
    if first is None or second is None:
        return None
    return np.concatenate([first - first[-1], second[position:] - second[position] + 1])


def _check_position(transcript: Transcript, position: int) -> None:
    if not isinstance(position, (int, np.integer)) or not 0 <= position < len(transcript):
        raise bad("position", f"be a word of the transcript, here in [0, {len(transcript)})", position)
