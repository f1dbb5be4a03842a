"""How much of the past a word may see."""

from __future__ import annotations

from dataclasses import dataclass

from neurolm.checks import bad, check_choice

UNITS = ("words", "tokens", "sliding", "story")


@dataclass(frozen=True)
class ContextWindow:
    """What a language model may see when it reads a word. Never anything after the word.

    Parameters
    ----------
    n : int or None
        Length of the window. None only for unit "story".
    unit : {"words", "tokens", "sliding", "story"}
        - "words": exactly the last n words. For hidden states n counts the word itself, so
          n=1 is the word alone; for surprisal it counts the words before it.
        - "tokens": exactly the last n tokens, the word's own included for hidden states. The
          window may begin inside a word.
        - "sliding": overlapping chunks of n tokens that move on by n // 2, each word read in
          the first chunk that holds it whole. Fast; the true context of a word lies between
          n // 2 and n tokens and is kept with the features.
        - "story": everything since the story began. Recurrent models stream it.

    Windows are shorter at the start of a story; features say how long each one really was.

    Examples
    --------
    >>> ContextWindow(20, "words")
    ContextWindow(n=20, unit='words')
    """

    n: int | None = None
    unit: str = "words"

    def __post_init__(self) -> None:
        check_choice("unit", self.unit, UNITS)
        if self.unit == "story":
            if self.n is not None:
                raise bad("n", 'be None for unit "story"', self.n, "The whole story is always seen.")
        elif not isinstance(self.n, int) or isinstance(self.n, bool) or self.n < 1:
            raise bad("n", "be an integer >= 1", self.n, "n=1 is the word alone.")
        elif self.unit == "sliding" and self.n < 2:
            raise bad("n", 'be at least 2 for unit "sliding"', self.n, "A chunk moves on by n // 2 tokens.")

    def __str__(self) -> str:
        return "the whole story" if self.unit == "story" else f"{self.n} {self.unit}"
