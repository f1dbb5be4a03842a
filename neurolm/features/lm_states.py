"""Hidden states of a language model, one row for each word, with exactly the context that was asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from neurolm.checks import InputError, bad, check_choice
from neurolm.features.cache import FeatureCache, Stored, Wanted, fetch
from neurolm.features.feature_space import Features
from neurolm.features.memory import choose_budget
from neurolm.features.reading import Reads, Sink, run_plan
from neurolm.features.reading_plan import ReadingPlan, plan_reading
from neurolm.features.text_rules import TextRules
from neurolm.lm.language_model import LanguageModel, State, check_layers
from neurolm.lm.tokenizer import WordTokens
from neurolm.progress import Progress, silent
from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import content_hash

POOLINGS = ("last", "mean", "sum")


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
    lowercase, leading_space, bos
        See `TextRules`.
    batch_tokens : int or None
        Tokens in one batch; None chooses from the free memory. Out of memory, it is halved.
    cache : FeatureCache or None
        Where to keep what was computed and find it again; None keeps nothing.

    References
    ----------
    Jain and Huth (2018), Incorporating context into language encoding models for fMRI, NeurIPS.
    """

    def __init__(
        self,
        lm: LanguageModel,
        layer: int | Sequence[int] | str,
        context: ContextWindow,
        pooling: str = "last",
        *,
        lowercase: bool = False,
        leading_space: bool = False,
        bos: bool | None = None,
        batch_tokens: int | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        self.lm = lm
        self.layers = _resolve_layers(layer, lm.n_layers)
        self.context = _check_context(context)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.rules = TextRules(lowercase, leading_space, bos)
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
        by_layer = self.extract_layers(transcript, progress)
        if len(by_layer) == 1:
            return next(iter(by_layer.values()))
        return _side_by_side(by_layer)

    def extract_layers(self, transcript: Transcript, progress: Progress = silent) -> dict[int, Features]:
        """The same, each layer by itself, from one pass."""
        tokens = self.rules.tokens(transcript, self.lm.tokenizer)
        plan = self.plan(tokens, [self.context])
        settings = self.settings()
        key = {k: v for k, v in settings.items() if k not in ("model", "layers")}
        key["words"] = content_hash(list(self.rules.words(transcript)))
        label = (transcript.name, self.lm.name, str(self.context))
        stored = self._fetch(Wanted(key, label, self._names, ("",), len(transcript)), plan, tokens, progress)
        return {
            layer: _features(stored.read(name), layer, transcript, plan, settings)
            for layer, name in zip(self.layers, self._names)
        }

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

    def plan(self, tokens: WordTokens, contexts: Sequence[ContextWindow]) -> ReadingPlan:
        """Which passes these contexts take."""
        bos = self.rules.uses_bos(self.lm.tokenizer)
        if self.pooling != "last":
            _check_whole_words(contexts, tokens.spans, self.pooling)
        return plan_reading(tokens, contexts, bos=bos, max_length=self.lm.max_context)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"layer_{layer:02d}" for layer in self.layers)

    def _fetch(self, wanted: Wanted, plan: ReadingPlan, tokens: WordTokens, progress: Progress) -> Stored:
        """The arrays, from the cache or computed."""

        def make(names: Sequence[str], sink: Sink) -> None:
            layers = [layer for layer, name in zip(self.layers, self._names) if name in names]
            budget = self.batch_tokens or choose_budget(self.lm, len(layers))
            read = functools.partial(_read_states, self.lm, layers, self.pooling)
            run_plan(plan, tokens.ids, self.lm, read, sink, budget=budget, progress=progress)

        return fetch(self.cache, wanted, make, progress)


def _features(
    values: np.ndarray, layer: int, transcript: Transcript, plan: ReadingPlan, settings: Mapping[str, Any], row: int = 0
) -> Features:
    """One layer's rows for one context (`row` of the plan's contexts)."""
    return Features(
        values,
        transcript.mid_times,
        tuple(f"layer{layer}_{i}" for i in range(values.shape[1])),
        {f"layer{layer}": slice(0, values.shape[1])},
        plan.seen[row],
        plan.shortened[row],
        {**settings, "layers": [layer]},
    )


def _read_states(
    lm: LanguageModel, layers: Sequence[int], pooling: str, ids: torch.Tensor, state: State, reads: Reads
) -> tuple[Mapping[str, np.ndarray], State]:
    """Step the model and pool each word's own positions: `layer_NN` -> (n_reads, D)."""
    with torch.inference_mode():
        output = lm.step(ids, state, layers, logits=False)
        values = {}
        for layer in layers:
            hidden = output.hidden[layer]
            assert hidden is not None
            pooled = _pool(hidden, reads, pooling)
            if not bool(torch.isfinite(pooled).all()):
                raise InputError(f"layer {layer} of {lm.name} holds NaN or infinity; check its weights and number format.")
            values[f"layer_{layer:02d}"] = pooled.cpu().numpy()
    return values, output.state


def _pool(hidden: torch.Tensor, reads: Reads, pooling: str) -> torch.Tensor:
    """(B, T, D) -> (n_reads, D) float32."""
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


def _check_context(context: ContextWindow) -> ContextWindow:
    if not isinstance(context, ContextWindow):
        raise bad("context", "be a ContextWindow", context, 'For example ContextWindow(64, "words").')
    return context


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


def _side_by_side(by_layer: Mapping[int, Features]) -> Features:
    """Layers as bands of one Features."""
    first = next(iter(by_layer.values()))
    slices, begin = {}, 0
    for layer, part in by_layer.items():
        slices[f"layer{layer}"] = slice(begin, begin + part.n_features)
        begin += part.n_features
    return Features(
        np.concatenate([part.values for part in by_layer.values()], axis=1),
        first.times,
        tuple(name for part in by_layer.values() for name in part.names),
        slices,
        first.context,
        first.shortened,
        {**first.settings, "layers": list(by_layer)},
    )
