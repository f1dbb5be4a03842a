"""Read many contexts with a language model, every shared beginning once.

The hypotheses of a beam see the same stretch of time, so their contexts begin at the same word and
share most of their words. The contexts are read depth by depth as a tree: a prefix that several
of them share is one row, and rows fork where the hypotheses part. Positions are the same as if each
context were read alone, so nothing is approximated.

Letters: R rows, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from neurolm.lm.language_model import LanguageModel, State, fit_to_tokenizer, map_state, reorder_state

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class ReadGroup:
    """Contexts of equal length, as they were read.

    rows : (R,) int64, which of the contexts asked for
    logits : (R, V) for the token after each context, or None
    state : R rows, to read on from; None where the contexts are empty
    """

    rows: np.ndarray
    logits: torch.Tensor | None
    state: State


class PrefixReader:
    """Reads contexts with one language model and remembers the last ones.

    Parameters
    ----------
    lm : LanguageModel
    layers : sequence of int or None
        None reads for next-token logits. Else for these hidden layers, side by side: no block above
        the highest and no output head is computed.
    call_cost : int
        What one call of the model costs beyond its tokens, in tokens. Only time depends on it.
    remember : bool
        Keep the states of the contexts read last, so that a context which only grew goes on from
        there. Worth its memory when contexts keep their beginning from word to word.
    """

    def __init__(
        self, lm: LanguageModel, layers: Sequence[int] | None = None, *, call_cost: int = 16, remember: bool = False
    ) -> None:
        self.lm, self.layers, self.call_cost, self.remember = lm, layers, call_cost, remember
        self._known: dict[Tokens, tuple[State, int]] = {}

    def read(self, contexts: Sequence[Tokens]) -> list[ReadGroup]:
        """Read every context from the beginning; equal contexts are rows of their own, read once.

        Returns
        -------
        groups : list of ReadGroup
            One for each length, together every row of `contexts` once.
        """
        distinct = sorted(set(contexts))
        place = {context: i for i, context in enumerate(distinct)}
        asked = np.array([place[context] for context in contexts])
        groups = [self._repeat(group, asked) for group in self._read_distinct(distinct)]
        if self.remember:
            self._known = {contexts[row]: (g.state, i) for g in groups for i, row in enumerate(g.rows)}
        return groups

    def step(self, state: State, rows: np.ndarray, ids: np.ndarray, *, logits: bool = True) -> tuple[torch.Tensor, State]:
        """Read `ids` (R, T) on top of rows of a state.

        Returns
        -------
        out : (R, V) logits after the last token, or where the reader has layers (or `logits` is
            False: the last layer) hidden states (R, T, D)
        state : R rows
        """
        layers = [self.lm.n_layers] if self.layers is None else list(self.layers)
        device = self.lm.device
        index = torch.as_tensor(rows, device=device)
        state = None if state is None else reorder_state(state, index)
        tokens = torch.as_tensor(ids, device=device)
        with torch.inference_mode():
            if self.layers is not None or not logits:
                output = self.lm.step(tokens, state, layers=layers, logits=False)
                hidden = [h for h in output.hidden if h is not None]
                return hidden[0] if len(hidden) == 1 else torch.cat(hidden, dim=2), output.state
            if tokens.shape[1] > 1:  # the head is for the last token alone
                state = self.lm.step(tokens[:, :-1], state, layers=layers, logits=False).state
            output = self.lm.step(tokens[:, -1:], state, layers=layers)
        assert output.logits is not None
        return fit_to_tokenizer(output.logits[:, -1], self.lm.tokenizer), output.state

    def _read_distinct(self, contexts: list[Tokens]) -> Iterator[ReadGroup]:
        """Groups of sorted, distinct contexts; those that grew from known ones apart from new ones."""
        grown: dict[tuple[int, int], list[tuple[int, int, State]]] = {}
        fresh: list[int] = []
        for i, context in enumerate(contexts):
            n_new = next((n for n in range(1, min(len(context), 12)) if context[:-n] in self._known), 0)
            if n_new:
                state, row = self._known[context[:-n_new]]
                grown.setdefault((id(state), n_new), []).append((i, row, state))
            else:
                fresh.append(i)
        for (_, n_new), members in grown.items():
            ids = np.array([contexts[i][-n_new:] for i, _, _ in members])
            out, state = self.step(members[0][2], np.array([row for _, row, _ in members]), ids)
            yield self._group(np.array([i for i, _, _ in members]), out, state)
        if fresh:
            yield from self._read_tree([contexts[i] for i in fresh], np.array(fresh))

    def _read_tree(self, contexts: list[Tokens], names: np.ndarray) -> Iterator[ReadGroup]:
        if not contexts[0]:  # sorted: an empty one is first
            yield ReadGroup(names[:1], None, None)
            contexts, names = contexts[1:], names[1:]
        state: State = None
        nodes = np.zeros(len(contexts), dtype=np.int64)  # row of `state` that each context has come to
        depth = 0
        for stop in plan_cuts(contexts, self.call_cost):
            alive = np.array([i for i, context in enumerate(contexts) if len(context) >= stop])
            prefixes = [contexts[i][:stop] for i in alive]
            is_new = np.array([i == 0 or prefixes[i] != prefixes[i - 1] for i in range(len(prefixes))])
            leaders = np.flatnonzero(is_new)
            ids = np.array([prefixes[i][depth:] for i in leaders])
            ending = np.array([i for i in alive if len(contexts[i]) == stop], dtype=np.int64)
            out, state = self.step(state, nodes[alive[leaders]], ids, logits=len(ending) > 0)
            nodes[alive] = np.cumsum(is_new) - 1
            if len(ending):
                rows = nodes[ending]
                yield self._group(names[ending], out[torch.as_tensor(rows, device=out.device)], _rows(state, rows))
            depth = stop

    def _group(self, rows: np.ndarray, out: torch.Tensor, state: State) -> ReadGroup:
        return ReadGroup(rows, out if self.layers is None else None, state)

    def _repeat(self, group: ReadGroup, asked: np.ndarray) -> ReadGroup:
        """A group of distinct contexts as rows of what was asked for."""
        where = np.full(asked.max() + 1, -1)
        where[group.rows] = np.arange(len(group.rows))
        rows = np.flatnonzero(where[asked] >= 0)
        source = where[asked[rows]]
        if np.array_equal(source, np.arange(len(group.rows))):
            return ReadGroup(rows, group.logits, group.state)
        logits = None if group.logits is None else group.logits[torch.as_tensor(source, device=group.logits.device)]
        return ReadGroup(rows, logits, None if group.state is None else _rows(group.state, source))


def plan_cuts(contexts: Sequence[Tokens], call_cost: int) -> list[int]:
    """Depths at which to fork, so that tokens read plus `call_cost` a call is least.

    `contexts` are sorted, distinct and not empty. Every length is a cut, because a context must be
    looked at where it ends; between them forking costs a call and saves the shared tokens.
    """
    if not contexts:
        return []
    lengths = np.array([len(context) for context in contexts])
    shared = np.array([_n_shared(a, b) for a, b in pairwise(contexts)], dtype=np.int64)
    longest = int(lengths.max())
    begins = np.r_[0, shared]  # a context is a new prefix at every depth beyond what it shares with the one before
    n_prefixes = [int(((begins < depth) & (lengths >= depth)).sum()) for depth in range(longest + 1)]
    must = set(lengths.tolist())
    best = [0.0] + [np.inf] * longest
    back = [0] * (longest + 1)
    for stop in range(1, longest + 1):
        for start in range(stop - 1, -1, -1):
            cost = best[start] + n_prefixes[stop] * (stop - start) + call_cost
            if cost < best[stop]:
                best[stop], back[stop] = cost, start
            if start in must:
                break
    cuts = [longest]
    while back[cuts[-1]]:
        cuts.append(back[cuts[-1]])
    return cuts[::-1]


def _n_shared(a: Tokens, b: Tokens) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _rows(state: State, rows: np.ndarray) -> State:
    def take(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.index_select(0, torch.as_tensor(rows, device=tensor.device))

    return map_state(take, state)
