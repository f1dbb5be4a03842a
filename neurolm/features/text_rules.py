"""How a transcript becomes the tokens that a model reads: case, spaces, the token before the first word.

These rules change the numbers and are seldom told; here they are explicit and recorded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from neurolm.checks import bad, check_choice
from neurolm.letters import SPACES, lower_case
from neurolm.lm.tokenizer import Tokenizer, WordTokens
from neurolm.stimuli.transcript import Transcript
from neurolm.stimuli.word_entries import is_all_caps
from neurolm.storage import content_hash


@dataclass(frozen=True)
class StoryTokens:
    """A story as a model reads it.

    transcript : Transcript
    words : as they are read
    lowercase : whether case was folded
    tokens : WordTokens, without a beginning-of-text token
    """

    transcript: Transcript
    words: tuple[str, ...]
    lowercase: bool
    tokens: WordTokens

    def content_hash(self) -> str:
        """SHA-256 of the words as they are read; their times do not change what a model says."""
        return content_hash(list(self.words))


@dataclass(frozen=True)
class TextRules:
    """The rules of one extraction.

    Parameters
    ----------
    lowercase : bool or None
        Read the words in lower case. None: only where the whole transcript is in capitals, which
        models have seldom read, and with a warning.
    leading_space : bool
        Whether the story's first word carries a leading space. Every other word does, also where
        a window begins with it: it stands in the middle of running text.
    bos : bool or None
        Begin every window with the beginning-of-text token, whatever its length; never read as a
        word's state. None: yes where the tokenizer has one. Position 0 is then that token and not
        a word, whose state at position 0 differs from its state at any other.
    spaces : {"auto", "always", "never"}
        Between words. "auto" decides by the characters of each pair of words: none where both belong
        to scripts written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese ...).
    """

    lowercase: bool | None = None
    leading_space: bool = False
    bos: bool | None = None
    spaces: str = "auto"

    def __post_init__(self) -> None:
        check_choice("spaces", self.spaces, SPACES)

    def read(self, transcript: Transcript, tokenizer: Tokenizer) -> StoryTokens:
        """Tokenise the whole story at once; a story in capitals is warned about."""
        if not len(transcript):
            raise bad("transcript", "hold at least one word", "none", "Check the file or the part that was cut out.")
        in_capitals = is_all_caps(transcript)
        lowercase = in_capitals if self.lowercase is None else self.lowercase
        if in_capitals and not self.lowercase:
            how = "in lower case" if lowercase else "in capitals, as asked, though language models have seldom read such text"
            warnings.warn(f"the words of {transcript.name} are all in capitals; they are read {how}", stacklevel=4)
        words = tuple(lower_case(word) for word in transcript.words) if lowercase else transcript.words
        return StoryTokens(transcript, words, lowercase, self._encode(words, tokenizer))

    def _encode(self, words: tuple[str, ...], tokenizer: Tokenizer) -> WordTokens:
        if self.spaces == "auto":  # the default of every tokenizer
            return tokenizer.encode_words(words, leading_space=self.leading_space)
        return tokenizer.encode_words(words, leading_space=self.leading_space, spaces=self.spaces)

    def uses_bos(self, tokenizer: Tokenizer) -> bool:
        """Whether windows begin with the beginning-of-text token."""
        if self.bos is None:
            return tokenizer.bos_id is not None
        if self.bos and tokenizer.bos_id is None:
            raise bad("bos", "be False or None for this tokenizer", True, "It has no beginning-of-text token.")
        return self.bos

    def settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {
            "lowercase": self.lowercase,
            "first_word_has_leading_space": self.leading_space,
            "spaces": self.spaces,
            "bos": tokenizer.bos_id if self.uses_bos(tokenizer) else None,
            "position_ids": "from 0 in every window",
            "tokenizer": tokenizer.settings(),
        }
