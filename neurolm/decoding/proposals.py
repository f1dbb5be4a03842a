"""Which words may come next: a language model's nucleus, the decoder's vocabulary, no repetitions."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from neurolm.checks import bad
from neurolm.decoding.hypothesis import Beam
from neurolm.decoding.lexicon import FIRST_WORDS, FUNCTION_WORDS, Lexicon, check_first_words, repeats
from neurolm.decoding.word_search import NextWords, WordSearch
from neurolm.features.text_rules import TextRules
from neurolm.letters import has_letters, lower_case
from neurolm.lm.language_model import LanguageModel

RELAXED_RATIO = 1e-4  # when nothing else is left, words down to this share of the likeliest


class WordProposals:
    """The words that a hypothesis may go on with, and their probabilities.

    Of the words at least `ratio` times as likely as the likeliest, sorted, those are taken until
    their probability reaches `mass`; then words outside the vocabulary and repetitions are dropped.
    Probabilities are not renormalised afterwards.

    Parameters
    ----------
    lm : LanguageModel
        Of whole words or of pieces of words (see `WordSearch`).
    vocabulary : collection of str or None
        Words that may be decoded, in lower case (published: those that occur twice in the training
        stories, `vocabulary_of`). None: any word.
    mass, ratio : float
        Published: 0.9 and 0.1.
    context_s : float
        The model sees the words of less than `context_s` seconds before (published: 8), at least
        `min_context_words` of them (published: 5). `inf`: all, which a recurrent model streams.
    hop_s : float
        0 moves the context's beginning with every word. More moves it every `hop_s` seconds only, so
        that contexts hold up to `hop_s` more and grow in between: the model then reads one new word
        per hypothesis instead of the whole context.
    no_repeats : bool
        The published rule: no pair of words twice in a context, no content word's stem twice.
    rules : TextRules
        How text is given to the model; None begins with its beginning-of-text token where it has one.
    first_words : sequence of str
        What a text may begin with, all equally likely.
    function_words : collection of str
        Words that may recur within a context; the default is English.
    rows_at_once, call_cost
        See `WordSearch`; only time and memory depend on them.
    """

    def __init__(
        self,
        lm: LanguageModel,
        vocabulary: Collection[str] | None = None,
        *,
        mass: float = 0.9,
        ratio: float = 0.1,
        context_s: float = 8.0,
        min_context_words: int = 5,
        hop_s: float = 0.0,
        no_repeats: bool = True,
        rules: TextRules | None = None,
        first_words: Collection[str] = FIRST_WORDS,
        function_words: Collection[str] = FUNCTION_WORDS,
        rows_at_once: int = 256,
        call_cost: int = 16,
    ) -> None:
        if not 0 < ratio <= 1 or not 0 < mass <= 1:
            raise bad("mass and ratio", "lie in (0, 1]", (mass, ratio))
        if context_s <= 0 or hop_s < 0 or min_context_words < 1:
            raise bad("context", "be longer than 0 s and hold at least one word", (context_s, hop_s, min_context_words))
        if vocabulary is not None and not vocabulary:
            raise bad("vocabulary", "hold at least one word", vocabulary, "None allows any word.")
        self.lm, self.mass, self.ratio = lm, mass, ratio
        self.context_s, self.hop_s, self.min_context_words = context_s, hop_s, min_context_words
        self.no_repeats, self.rules = no_repeats, rules or TextRules()
        self.vocabulary = None if vocabulary is None else frozenset(vocabulary)
        self.lexicon = Lexicon(sorted(self.vocabulary or ()))
        self.first_words = check_first_words(first_words, self.vocabulary)
        self.function_words = frozenset(lower_case(word) for word in function_words)
        unknown = getattr(lm.tokenizer, "unknown", None)
        self._unknown = -1 if unknown is None else self.lexicon.id_of(unknown.lower())  # counts in the nucleus, is never said
        self._bos = self.rules.uses_bos(lm.tokenizer)
        self._search = WordSearch(
            lm,
            self._fold,
            ratio=ratio,
            rows_at_once=rows_at_once,
            call_cost=call_cost,
            remember=hop_s > 0 or np.isinf(context_s),
            with_unknown=True,
        )

    def propose(self, beam: Beam, word_times: np.ndarray) -> tuple[NextWords, str]:
        """Candidates for the beam's next word; `contexts` of the result are rows of the beam.

        Returns
        -------
        candidates : NextWords
            A hypothesis whose nucleus is empty has none. If all are empty, the repetition rule is
            left out for this word, then the nucleus is widened.
        relaxed : str
            "", or what was left out.

        Raises
        ------
        InputError
            If no word of the vocabulary can be said at all.
        """
        if beam.n_words == 0:
            ids = self.lexicon.ids_of(self.first_words)
            return NextWords(np.zeros(len(ids), dtype=np.int64), ids, np.full(len(ids), -np.log(len(ids)))), ""
        n_context = beam.n_words - self.context_start(beam.n_words, word_times)
        contexts = beam.last_words(n_context)
        tokens = [self._tokens(row, is_story_start=n_context == beam.n_words) for row in contexts]
        found = self._search.next_words(tokens)
        nucleus = self._in_vocabulary(nucleus_of(found, self.mass))
        fresh = self._without_repeats(contexts, nucleus)
        if len(fresh):
            return fresh, ""
        if len(nucleus):
            return nucleus, "repetition rule"
        wide = self._in_vocabulary(self._search.next_words(tokens, ratio=RELAXED_RATIO))
        if len(wide):
            return wide, "nucleus"
        raise bad(
            "vocabulary",
            f"hold a word that the language model can say after {' '.join(beam.text_of(0, 8))!r}",
            f"{len(self.vocabulary or ())} words, none within {RELAXED_RATIO:g} of the likeliest",
            "Take the vocabulary from stories like those that the model knows.",
        )

    def context_start(self, word: int, word_times: np.ndarray) -> int:
        """Index of the first word that the model sees when it predicts word `word`."""
        if np.isinf(self.context_s):
            return 0
        since = word_times[word] - self.context_s
        if self.hop_s > 0:
            since = np.floor(since / self.hop_s) * self.hop_s
        return max(0, min(int(np.searchsorted(word_times[:word], since, side="right")), word - self.min_context_words))

    def log_probability(self, beam: Beam, hypothesis: int, word: int, word_times: np.ndarray) -> float:
        """Exact log-probability of any word, in the tokenizer's own spelling, after one hypothesis."""
        n_context = beam.n_words - self.context_start(beam.n_words, word_times)
        context = self._tokens(beam.last_words(n_context)[hypothesis], is_story_start=n_context == beam.n_words)
        before = int(beam.last_words(1)[hypothesis, 0]) if beam.n_words else None
        has_space = self.lexicon.has_space(before, word, self.rules.spaces)
        return self._search.log_probability(context, self.lexicon.tokens(word, self.lm.tokenizer, leading_space=has_space))

    def settings(self) -> dict[str, object]:
        """What determines the proposals."""
        return {
            "model": self.lm.name,
            "weights": self.lm.weights_hash(),
            "mass": self.mass,
            "ratio": self.ratio,
            "context_s": self.context_s,
            "hop_s": self.hop_s,
            "min_context_words": self.min_context_words,
            "no_repeats": self.no_repeats,
            "vocabulary": sorted(self.vocabulary) if self.vocabulary else None,
            "first_words": list(self.first_words),
            "function_words": sorted(self.function_words),
            **self.rules.settings(self.lm.tokenizer),
        }

    def _tokens(self, words: np.ndarray, *, is_story_start: bool) -> tuple[int, ...]:
        return self.lexicon.join_tokens(
            words.tolist(),
            self.lm.tokenizer,
            is_story_start=is_story_start,
            first_has_space=self.rules.leading_space,
            bos=self._bos,
            spaces=self.rules.spaces,
        )

    def _fold(self, spelling: str) -> int:
        """The word that a spelling stands for: in lower case; -1 for signs without letters or digits."""
        return self.lexicon.id_of(lower_case(spelling)) if has_letters(spelling) else -1

    def _in_vocabulary(self, words: NextWords) -> NextWords:
        if self.vocabulary is None:
            return words.take(words.words != self._unknown)
        return words.take(
            (words.words < len(self.vocabulary)) & (words.words != self._unknown)
        )  # the vocabulary has the first ids

    def _without_repeats(self, contexts: np.ndarray, words: NextWords) -> NextWords:
        if not self.no_repeats:
            return words
        return words.take(~repeats(self.lexicon, contexts, words.contexts, words.words, self.function_words))


def nucleus_of(words: NextWords, mass: float) -> NextWords:
    """Of each context's words, likeliest first, those up to the first at which the sum reaches `mass`."""
    p = np.exp(words.log_probabilities)
    before = np.cumsum(p) - p
    begins = np.searchsorted(words.contexts, words.contexts)
    return words.take(before - before[begins] < mass) if len(words) else words
