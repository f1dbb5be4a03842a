"""Feature vectors of candidate words, all hypotheses and candidates of a step together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neurolm.arrays import batches
from neurolm.checks import bad
from neurolm.decoding.hypothesis import Beam
from neurolm.decoding.lexicon import Lexicon
from neurolm.decoding.prefix_states import PrefixReader, ReadGroup, Tokens
from neurolm.features.lm_states import LMStates
from neurolm.stimuli.transcript import Transcript


class CandidateFeatures:
    """What `feature_space.extract` would give for the last word of each hypothesis with a candidate.

    A vector depends only on the candidate and on what its context holds of the words before it, so
    hypotheses that end in the same words share it: it is computed once. With `LMStates` the words
    before are read once for all candidates, up to the feature layer and without the output head.

    Parameters
    ----------
    feature_space : LMStates, or a FeatureSpace with an attribute `words_before`
        `words_before` says how many words before a word its row depends on (0: the word alone).
    lexicon : Lexicon
    rows_at_once, call_cost
        Of model calls; only time and memory depend on them.
    """

    def __init__(self, feature_space: Any, lexicon: Lexicon, *, rows_at_once: int = 256, call_cost: int = 16) -> None:
        self.feature_space, self.lexicon, self.rows_at_once = feature_space, lexicon, rows_at_once
        self.words_before = _words_before(feature_space)
        self.n_tokens: int | None = None
        if isinstance(feature_space, LMStates):
            context = feature_space.context
            self.n_tokens = context.n if context.unit == "tokens" else None
            self._reader = PrefixReader(
                feature_space.lm, feature_space.layers, call_cost=call_cost, remember=context.unit == "story"
            )

    def vectors(self, beam: Beam, hypotheses: np.ndarray, words: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Distinct feature vectors, and which of them each candidate has.

        Parameters
        ----------
        hypotheses, words : (n_candidates,)
            Row of the beam and word id.

        Returns
        -------
        vectors : (n_distinct, n_features)
        which : (n_candidates,)
        """
        n_before = beam.n_words if self.words_before is None else min(self.words_before, beam.n_words)
        endings, of_hypothesis = np.unique(beam.last_words(n_before), axis=0, return_inverse=True)
        pairs = np.stack([of_hypothesis.reshape(-1)[hypotheses], words], axis=1)
        pairs, which = np.unique(pairs, axis=0, return_inverse=True)
        is_story_start = n_before == beam.n_words
        read = self._read_states if isinstance(self.feature_space, LMStates) else self._extract
        return read(endings, pairs, is_story_start), which.reshape(-1)

    def _read_states(self, endings: np.ndarray, pairs: np.ndarray, is_story_start: bool) -> torch.Tensor:
        lm, rules = self.feature_space.lm, self.feature_space.rules
        bos = rules.uses_bos(lm.tokenizer)
        settings: dict[str, Any] = {
            "is_story_start": is_story_start,
            "first_has_space": rules.leading_space,
            "spaces": rules.spaces,
        }
        before = [self.lexicon.join_tokens(ending.tolist(), lm.tokenizer, **settings) for ending in endings]
        starts_text = is_story_start and endings.shape[1] == 0 and not rules.leading_space
        pieces = [
            self.lexicon.tokens(w, lm.tokenizer, leading_space=not starts_text and self._has_space(endings[ending], w))
            for ending, w in pairs.tolist()
        ]
        head = (lm.tokenizer.bos_id,) if bos else ()
        contexts = [head + self._window(before[ending], len(own)) for ending, own in zip(pairs[:, 0].tolist(), pieces)]
        distinct = {context: i for i, context in enumerate(dict.fromkeys(contexts))}
        of_pair = np.array([distinct[context] for context in contexts])
        lengths = np.array([len(own) for own in pieces])
        vectors: torch.Tensor | None = None
        for group in self._reader.read(list(distinct)):
            where = np.full(len(distinct), -1)
            where[group.rows] = np.arange(len(group.rows))
            for length in np.unique(lengths):
                members = np.flatnonzero((where[of_pair] >= 0) & (lengths == length))
                for part in batches(len(members), self.rows_at_once):
                    some = members[part]
                    hidden = self._read_words(group, where[of_pair[some]], [pieces[i] for i in some])
                    if vectors is None:
                        vectors = hidden.new_empty(len(pairs), hidden.shape[1])
                    vectors[torch.as_tensor(some, device=hidden.device)] = hidden
        assert vectors is not None
        return vectors

    def _has_space(self, ending: np.ndarray, word: int) -> bool:
        return self.lexicon.has_space(int(ending[-1]) if len(ending) else None, word, self.feature_space.rules.spaces)

    def _window(self, tokens: Tokens, n_own: int) -> Tokens:
        """What a word of `n_own` tokens sees of the tokens before it."""
        if self.n_tokens is None:
            return tokens
        kept = max(0, self.n_tokens - n_own)
        return tokens[len(tokens) - kept :] if kept < len(tokens) else tokens

    def _read_words(self, group: ReadGroup, rows: np.ndarray, pieces: list[Tokens]) -> torch.Tensor:
        """(n, D) pooled states of words of equal length on top of a group's contexts."""
        ids = np.array(pieces)
        if self.n_tokens is not None:
            ids = ids[:, -self.n_tokens :]
        hidden, _ = self._reader.step(group.state, rows, ids)  # (n, n_pieces, D)
        if self.feature_space.pooling == "last":
            return hidden[:, -1].float()
        return hidden.float().mean(1) if self.feature_space.pooling == "mean" else hidden.float().sum(1)

    def _extract(self, endings: np.ndarray, pairs: np.ndarray, is_story_start: bool) -> torch.Tensor:
        """Any feature space: extract the words before and the candidate as a text of their own."""
        rows = []
        for ending, word in pairs:
            words = tuple(self.lexicon.words[i] for i in (*endings[ending], word))
            times = np.arange(len(words), dtype=np.float64)
            rows.append(self.feature_space.extract(Transcript(words, times, times)).values[-1])
        return torch.as_tensor(np.stack(rows))


def _words_before(feature_space: Any) -> int | None:
    """How many words before a word its features depend on; None is all of them."""
    if isinstance(feature_space, LMStates):
        context = feature_space.context
        if context.unit == "story":
            return None
        if context.unit in ("words", "tokens"):
            return int(context.n or 1) - 1
        raise bad(
            "context of the feature space",
            'be in "words", "tokens" or "story" for decoding',
            str(context),
            "A sliding chunk begins at another token in every hypothesis.",
        )
    n = getattr(feature_space, "words_before", None)
    if not isinstance(n, int) or n < 0:
        raise bad(
            "feature_space",
            "be LMStates or say `words_before`, the number of words before a word that its features depend on",
            type(feature_space).__name__,
            "0 for features of single words.",
        )
    return n
