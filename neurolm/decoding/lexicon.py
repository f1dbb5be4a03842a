"""Words as numbers: one id for each word that a search has met, and what is known of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.letters import lower_case, space_between
from neurolm.lm.tokenizer import Tokenizer

_CLOSED_CLASS = """
    a an the this that these those some any no every each either neither both all half many much more most few fewer
    less least several such what which whose who whom whoever whatever whichever
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers
    herself it its itself they them their theirs themselves one ones someone somebody something anyone anybody anything
    everyone everybody everything nobody nothing none
    am is are was were be been being have has had having do does did doing done will would shall should can could may
    might must ought get gets got going gonna gotta wanna let lets
    and or but nor so yet for because since although though while whereas unless until if then than as whether
    of in on at by to from with without within into onto upon about above below over under up down out off through
    during before after between among against across along around behind beside besides beyond despite except inside
    like near past per toward towards via again
    not never always often sometimes ever just only even also too very really quite rather almost still already now
    here there where when why how well maybe perhaps yes yeah no okay oh um uh
    i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd it'll we're we've we'd
    we'll they're they've they'd they'll that's that'd that'll there's there'd there'll who's who'd who'll what's
    what'd where's when's why's how's here's let's isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't
    didn't won't wouldn't shan't shouldn't can't cannot couldn't mayn't mightn't mustn't
    s t d ll m re ve ain isn aren wasn weren haven hasn hadn don doesn didn won wouldn shouldn couldn
"""
FUNCTION_WORDS = frozenset(_CLOSED_CLASS.split())
"""English words that may recur within a few seconds: a list of closed-class words written for this package."""

FIRST_WORDS = ("i", "we", "she", "he", "they", "it")
"""What an English text may begin with, all equally likely, as published."""


class Lexicon:
    """Ids, stems and tokens of words. Ids are given in the order in which words are met.

    Parameters
    ----------
    words : iterable of str
        Words that get the first ids.
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words: list[str] = []
        self._ids: dict[str, int] = {}
        self._stems: list[str] = []
        self._stem_ids: dict[str, int] = {}
        self._tokens: dict[tuple[int, bool], dict[int, tuple[int, ...]]] = {}
        for word in words:
            self.id_of(word)

    def __len__(self) -> int:
        return len(self.words)

    def id_of(self, word: str) -> int:
        """The word's id; a new word gets the next one."""
        known = self._ids.get(word)
        if known is not None:
            return known
        self._ids[word] = len(self.words)
        self.words.append(word)
        self._stems.append(self._stemmer.stem(word))
        self._stem_ids.setdefault(self._stems[-1], len(self._stem_ids))
        return len(self.words) - 1

    def ids_of(self, words: Iterable[str]) -> np.ndarray:
        return np.array([self.id_of(word) for word in words], dtype=np.int64)

    def stem(self, word: int) -> str:
        """The word's Snowball stem."""
        return self._stems[word]

    def stem_ids(self, words: np.ndarray) -> np.ndarray:
        """A number for each word's stem, the same for words of one stem."""
        distinct, back = np.unique(words, return_inverse=True)
        return np.array([self._stem_ids[self._stems[w]] for w in distinct], dtype=np.int64)[back].reshape(words.shape)

    def known_id(self, word: str) -> int:
        """The word's id, or -1 where it was never met."""
        return self._ids.get(word, -1)

    def tokens(self, word: int, tokenizer: Tokenizer, *, leading_space: bool = True) -> tuple[int, ...]:
        """The word's tokens as in running text, or as a text's first word."""
        known = self._tokens.setdefault((id(tokenizer), leading_space), {})
        if word not in known:
            known[word] = tuple(tokenizer.encode_words([self.words[word]], leading_space=leading_space).ids.tolist())
        return known[word]

    def join_tokens(
        self,
        words: Sequence[int],
        tokenizer: Tokenizer,
        *,
        is_story_start: bool,
        first_has_space: bool = False,
        bos: bool = False,
        spaces: str = "auto",
    ) -> tuple[int, ...]:
        """Tokens of a stretch of text, after the beginning-of-text token where `bos`."""
        out: list[int] = [tokenizer.bos_id] if bos and tokenizer.bos_id is not None else []
        before = None
        for place, word in enumerate(words):
            starts_text = not place and is_story_start
            has_space = first_has_space if starts_text else self.has_space(before, word, spaces)
            out += self.tokens(word, tokenizer, leading_space=has_space)
            before = word
        return tuple(out)

    def has_space(self, before: int | None, word: int, spaces: str = "auto") -> bool:
        """Whether running text has a space before a word; `before` None stands for an unseen word of the same script."""
        own = self.words[word]
        return space_between(own[:1] if before is None else self.words[before], own, spaces)

    @cached_property
    def _stemmer(self) -> Any:
        from nltk.stem.snowball import SnowballStemmer

        return SnowballStemmer("english")


