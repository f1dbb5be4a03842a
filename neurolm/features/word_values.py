"""Values looked up word by word, and what happens to words that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.features.feature_space import Features
from neurolm.letters import lower_case, plain_spelling
from neurolm.stimuli.transcript import Transcript


def lookup_forms(word: str) -> Iterator[str]:
    """Forms under which a word is looked for, the most faithful first: as it stands, without the
    signs around it, and both in lower case; each in the plain spelling in which tables are kept."""
    word = plain_spelling(word)
    bare = word.strip("\"'`“”«»()[]{}<>.,;:!?…-–—*_。、，；：！？「」『』（）《》।॥،؛؟¿¡")
    seen = set()
    for form in (word, bare, lower_case(word), lower_case(bare)):
        if form and form not in seen:
            seen.add(form)
            yield form


def look_up(words: Sequence[str], get: Callable[[str], Any]) -> list[Any]:
    """For each word the value of the first form that `get` knows; None where it knows none.

    A table's own words are kept in their `plain_spelling`: neither the Unicode form nor the sign for an
    apostrophe decides whether a word is found.
    """
    return [next((value for form in lookup_forms(word) if (value := get(form)) is not None), None) for word in words]


@dataclass(frozen=True)
class MissingRule:
    """What a word gets that has no value: nothing ("error"), the mean over the whole table ("mean"), or a number.

    The mean is the table's and not the story's, so that no row depends on later words.
    """

    rule: str | float = "error"

    def __post_init__(self) -> None:
        if self.rule not in ("error", "mean") and (isinstance(self.rule, (bool, str)) or not np.isfinite(self.rule)):
            raise bad("missing", 'be "error", "mean" or a number', self.rule)

    def fill(
        self, values: list[np.ndarray | None], mean: Callable[[], np.ndarray], words: Sequence[str], what: str
    ) -> np.ndarray:
        """(n_words, n_columns) float32 with every gap filled, or the error that says how many there are."""
        gaps = [i for i, value in enumerate(values) if value is None]
        if gaps and len(gaps) == len(words):
            raise bad(
                "the words", f"have values in {what}", "not one of them has", "Is it of another language, or another story?"
            )
        if gaps and self.rule == "error":
            some = sorted({words[i] for i in gaps})
            raise bad(
                "every word",
                f"have a value in {what}",
                f"{len(gaps)} of {len(words)} words without ({len(some)} different: {', '.join(some[:8])}{' ...' if some[8:] else ''})",
                'Pass missing="mean" or a number, which is counted in the settings; or add them to the table.',
            )
        default = None if not gaps else mean()
        if default is not None and self.rule != "mean":
            default = np.full_like(default, float(self.rule))
        return np.array([default if value is None else value for value in values], dtype=np.float32).reshape(len(words), -1)


def word_features(
    values: np.ndarray,
    transcript: Transcript,
    names: Sequence[str],
    band: str,
    settings: dict[str, Any],
    n_missing: int | None = None,
) -> Features:
    """One band of columns for a story, with how many words had no value of their own."""
    counted = {} if n_missing is None else {"n_missing": n_missing}
    columns = np.asarray(values, dtype=np.float32).reshape(len(transcript), -1)
    slices = {band: slice(0, columns.shape[1])}
    return Features(columns, transcript.mid_times, tuple(names), slices, settings=settings | counted, words=transcript.words)
