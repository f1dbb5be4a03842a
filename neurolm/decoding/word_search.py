"""The likely next *words* of a language model that predicts pieces of words.

The probability of a word is that of its tokens times that of a word ending after them:

    P(word | context) = P(t_1 | word begins) P(t_2 | t_1) ... P(t_n | ...) P(not going on | t_1 ... t_n)

where P(t_1 | word begins) is over tokens that begin a word (a model of written text would put a
comma or a full stop first; transcripts have none), and "not going on" sums, exactly, over every
token that is no continuation. All words at least `ratio` times as likely as the likeliest are found by
branch and bound: no word is likelier than its own beginning. A word's probability is the sum over
its spellings (in other pieces, with other case: whatever folds to the same word), as far as each is
itself at least `ratio` times as likely as the likeliest spelling.

In a vocabulary of whole words the model's own distribution is the answer, unrenormalised, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from neurolm.arrays import batches
from neurolm.checks import InputError, bad
from neurolm.decoding.prefix_states import PrefixReader, ReadGroup, Tokens
from neurolm.letters import has_letters, is_letter
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.tokenizer import Tokenizer

FIRST_GUESS = 0.5  # the first bound takes the likeliest word to have this share of its first token's probability


@dataclass(frozen=True)
class NextWords:
    """Words after many contexts, likeliest first within each context.

    contexts, words : (n,) int64
    log_probabilities : (n,) float64
    """

    contexts: np.ndarray
    words: np.ndarray
    log_probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    def take(self, keep: np.ndarray) -> NextWords:
        """Some of them: a boolean mask or indices."""
        return NextWords(self.contexts[keep], self.words[keep], self.log_probabilities[keep])


class WordSearch:
    """Finds the words that may come next.

    Parameters
    ----------
    lm : LanguageModel
    fold : function of str to int
        The word that a spelling stands for, as an id; negative for one that is no word.
    ratio : float
        Words less likely than this share of the likeliest are not looked for.
    max_pieces : int
        Words of more tokens are not found.
    rows_at_once : int
        Rows of one model call after the contexts; bounds memory.
    call_cost, remember
        See `PrefixReader`.
    with_unknown : bool
        Give the unknown word of a vocabulary of whole words too, for cuts over the whole vocabulary.
    """

    def __init__(
        self,
        lm: LanguageModel,
        fold: Callable[[str], int],
        *,
        ratio: float,
        max_pieces: int = 8,
        rows_at_once: int = 256,
        call_cost: int = 16,
        remember: bool = False,
        with_unknown: bool = False,
    ) -> None:
        self.reader = PrefixReader(lm, call_cost=call_cost, remember=remember)
        self.pieces = WordPieces(lm.tokenizer)
        self.fold, self.ratio = fold, ratio
        self.max_pieces, self.rows_at_once = max_pieces, rows_at_once
        self._begins = torch.as_tensor(np.flatnonzero(self.pieces.begins), device=lm.device)
        unknown = [] if self.pieces.unknown_id is None or not with_unknown else [self.pieces.unknown_id]
        self._entries_ids = np.sort(np.r_[self.pieces.begin_ids, unknown]).astype(np.int64)
        self._entries = torch.as_tensor(self._entries_ids, device=lm.device)
        self._continues = torch.as_tensor(self.pieces.continues, device=lm.device)
        self._folded: dict[Tokens, int] = {}

    def next_words(self, contexts: Sequence[Tokens], ratio: float | None = None) -> NextWords:
        """Words at least `ratio` times as likely as the likeliest, for contexts that hold at least one token each."""
        ratio = self.ratio if ratio is None else ratio
        found = _Found(len(contexts))
        for group in self.reader.read(contexts):
            if self.pieces.are_whole_words:
                self._whole_words(group, np.log(ratio), found)
            else:
                self._spell(group, np.log(ratio), found)
        return found.sorted(np.log(ratio))

    def log_probability(self, context: Tokens, word: Tokens) -> float:
        """Exact log-probability of one word in this spelling, however unlikely."""
        (group,) = self.reader.read([context])
        log_p, logits, state = 0.0, group.logits, group.state
        for place, token in enumerate(word):
            assert logits is not None
            scores = logits[0].double()
            if place == 0 and not self.pieces.are_whole_words:
                scores = torch.where(torch.as_tensor(self.pieces.begins, device=scores.device), scores, -torch.inf)
            log_p += float(scores[token] - torch.logsumexp(scores, 0))
            logits, state = self.reader.step(state, np.zeros(1, dtype=np.int64), np.array([[token]]))
        assert logits is not None
        return log_p + (0.0 if self.pieces.are_whole_words else float(self._end(logits.double())[0][0]))

    def _whole_words(self, group: ReadGroup, margin: float, found: _Found) -> None:
        """The model's own distribution over the vocabulary. Cuts are taken over every entry."""
        assert group.logits is not None
        log_p = torch.log_softmax(group.logits.double(), dim=1)[:, self._entries]
        rows, places, values = _above(log_p, log_p.amax(1) + margin)
        found.add(group.rows[rows], self._words(self._entries_ids[places][:, None]), values)

    def _spell(self, group: ReadGroup, margin: float, found: _Found) -> None:
        """Best first, all contexts side by side: extend whatever may still become a likely word."""
        first = self._first(group.logits)
        rows = np.arange(len(group.rows))
        bounds = (first.amax(1) + np.log(FIRST_GUESS)).cpu().numpy()  # of the likeliest word's log-probability
        while len(rows):
            reached = self._spell_above(group, first, rows, bounds, margin, found)
            rows = rows[reached[rows] < bounds[rows]]  # the guess was too high: again, with what was really found
            bounds = np.where(reached < bounds, reached, bounds)
            found.drop(group.rows[rows])

    def _spell_above(
        self,
        group: ReadGroup,
        first: torch.Tensor,
        rows: np.ndarray,
        bounds: np.ndarray,
        margin: float,
        found: _Found,
    ) -> np.ndarray:
        """Find all words within `margin` (a difference of logarithms) of one of log-probability `bounds`, or
        of the best found where that is more likely.

        Returns each context's likeliest word, as log-probability.
        """
        asked = np.full(len(bounds), np.inf)
        asked[rows] = bounds[rows] + margin
        owners, places, log_p = _above(first, torch.as_tensor(asked).to(first))
        reached = np.full(len(bounds), -np.inf)
        below_best = first.amax(1).cpu().numpy()[owners] - log_p
        order = np.argsort(below_best, kind="stable")  # each context's likeliest first: they raise the bound for its others
        stack = []
        for part in list(batches(len(order), self.rows_at_once))[::-1]:
            some = order[part]
            stack.append((group.state, owners[some], owners[some], self.pieces.begin_ids[places[some]][:, None], log_p[some]))
        while stack:
            state, sources, owners, spellings, log_p = stack.pop()
            bar = np.maximum(bounds, reached) + margin
            alive = log_p >= bar[owners]
            if not alive.any():
                continue
            owners, spellings, log_p = owners[alive], spellings[alive], log_p[alive]
            logits, state = self.reader.step(state, sources[alive], spellings[:, -1:])
            end, total = self._end(logits)
            words, ended = self._words(spellings), log_p + end.double().cpu().numpy()
            found.add(group.rows[owners], words, ended)
            np.maximum.at(reached, owners[words >= 0], ended[words >= 0])
            if spellings.shape[1] < self.max_pieces:
                bar = torch.as_tensor(np.maximum(bounds, reached)[owners] + margin - log_p).to(logits) + total
                more, tokens, onward = _above(logits, bar, self._continues)
                onward = onward - total.double().cpu().numpy()[more]
                for part in batches(len(more), self.rows_at_once):
                    row = more[part]
                    longer = np.concatenate([spellings[row], tokens[part][:, None]], axis=1)
                    stack.append((state, row, owners[row], longer, log_p[row] + onward[part]))
        return reached

    def _first(self, logits: torch.Tensor | None) -> torch.Tensor:
        """(R, n_begins) log-probability of each token that begins a word, given that one begins."""
        assert logits is not None
        return torch.log_softmax(logits[:, self._begins].double(), dim=1)

    def _end(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability that the word ends here (R,), and the logarithm of what `exp(logits)` sums to (R,)."""
        top = logits.amax(dim=1, keepdim=True)
        p = torch.exp(logits - top)
        total = p.sum(dim=1)
        return torch.log(p @ (~self._continues).to(p) / total), torch.log(total) + top[:, 0]

    def _words(self, spellings: np.ndarray) -> np.ndarray:
        """The word of each spelling (n, n_pieces)."""
        out = np.empty(len(spellings), dtype=np.int64)
        for i, spelling in enumerate(map(tuple, spellings.tolist())):
            word = self._folded.get(spelling)
            if word is None:
                word = self._folded[spelling] = self.fold("".join(self.pieces.texts[token] for token in spelling).strip())
            out[i] = word
        return out


class _Found:
    """Spellings found so far, of all contexts."""

    def __init__(self, n_contexts: int) -> None:
        self.n_contexts = n_contexts
        self._parts: list[NextWords] = []

    def add(self, contexts: np.ndarray, words: np.ndarray, log_probabilities: np.ndarray) -> None:
        """Note spellings; those with a negative word are none."""
        part = NextWords(contexts, words, log_probabilities)
        self._parts.append(part.take(words >= 0))

    def drop(self, contexts: np.ndarray) -> None:
        """Forget everything of these contexts."""
        self._parts = [part.take(~np.isin(part.contexts, contexts)) for part in self._parts]

    def sorted(self, margin: float) -> NextWords:
        """Each context's likely spellings summed to words, likeliest first, ties by word; none below the bound."""
        empty = NextWords(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        parts = [empty, *self._parts]
        joined = NextWords(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("contexts", "words", "log_probabilities"))
        )
        words = self._near_best(joined, margin)
        if len(words):
            words = words.take(np.lexsort((words.words, words.contexts)))
            is_new = np.r_[True, (np.diff(words.words) != 0) | (np.diff(words.contexts) != 0)]
            starts = np.flatnonzero(is_new)
            words = NextWords(words.contexts[starts], words.words[starts], np.logaddexp.reduceat(words.log_probabilities, starts))
        words = self._near_best(words, margin)
        return words.take(np.lexsort((words.words, -words.log_probabilities, words.contexts)))

    def _near_best(self, words: NextWords, margin: float) -> NextWords:
        best = np.full(self.n_contexts, -np.inf)
        np.maximum.at(best, words.contexts, words.log_probabilities)
        return words.take(words.log_probabilities >= best[words.contexts] + margin)


def _above(
    log_p: torch.Tensor, bounds: torch.Tensor, columns: torch.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, columns, values) of entries at or above their row's bound; `columns` is a mask of those that count."""
    is_above = log_p >= bounds[:, None]
    rows, places = torch.nonzero(is_above if columns is None else is_above & columns, as_tuple=True)
    return rows.cpu().numpy(), places.cpu().numpy(), log_p[rows, places].double().cpu().numpy()


INSIDE = frozenset("'’-")  # signs that words of a transcript may hold


class WordPieces:
    """Tokens sorted by their part in a word, told from their text in running text.

    Attributes
    ----------
    begins : (V,) bool
        Tokens that begin a new word: a space, then letters or nothing. In a vocabulary of whole
        words, every entry with a letter, dots and all ("mr.", "u.s.").
    continues : (V,) bool
        Tokens of letters, digits or "'" without white space before them: they go on with a word.
        All other tokens, and those that begin a word, show that the word before them has ended.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        anchor = self._anchor()
        before = tokenizer.decode([anchor])
        self.texts = [tokenizer.decode([anchor, token])[len(before) :] for token in range(tokenizer.vocab_size)]
        self.begins = np.array([text[:1] == " " and _is_word(text[1:], or_empty=True) for text in self.texts])
        self.continues = np.array([_is_word(text) for text in self.texts])
        self.unknown_id: int | None = getattr(tokenizer, "unknown_id", None)
        if self.are_whole_words:
            self.begins = np.array([text[:1] == " " and has_letters(text) and text[1:2] != "<" for text in self.texts])
        for special in (self.unknown_id, tokenizer.bos_id, tokenizer.eos_id):
            if special is not None:
                self.begins[special] = self.continues[special] = False
        if not self.begins.any():
            raise bad("tokenizer", "have tokens that begin a word with a space", f"none in {tokenizer.vocab_size} tokens")

    @property
    def are_whole_words(self) -> bool:
        """True where no token goes on with a word: each word is one token."""
        return not self.continues.any()

    @cached_property
    def begin_ids(self) -> np.ndarray:
        return np.flatnonzero(self.begins)

    def _anchor(self) -> int:
        """A token after which another shows whether it brings a space along: of letters where there is one."""
        try:
            return self.tokenizer.encode("a")[-1]
        except (InputError, IndexError):
            return 0


def _is_word(text: str, *, or_empty: bool = False) -> bool:
    return (bool(text) or or_empty) and all(is_letter(c) or c in INSIDE for c in text)
