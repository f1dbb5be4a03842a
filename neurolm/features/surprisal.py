"""How unexpected each word was, and how uncertain the model was before it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from neurolm.checks import InputError, bad
from neurolm.features.cache import FeatureCache, Stored, Wanted, fetch, made_by
from neurolm.features.feature_space import Features
from neurolm.features.memory import bytes_per_token, choose_budget
from neurolm.features.reading import Reads, Sink, run_plan
from neurolm.features.reading_plan import ReadingPlan, check_context, check_contexts, plan_reading
from neurolm.features.text_rules import StoryTokens, TextRules
from neurolm.lm.language_model import LanguageModel, Predicts, State
from neurolm.lm.tokenizer import WordTokens
from neurolm.progress import Progress, silent
from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.transcript import Transcript

_BLOCK = 512  # positions whose scores over the vocabulary are turned into probabilities at a time


class Surprisal:
    """Surprisal of every word, and on request the entropy before it: (n_words, 1 or 2), in nats.

    A word's surprisal is the sum over its tokens of -log p(token | tokens before it); its entropy
    the sum over its tokens of the entropy of the model's prediction at that place. Every window
    begins with the beginning-of-text token, so that the first word has a surprisal too.

    Parameters
    ----------
    lm : LanguageModel
    context : ContextWindow
        What the model sees before the word: n words or tokens before it, a sliding chunk, or all
        of the story so far. At the start of a story it is shorter, and marked.
    entropy : bool
        Add the entropy as a second column.
    lowercase, leading_space, spaces
        See `TextRules`.
    batch_tokens, cache
        See `LMStates`.

    References
    ----------
    Hale (2001), A probabilistic Earley parser as a psycholinguistic model, NAACL.
    Levy (2008), Expectation-based syntactic comprehension, Cognition 106:1126-1177.
    """

    def __init__(
        self,
        lm: LanguageModel,
        context: ContextWindow,
        *,
        entropy: bool = False,
        lowercase: bool | None = None,
        leading_space: bool = False,
        spaces: str = "auto",
        batch_tokens: int | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        self.lm, self.context, self.entropy = lm, check_context(context), entropy
        if lm.tokenizer.bos_id is None:
            raise bad("lm", "have a beginning-of-text token, from which the first word is predicted", lm.name)
        self.rules = TextRules(lowercase, leading_space, True, spaces)
        self.batch_tokens, self.cache = batch_tokens, cache

    def extract(self, transcript: Transcript, progress: Progress = silent) -> Features:
        """Surprisal (and entropy) of every word.

        Raises
        ------
        InputError
            If a word gives no token, or a window does not fit the model's positions.
        """
        story, plan, settings = self.prepare(transcript, [self.context])
        stored = self._fetch(story, plan, [""], str(self.context), settings, progress)
        return self._features(stored, transcript, plan, settings)

    def sweep(self, transcript: Transcript, contexts: Iterable[int], progress: Progress = silent) -> dict[int, Features]:
        """The same for many numbers of words before each word, for the price of the largest.

        See `LMStates.sweep`.
        """
        words = check_contexts(contexts)
        story, plan, settings = self.prepare(transcript, [ContextWindow(n) for n in words])
        settings["context"] = {"words": words}
        groups = [f"context_{n:04d}/" for n in words]
        stored = self._fetch(story, plan, groups, f"{len(words)} contexts to {words[-1]} words", settings, progress)
        return {
            n: self._features(stored, transcript, plan, {**settings, "context": f"{n} words"}, i) for i, n in enumerate(words)
        }

    def settings(self) -> dict[str, Any]:
        """What determines the numbers."""
        return {
            "kind": "surprisal",
            "model": self.lm.name,
            "weights": self.lm.weights_hash(),
            "columns": list(self._columns),
            "context": str(self.context),
            "unit": "nats",
            **self.rules.settings(self.lm.tokenizer),
        }

    @property
    def _columns(self) -> tuple[str, ...]:
        return ("surprisal", "entropy") if self.entropy else ("surprisal",)

    def _features(
        self, stored: Stored, transcript: Transcript, plan: ReadingPlan, settings: Mapping[str, Any], context: int = 0
    ) -> Features:
        values = np.concatenate([stored.read(name, context) for name in self._columns], axis=1)
        slices = {name: slice(i, i + 1) for i, name in enumerate(self._columns)}
        seen, shortened = plan.seen[context], plan.shortened[context]
        return Features(values, transcript.mid_times, self._columns, slices, seen, shortened, settings, transcript.words)

    def choose_batch(self, plan: ReadingPlan) -> int:
        """Tokens in one batch: as asked, else from the free memory."""
        return self.batch_tokens or choose_budget(self.lm, self.bytes_per_token(), plan.lengths)

    def bytes_per_token(self) -> int:
        """What one token of a batch takes, roughly."""
        return bytes_per_token(self.lm, 1, 0 if isinstance(self.lm, Predicts) else self.lm.tokenizer.vocab_size)

    def prepare(
        self, transcript: Transcript, contexts: Sequence[ContextWindow]
    ) -> tuple[StoryTokens, ReadingPlan, dict[str, Any]]:
        """The story's tokens, where each word is predicted, and what was settled about them."""
        story = self.rules.read(transcript, self.lm.tokenizer)
        plan = plan_reading(story.tokens, contexts, bos=True, before=True, max_length=self.lm.max_context)
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
        key = {k: v for k, v in settings.items() if k not in ("model", "columns")} | {"words": story.content_hash()}
        label = (story.transcript.name, self.lm.name, "surprisal", asked)

        def make(missing: Sequence[str], sink: Sink) -> None:
            read = functools.partial(_read_predictions, self.lm, story.tokens)
            run_plan(plan, story.tokens.ids, self.lm, read, sink, budget=self.choose_batch(plan), progress=progress)

        wanted = Wanted(key, label, ("surprisal", "entropy"), tuple(groups), len(story.words), made_by(self.lm))
        return fetch(self.cache, wanted, make, progress)