def repeats(
    lexicon: Lexicon,
    contexts: np.ndarray,
    hypotheses: np.ndarray,
    words: np.ndarray,
    function_words: Collection[str] = FUNCTION_WORDS,
) -> np.ndarray:
    """Which candidates the published repetition rule drops.

    A candidate is dropped where the pair (last word, candidate) already stands in its context, or
    where it is no function word and a word of the same stem, or its stem as a word, stands there.

    Parameters
    ----------
    contexts : (n_hypotheses, n_context_words) word ids
    hypotheses, words : (n_candidates,)
        The hypothesis that each candidate extends, and the candidate.
    function_words : collection of str
        Words that may recur.

    Returns
    -------
    (n_candidates,) bool
    """
    if contexts.shape[1] == 0:
        return np.zeros(len(words), dtype=bool)
    own = contexts[hypotheses]  # (n_candidates, n_context_words)
    pair = ((own[:, :-1] == own[:, -1:]) & (own[:, 1:] == words[:, None])).any(axis=1)
    distinct, back = np.unique(words, return_inverse=True)
    is_content = np.array([lexicon.words[w] not in function_words for w in distinct], dtype=bool)[back]
    stem_as_word = np.array([lexicon.known_id(lexicon.stem(w)) for w in distinct], dtype=np.int64)[back]
    same_stem = (lexicon.stem_ids(contexts)[hypotheses] == lexicon.stem_ids(words)[:, None]).any(axis=1)
    return pair | (is_content & (same_stem | (own == stem_as_word[:, None]).any(axis=1)))


def vocabulary_of(stories: Iterable[Iterable[str]], min_count: int = 2) -> frozenset[str]:
    """Words that occur at least `min_count` times in the training stories: the decoder's vocabulary.

    Raises
    ------
    InputError
        If no word does.
    """
    counts: dict[str, int] = {}
    for story in stories:
        for word in (lower_case(part) for entry in story for part in entry.split()):
            counts[word] = counts.get(word, 0) + 1
    kept = frozenset(word for word, count in counts.items() if count >= min_count)
    if not kept:
        raise bad("training stories", f"hold words that occur at least {min_count} times", f"{len(counts)} other words")
    return kept


def check_first_words(
    first_words: Iterable[str], vocabulary: Collection[str] | None, examples: Sequence[str] = ()
) -> tuple[str, ...]:
    """Those of the first words that can be decoded, in lower case.

    Parameters
    ----------
    vocabulary : collection of str or None
        Words that can be decoded; None: any.
    examples : sequence of str
        Words of the vocabulary that the message offers.

    Raises
    ------
    InputError
        If the vocabulary holds none of them, as with the English default and stories in another language.
    """
    words = tuple(lower_case(word) for word in first_words)
    allowed = tuple(word for word in words if vocabulary is None or word in vocabulary)
    if not allowed:
        some = ", ".join((examples or sorted(vocabulary or ()))[:5])
        raise bad(
            "first_words",
            "share a word with the vocabulary of the training stories",
            words,
            f"Set decoder.first_words in the config to words that a text may begin with, for example [{some}].",
        )
    return allowed
