"""How a transcript becomes the tokens that a model reads: case, spaces, the token before the first word.

These rules change the numbers and are seldom told; here they are explicit and recorded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from neurolm.checks import bad
from neurolm.lm.tokenizer import Tokenizer, WordTokens
from neurolm.stimuli.transcript import Transcript


@dataclass(frozen=True)
class TextRules:
    """The rules of one extraction.

    Parameters
    ----------
    lowercase : bool
        Fold case before tokenising. For transcripts in capitals, which models have seldom read.
    leading_space : bool
        Whether the story's first word carries a leading space. Every other word does, also where
        a window begins with it: it stands in the middle of running text.
    bos : bool or None
        Begin every window with the beginning-of-text token, whatever its length; never read as a
        word's state. None: yes where the tokenizer has one. Position 0 is then that token and not
        a word, whose state at position 0 differs from its state at any other.
    """

    lowercase: bool = False
    leading_space: bool = False
    bos: bool | None = None

    def tokens(self, transcript: Transcript, tokenizer: Tokenizer) -> WordTokens:
        """The whole story, tokenised once, with the tokens of each word."""
        if not len(transcript):
            raise bad("transcript", "hold at least one word", "none", "Check the file or the part that was cut out.")
        return tokenizer.encode_words(self.words(transcript), leading_space=self.leading_space)

    def words(self, transcript: Transcript) -> tuple[str, ...]:
        """The words as the model will read them; a story in capitals is warned about."""
        if self.lowercase:
            return tuple(word.lower() for word in transcript.words)
        text = transcript.text
        if len(transcript) > 20 and text.isupper():
            warnings.warn(
                f"all words of {transcript.name} are in capitals, which language models have seldom read; "
                "consider lowercase=True",
                stacklevel=4,
            )
        return transcript.words

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
            "bos": tokenizer.bos_id if self.uses_bos(tokenizer) else None,
            "position_ids": "from 0 in every window",
            "tokenizer": tokenizer.settings(),
        }