def _read_predictions(
    lm: LanguageModel, tokens: WordTokens, ids: torch.Tensor, state: State, reads: Reads
) -> tuple[Mapping[str, np.ndarray], State]:
    """Step the model and score each word's tokens where they are predicted: (n_reads, 1) each."""
    n_pieces = reads.lasts - reads.firsts
    begins = np.cumsum(n_pieces) - n_pieces  # where each read's pieces begin
    piece = np.arange(n_pieces.sum()) - np.repeat(begins, n_pieces)
    rows, positions = np.repeat(reads.rows, n_pieces), np.repeat(reads.firsts, n_pieces) + piece
    targets = tokens.ids[np.repeat(tokens.spans[reads.words, 0], n_pieces) + piece]
    with torch.inference_mode():
        predict: Callable[[torch.Tensor], torch.Tensor]
        if isinstance(lm, Predicts):  # the head is computed at the places only
            output = lm.step(ids, state, [lm.n_layers], logits=False)
            x, predict = output.hidden[-1], lm.predict
        else:
            output = lm.step(ids, state, [], logits=True)
            x, predict = output.logits, _as_is
        assert x is not None
        surprisal, entropy = _score(x, predict, rows, positions, targets)
    if not (np.isfinite(surprisal).all() and np.isfinite(entropy).all()):
        raise InputError(f"predictions of {lm.name} hold NaN or infinity; check its weights and number format.")
    sums = {"surprisal": np.add.reduceat(surprisal, begins), "entropy": np.add.reduceat(entropy, begins)}
    return {name: total[:, None].astype(np.float32) for name, total in sums.items()}, output.state


def _as_is(logits: torch.Tensor) -> torch.Tensor:
    return logits


def _score(
    x: torch.Tensor,
    predict: Callable[[torch.Tensor], torch.Tensor],
    rows: np.ndarray,
    positions: np.ndarray,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Surprisal of the targets and entropy of the predictions at these places of x (B, T, D), in nats, float64."""
    device = x.device
    surprisal, entropy = np.empty(len(rows)), np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        at = [torch.from_numpy(index[part]).to(device) for index in (rows, positions, targets)]
        log_p = torch.log_softmax(predict(x[at[0], at[1]]).float(), dim=-1)  # (block, V)
        surprisal[part] = -log_p.gather(1, at[2][:, None])[:, 0].double().cpu().numpy()
        entropy[part] = torch.special.entr(log_p.exp()).sum(-1).double().cpu().numpy()
    return surprisal, entropy
