"""Hidden states of a language model, one row for each word, with exactly the context that was asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from neurolm.checks import InputError, bad, check_choice
from neurolm.features.cache import FeatureCache, Stored, Wanted, fetch, made_by
from neurolm.features.feature_space import Features
from neurolm.features.layer_features import SweptStates, layer_features, layer_name, side_by_side
from neurolm.features.memory import bytes_per_token, choose_budget, free_memory, layer_widths
from neurolm.features.reading import Reads, Sink, is_streamed, run_plan
from neurolm.features.reading_plan import ReadingPlan, check_context, check_contexts, plan_reading
from neurolm.features.text_rules import StoryTokens, TextRules
from neurolm.lm.language_model import HiddenAt, LanguageModel, State, check_layers
from neurolm.progress import Progress, silent
from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.transcript import Transcript

POOLINGS = ("last", "mean", "sum")
FEW = 8  # one place in so many or fewer is read: then only those of the highest block are computed


class LMStates:
    """Hidden states of one or several layers for every word of a story.

    Parameters
    ----------
    lm : LanguageModel
    layer : int, sequence of int or "all"
        0 is the embeddings; the last layer is after the model's final norm where it has one, all
        others before it. Negative numbers count from the last. One pass gives all of them, and
        no block above the highest is computed.
    context : ContextWindow
        What a word may see, itself included. Each window is read from the model's blank state
        (a cache whose old keys are dropped would leak earlier context and shift positions).
    pooling : {"last", "mean", "sum"}
        How the tokens of one word become one row. The last has seen the whole word.
    lowercase, leading_space, bos, spaces
        See `TextRules`.
    batch_tokens : int or None
        Tokens in one batch; None chooses from the free memory. Out of memory, it is halved.
    cache : FeatureCache or None
        Where to keep what was computed and find it again; None keeps nothing.

    References
    ----------
    Jain and Huth (2018), Incorporating context into language encoding models for fMRI, NeurIPS.

    Examples
    --------
    >>> from neurolm.lm import load
    >>> from neurolm.stimuli import ContextWindow, Transcript
    >>> story = Transcript(("alice", "was", "very", "tired"), [0.0, 0.5, 0.9, 1.3], [0.4, 0.8, 1.2, 1.9])
    >>> states = LMStates(load("neurolm/lstm-small"), 2, ContextWindow(3, "words")).extract(story)
    >>> states.values.shape[0]
    4
    """

    def __init__(
        self,
        lm: LanguageModel,
        layer: int | Sequence[int] | str,
        context: ContextWindow,
        pooling: str = "last",
        *,
        lowercase: bool | None = None,
        leading_space: bool = False,
        bos: bool | None = None,
        spaces: str = "auto",
        batch_tokens: int | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        self.lm = lm
        self.layers = _resolve_layers(layer, lm.n_layers)
        self.context = check_context(context)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.rules = TextRules(lowercase, leading_space, bos, spaces)
        if batch_tokens is not None and batch_tokens < 1:
            raise bad("batch_tokens", "be at least 1", batch_tokens, "None chooses from the free memory.")
        self.batch_tokens = batch_tokens
        self.cache = cache

    def extract(self, transcript: Transcript, progress: Progress = silent) -> Features:
        """States of every word, layers side by side: (n_words, sum of the layers' widths).

        Raises
        ------
        InputError
            If a word gives no token, or a window does not fit the model's positions or memory.
        """
        return side_by_side(self.extract_layers(transcript, progress))

    def extract_layers(self, transcript: Transcript, progress: Progress = silent) -> dict[int, Features]:
        """The same, each layer by itself, from one pass."""
        story, plan, settings = self.prepare(transcript, [self.context])
        stored = self._fetch(story, plan, [""], str(self.context), settings, progress)
        return {layer: layer_features(stored.read(layer_name(layer)), layer, transcript, plan, settings) for layer in self.layers}

    def sweep(self, transcript: Transcript, contexts: Iterable[int], progress: Progress = silent) -> SweptStates:
        """States for many contexts, for the price of the longest alone (the extractor's own context is not used).

        A pass that begins at word s holds, at word s + c - 1, the state with exactly c words of
        context; so one pass of C words for each starting word holds every context from 1 to C.

        Parameters
        ----------
        transcript : Transcript
        contexts : iterable of int
            Numbers of words, each counting the word itself.
        progress : Progress

        Returns
        -------
        swept : SweptStates
            A mapping from context to Features. With a cache they stay on disk until asked for, and
            memory does not grow with the number of contexts.

        Raises
        ------
        InputError
            If a context does not fit the model, or without a cache all of them do not fit in memory.
        """
        words = check_contexts(contexts)
        story, plan, settings = self.prepare(transcript, [ContextWindow(n) for n in words])
        settings["context"] = {"words": words}
        groups = [f"context_{n:04d}/" for n in words]
        if self.cache is None:
            _check_room(self.lm, self.layers, len(transcript) * len(words))
        stored = self._fetch(story, plan, groups, f"{len(words)} contexts to {words[-1]} words", settings, progress)
        return SweptStates(stored, words, self.layers, transcript, plan, settings)

    def settings(self) -> dict[str, Any]:
        """What determines the numbers."""
        return {
            "kind": "lm_states",
            "model": self.lm.name,
            "weights": self.lm.weights_hash(),
            "layers": list(self.layers),
            "context": str(self.context),
            "pooling": self.pooling,
            **self.rules.settings(self.lm.tokenizer),
        }

    def choose_batch(self, plan: ReadingPlan) -> int:
        """Tokens in one batch: as asked, else from the free memory."""
        return self.batch_tokens or choose_budget(self.lm, self.bytes_per_token(), plan.lengths)

    def bytes_per_token(self) -> int:
        """What one token of a batch takes, roughly."""
        return bytes_per_token(self.lm, len(self.layers))

    def prepare(
        self, transcript: Transcript, contexts: Sequence[ContextWindow]
    ) -> tuple[StoryTokens, ReadingPlan, dict[str, Any]]:
        """The story's tokens, where each word is read, and what was settled about them."""
        story = self.rules.read(transcript, self.lm.tokenizer)
        bos = self.rules.uses_bos(self.lm.tokenizer)
        if self.pooling != "last":
            _check_whole_words(contexts, story.tokens.spans, self.pooling)
        plan = plan_reading(story.tokens, contexts, bos=bos, max_length=self.lm.max_context)
        return story, plan, {**self.settings(), "lowercase": story.lowercase}

    def _fetch(
        self,
        story: StoryTokens,
        plan: ReadingPlan,
        groups: Sequence[str],
        asked: str,
        settings: Mapping[str, Any],
        progress: Progress,
    ) -> Stored:
        """The arrays of each context (`groups`), from the cache or computed."""
        key = {k: v for k, v in settings.items() if k not in ("model", "layers")} | {"words": story.content_hash()}
        names = {layer_name(layer): layer for layer in self.layers}
        label = (story.transcript.name, self.lm.name, asked)

        def make(missing: Sequence[str], sink: Sink) -> None:
            layers = [names[name] for name in missing]
            budget = self.choose_batch(plan)
            needs_state = is_streamed(plan, budget)
            read = functools.partial(_read_states, self.lm, layers, self.pooling, needs_state)
            run_plan(plan, story.tokens.ids, self.lm, read, sink, budget=budget, progress=progress)

        wanted = Wanted(key, label, tuple(names), tuple(groups), len(story.words), made_by(self.lm))
        return fetch(self.cache, wanted, make, progress)


def _read_states(
    lm: LanguageModel, layers: Sequence[int], pooling: str, needs_state: bool, ids: torch.Tensor, state: State, reads: Reads
) -> tuple[Mapping[str, np.ndarray], State]:
    """Read a batch and pool each word's own positions: `layer_NN` -> (n_reads, D)."""
    with torch.inference_mode():
        if isinstance(lm, HiddenAt) and pooling == "last" and not needs_state and len(reads) * FEW <= ids.numel():
            rows, lasts = (torch.from_numpy(part).to(ids.device) for part in (reads.rows, reads.lasts))
            pooled = {layer: found.float() for layer, found in lm.hidden_at(ids, rows, lasts - 1, layers).items()}
        else:
            output = lm.step(ids, state, layers, logits=False)
            pooled = {layer: _pool(output.hidden[layer], reads, pooling) for layer in layers}
            state = output.state
    values = {}
    for layer in layers:
        if not bool(torch.isfinite(pooled[layer]).all()):
            raise InputError(f"layer {layer} of {lm.name} holds NaN or infinity; check its weights and number format.")
        values[layer_name(layer)] = pooled[layer].cpu().numpy()
    return values, state


def _pool(hidden: torch.Tensor | None, reads: Reads, pooling: str) -> torch.Tensor:
    """(B, T, D) -> (n_reads, D) float32."""
    assert hidden is not None
    device = hidden.device
    rows, firsts, lasts = (torch.from_numpy(part).to(device) for part in (reads.rows, reads.firsts, reads.lasts))
    if pooling == "last":
        return hidden[rows, lasts - 1].float()
    total = hidden[rows, firsts].float()
    for piece in range(1, int((reads.lasts - reads.firsts).max(initial=1))):  # a word has few tokens
        more = torch.nonzero(firsts + piece < lasts).flatten()
        total[more] += hidden[rows[more], firsts[more] + piece].float()
    return total / (lasts - firsts)[:, None] if pooling == "mean" else total


def _resolve_layers(layer: int | Sequence[int] | str, n_layers: int) -> tuple[int, ...]:
    if isinstance(layer, str):
        check_choice("layer", layer, ["all"])
        return check_layers(None, n_layers)
    asked = [layer] if isinstance(layer, (int, np.integer)) else list(layer)
    if not asked or any(isinstance(one, bool) or not isinstance(one, (int, np.integer)) for one in asked):
        raise bad("layer", 'be an integer, several of them, or "all"', layer, f"This model has layers 0..{n_layers}.")
    return check_layers([int(one) for one in asked], n_layers)


def _check_whole_words(contexts: Sequence[ContextWindow], spans: np.ndarray, pooling: str) -> None:
    """Pooling over a word's tokens needs all of them in its window."""
    pieces = spans[:, 1] - spans[:, 0]
    for context in contexts:
        if context.unit == "tokens" and pieces.max() > int(context.n or 0):
            word = int(pieces.argmax())
            raise bad(
                "n of a context in tokens",
                f'hold every token of a word for pooling "{pooling}"',
                f"{context.n}, and word {word} has {pieces[word]} tokens",
                'Ask for more tokens, or pool by "last".',
            )


def _check_room(lm: LanguageModel, layers: Sequence[int], n_rows: int) -> None:
    """Refuse a sweep that would not fit in memory, before the work."""
    widths = layer_widths(lm)
    n_bytes = 4 * n_rows * sum(widths[layer] for layer in layers)
    free = free_memory(torch.device("cpu"))
    if n_bytes > free:
        raise bad(
            "contexts and layers",
            f"fit in the {free / 1e9:.1f} GB of free memory where there is no cache",
            f"{n_bytes / 1e9:.1f} GB",
            "Give `cache`, and they stay on disk; or ask for fewer.",
        )
