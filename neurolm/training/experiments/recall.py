"""Who remembers Bilbo? A name, then many words, then a blank that the name fills.

    Bilbo  the  road  and  ...  river  ___        -> Bilbo

The words between say nothing about the name, so a model answers only as well as it remembers:
accuracy against lag compares the memory of architectures with nothing else in the way.

Letters: B rows, L words between the name and the blank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neurolm.checks import bad, nearest
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.lstm import LSTM
from neurolm.lm.mt_lstm import MultiTimescaleLSTM
from neurolm.lm.rnn import RNN
from neurolm.lm.transformer import Transformer
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.progress import Progress, silent
from neurolm.training.batches import IGNORED, Batch
from neurolm.training.loop import Trainer
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings

NAMES = ("Bilbo", "Frodo", "Sam", "Gandalf", "Merry", "Pippin", "Gimli", "Legolas", "Boromir", "Aragorn")
WORDS = ("the", "road", "and", "a", "river", "went", "over", "hill", "by", "night")
BLANK = "___"
TOKENIZER = WordTokenizer([*NAMES, *WORDS, BLANK], unknown=None, eos=None)
CHANCE = 1 / len(NAMES)


def _with_unit_embeddings(lm: Any, seed: int) -> Any:
    """Embeddings of unit variance: the small ones that suit language make every name look alike."""
    with torch.no_grad():
        lm.embedding.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return lm


def _rnn(n_tokens: int, seed: int) -> Any:
    return _with_unit_embeddings(RNN(TOKENIZER, 64, 1, tied=False, seed=seed), seed)


def _lstm(n_tokens: int, seed: int) -> Any:
    return _with_unit_embeddings(LSTM(TOKENIZER, 64, 1, tied=False, seed=seed), seed)


def _mt_lstm(n_tokens: int, seed: int) -> Any:
    timescales = [np.geomspace(1, 1000, 64)]
    return _with_unit_embeddings(MultiTimescaleLSTM(TOKENIZER, 64, 1, timescales=timescales, tied=False, seed=seed), seed)


def _transformer(n_tokens: int, seed: int) -> Any:
    return Transformer(TOKENIZER, 64, 2, 4, n_tokens, seed=seed)


# name -> function of (number of tokens, seed) that gives a fresh model; the width is the same for all
MODELS: dict[str, Callable[[int, int], Any]] = {"RNN": _rnn, "LSTM": _lstm, "MT-LSTM": _mt_lstm, "transformer": _transformer}


@dataclass(frozen=True)
class RecallResult:
    """Accuracy of each model at each lag with each seed.

    models, lags, seeds : what was run
    accuracy : (n_models, n_lags, n_seeds) share of blanks filled with the right name
    tokens : the words of one test row, the blank last
    attention : (n_layers, n_heads, n_tokens) what the transformer looks at from the blank of that
        row, trained at the longest lag with the first seed; None where it was not run
    """

    models: tuple[str, ...]
    lags: tuple[int, ...]
    seeds: tuple[int, ...]
    accuracy: np.ndarray
    tokens: tuple[str, ...]
    attention: np.ndarray | None

    def mean(self, model: str, lag: int) -> float:
        """Mean accuracy over seeds."""
        return float(self.accuracy[self.models.index(model), self.lags.index(lag)].mean())

    def rows(self) -> list[dict[str, Any]]:
        """The table: one row per model and lag, with mean, least and most over seeds."""
        return [
            {
                "model": model,
                "lag": lag,
                "accuracy": float(self.accuracy[i, j].mean()),
                "lowest": float(self.accuracy[i, j].min()),
                "highest": float(self.accuracy[i, j].max()),
                "seeds": len(self.seeds),
                "chance": CHANCE,
            }
            for i, model in enumerate(self.models)
            for j, lag in enumerate(self.lags)
        ]


class RecallBatches:
    """Endless random rows of the task; only the blank has a target."""

    def __init__(self, lag: int, batch_size: int, *, seed: int = 0) -> None:
        if lag < 0:
            raise bad("lag", "be at least 0", lag)
        self.lag, self.batch_size = lag, batch_size
        self._rng = np.random.default_rng(seed)

    def next_batch(self) -> Batch:
        names = self._rng.integers(0, len(NAMES), self.batch_size)
        words = self._rng.integers(len(NAMES), len(NAMES) + len(WORDS), (self.batch_size, self.lag))
        blank = np.full((self.batch_size, 1), TOKENIZER.encode(BLANK)[0])
        inputs = np.concatenate([names[:, None], words, blank], axis=1)
        targets = np.full_like(inputs, IGNORED)
        targets[:, -1] = names
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets))

    def position(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state}

    def restore(self, position: dict[str, Any]) -> None:
        self._rng.bit_generator.state = position["rng"]

    def data_hash(self) -> str:
        return f"recall at lag {self.lag}"


def recall_at_lag(
    models: Sequence[str] = tuple(MODELS),
    lags: Sequence[int] = (5, 10, 14, 20, 50, 90),
    seeds: Sequence[int] = (0, 1, 2),
    *,
    n_steps: int = 800,
    batch_size: int = 64,
    lr: float = 2e-3,
    n_test: int = 500,
    makers: Mapping[str, Callable[[int, int], Any]] | None = None,
    progress: Progress = silent,
) -> RecallResult:
    """Train every model at every lag with every seed, and test it on new rows.

    Parameters
    ----------
    models : sequence of str
        Of `MODELS`: a vanilla RNN, an LSTM with default biases, an LSTM with fixed timescales from
        1 to 1,000 tokens, a transformer of two layers.
    lags : sequence of int
        Words between the name and the blank.
    seeds : sequence of int
        Of the weights and the training rows; test rows are the same for all.
    n_steps, batch_size, lr : training with AdamW
    n_test : test rows
    makers : mapping, optional
        More models: name -> function of (number of tokens, seed) that gives one for `TOKENIZER`.
    progress : Progress

    Returns
    -------
    RecallResult
    """
    known = MODELS | dict(makers or {})
    for model in models:
        if model not in known:
            raise bad("models", f"be of {', '.join(known)}", model, nearest(model, known))
    accuracy = np.zeros((len(models), len(lags), len(seeds)))
    tokens, attention = _one_row(max(lags)), None
    for done, (i, j, k) in enumerate(np.ndindex(accuracy.shape), start=1):
        lm = known[models[i]](lags[j] + 2, seeds[k])
        train_recall(lm, lags[j], seed=seeds[k], n_steps=n_steps, batch_size=batch_size, lr=lr)
        accuracy[i, j, k] = recall_accuracy(lm, lags[j], n_test)
        if models[i] == "transformer" and lags[j] == max(lags) and k == 0:
            attention = attention_from_blank(lm, tokens)
        progress(done, accuracy.size, "models", f"{models[i]} at lag {lags[j]}: {accuracy[i, j, k]:.2f}")
    words = tuple(TOKENIZER.vocabulary[token] for token in tokens.tolist())
    return RecallResult(tuple(models), tuple(lags), tuple(seeds), accuracy, words, attention)


def train_recall(
    lm: LanguageModel, lag: int, *, seed: int = 0, n_steps: int = 800, batch_size: int = 64, lr: float = 2e-3
) -> None:
    """Teach a model the task at one lag."""
    settings = TrainerSettings(n_steps, OptimizerSettings(lr=lr, betas=(0.9, 0.999)), clip=1.0, log_every=0)
    Trainer(lm, RecallBatches(lag, batch_size, seed=1000 + seed), settings).fit()


def recall_accuracy(lm: LanguageModel, lag: int, n_rows: int = 500) -> float:
    """Share of blanks for which the right name is the likeliest of all tokens."""
    batch = RecallBatches(lag, n_rows, seed=0).next_batch()
    with torch.no_grad():
        logits = lm.step(batch.inputs.to(lm.device), None, []).logits
    assert logits is not None
    return float((logits[:, -1].argmax(-1).cpu() == batch.targets[:, -1]).float().mean())


def attention_from_blank(lm: Any, tokens: torch.Tensor) -> np.ndarray:
    """(n_layers, n_heads, n_tokens) what a transformer looks at from the last of these tokens."""
    with torch.no_grad():
        maps = lm.attention(tokens[None].to(lm.device))
    return torch.stack([weights[0, :, -1] for weights in maps]).cpu().numpy()


def _one_row(lag: int) -> torch.Tensor:
    return RecallBatches(lag, 1, seed=0).next_batch().inputs[0]
