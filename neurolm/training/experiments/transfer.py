"""Transfer learning: one call that fine-tunes a language model of ours, or of transformers, for a task.

    tuned = fine_tune(lm, task, how="full", n_steps=300)
    tuned.accuracy(held_out_task)

The model given stays as it is; a copy is tuned. Three ways:

- "full": every weight;
- "head": the task's own small network only (token and sequence classes);
- "lora": low-rank additions to a transformers model (peft); its own weights do not move, and at the
  start it computes exactly what the base computes.

References
----------
Hu et al. (2022), LoRA: Low-rank adaptation of large language models, ICLR.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from neurolm.checks import bad, check_choice
from neurolm.lm.heads import SequenceClassifier, TokenClassifier, module_of
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.transformers_model import TransformersModel
from neurolm.lm.untrained import untrained
from neurolm.progress import Progress, silent
from neurolm.statistics import mean_interval
from neurolm.training.batches import IGNORED
from neurolm.training.evaluate import Perplexity, Text, perplexity
from neurolm.training.experiments.tasks import CompletionTask, SequenceTask, Task, TokenTask
from neurolm.training.loop import Trainer, TrainResult
from neurolm.training.objectives import NextToken, Objective, SequenceClasses, TokenClasses
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings

WAYS = ("full", "head", "lora")


@dataclass(frozen=True)
class Forgetting:
    """What a model predicts of other text before and after it was tuned."""

    before: Perplexity
    after: Perplexity

    @property
    def ratio(self) -> float:
        """Perplexity per word after, over before: 1 is nothing forgotten."""
        return self.after.per_word / self.before.per_word


@dataclass(frozen=True)
class FineTuned:
    """A tuned model.

    lm : the tuned copy, a LanguageModel
    classifier : the network on top of it, or None for completion
    result : how the training went
    forgetting : perplexity of the text to remember, before and after; None where none was given
    max_tokens : longest example, in training and when accuracy is measured
    adapters : peft's model where `how` was "lora", else None
    """

    lm: LanguageModel
    classifier: nn.Module | None
    result: TrainResult
    forgetting: Forgetting | None
    max_tokens: int
    adapters: Any = None

    def accuracy(self, task: TokenTask | SequenceTask, *, batch_size: int = 32) -> float:
        """Share of words or texts that get their class."""
        if self.classifier is None:
            raise bad("task", "be a TokenTask or SequenceTask for a model tuned to classify", type(task).__name__)
        self.classifier.eval()
        examples = task.examples(self.lm.tokenizer, 1, max_tokens=self.max_tokens)
        right = count = 0
        with torch.no_grad():
            for first in range(0, len(task), batch_size):
                batch = examples.batch(range(first, min(first + batch_size, len(task)))).to(self.lm.device)
                with_lengths = (batch.lengths,) if isinstance(self.classifier, SequenceClassifier) else ()
                guess = self.classifier(batch.inputs, *with_lengths).argmax(-1)
                counted = batch.targets != IGNORED
                right += int((guess == batch.targets)[counted].sum())
                count += int(counted.sum())
        return right / max(count, 1)

    def merged(self) -> LanguageModel:
        """The same model with the low-rank additions folded into its weights, in a copy.

        Raises
        ------
        InputError
            If it was not tuned with how="lora".
        """
        if self.adapters is None:
            raise bad("merged", 'be asked of a model tuned with how="lora"', "one without adapters")
        whole = copy.deepcopy(self.adapters).merge_and_unload()
        return TransformersModel(whole, self.lm.tokenizer, name=self.lm.name)


def fine_tune(
    lm: LanguageModel,
    task: Task,
    *,
    how: str = "full",
    n_steps: int = 300,
    batch_size: int = 16,
    lr: float = 1e-3,
    warmup: int = 20,
    weight_decay: float = 0.0,
    dropout: float = 0.0,
    layer: int = -1,
    pooling: str = "mean",
    rank: int = 8,
    lora_modules: Sequence[str] | None = None,
    max_tokens: int | None = None,
    remember: Text | Sequence[Text] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FineTuned:
    """Fine-tune a copy of a language model.

    Parameters
    ----------
    lm : LanguageModel
        Any of ours, or a `TransformersModel`.
    task : TokenTask, SequenceTask or CompletionTask
        The training part.
    how : {"full", "head", "lora"}
        See the module; "lora" is for models of transformers.
    n_steps, batch_size, lr, warmup, weight_decay
        Training with AdamW and a cosine.
    dropout : float
        Before the classifier.
    layer : int
        Hidden states that the classifier reads; -1 is the last layer.
    pooling : {"mean", "last"}
        Of a text's states (SequenceTask).
    rank : int
        Of the LoRA additions; they are scaled by 2.
    lora_modules : sequence of str, optional
        Which linear maps get additions; peft's choice for the architecture if left out.
    max_tokens : int, optional
        Longest example; at most what the model holds.
    remember : text, optional
        Perplexity of this text before and after is reported: what the model forgets.
    seed : int
        Of the head, the order of examples and dropout.

    Returns
    -------
    FineTuned
    """
    check_choice("how", how, WAYS)
    base, tuned = lm, copy.deepcopy(lm)
    module_of(tuned).requires_grad_(True)
    adapters = None
    if how == "lora":
        tuned, adapters = add_lora(tuned, rank=rank, modules=lora_modules, seed=seed)
    elif how == "head":
        if isinstance(task, CompletionTask):
            raise bad("how", 'be "full" or "lora" for a CompletionTask', how, "There is no head to train.")
        module_of(tuned).requires_grad_(False)
    limit = min(n for n in (max_tokens, lm.max_context, 10**9) if n is not None)
    examples = task.examples(lm.tokenizer, batch_size, max_tokens=limit, seed=seed)
    objective, classifier = _objective(tuned, task, layer=layer, pooling=pooling, dropout=dropout, seed=seed)
    optimizer = OptimizerSettings(lr=lr, warmup=warmup, schedule="cosine", weight_decay=weight_decay, betas=(0.9, 0.999))
    settings = TrainerSettings(n_steps, optimizer, seed=seed, log_every=max(1, n_steps // 20))
    result = Trainer(objective, examples, settings).fit(progress)
    objective.module.eval()
    forgetting = None if remember is None else Forgetting(perplexity(base, remember), perplexity(tuned, remember))
    return FineTuned(tuned, classifier, result, forgetting, limit, adapters)


def add_lora(
    lm: LanguageModel, *, rank: int = 8, modules: Sequence[str] | None = None, seed: int = 0
) -> tuple[TransformersModel, Any]:
    """Put low-rank additions into a transformers model: (the model, peft's handle on it).

    The additions begin at zero, and only they keep gradients.
    """
    if not isinstance(lm, TransformersModel):
        raise bad("how", 'be "full" or "head" for this model', "lora", "LoRA is for models of transformers.")
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    transposed = any(isinstance(part, Conv1D) for part in lm.model.modules())
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=None if modules is None else list(modules),
        fan_in_fan_out=transposed,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)  # peft asks for it
        torch.manual_seed(seed)
        adapters = get_peft_model(lm.model, config)
    return TransformersModel(adapters, lm.tokenizer, name=lm.name), adapters


@dataclass(frozen=True)
class PretrainingGain:
    """Accuracy with pretrained and with fresh weights, at equal budget, seed by seed.

    pretrained, scratch : (n_seeds,)
    lrs : learning rate of each of the two
    forgetting : of the pretrained model, one for each seed; empty where there was no text to remember
    """

    pretrained: np.ndarray
    scratch: np.ndarray
    lrs: tuple[float, float]
    forgetting: tuple[Forgetting, ...] = ()

    @property
    def gain(self) -> float:
        """Mean difference."""
        return float((self.pretrained - self.scratch).mean())

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval of the mean difference over seeds, which are paired."""
        difference = self.pretrained - self.scratch
        if len(difference) < 2:
            return math.nan, math.nan
        low, high = mean_interval(difference, level)
        return float(low), float(high)


def pretraining_gain(
    lm: LanguageModel,
    train: TokenTask | SequenceTask,
    test: TokenTask | SequenceTask,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    lr: float | Sequence[float] = 1e-3,
    validation: TokenTask | SequenceTask | None = None,
    remember: Text | Sequence[Text] | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> PretrainingGain:
    """Fine-tune pretrained and fresh weights of one architecture with the same data, steps and seeds.

    Parameters
    ----------
    lm : LanguageModel
        The pretrained one.
    train, test : TokenTask or SequenceTask
    seeds : sequence of int
        Each draws the order of examples, the head and the fresh weights.
    lr : float or sequence of float
        The learning rate, or several to try. Pretrained and fresh weights each get the one with the highest mean accuracy
        over seeds on `validation`: what suits the one is often too much or too little for the other.
    validation : TokenTask or SequenceTask, optional
        Needed to choose between learning rates; the test part does not enter.
    remember : text, optional
        What the pretrained model should still predict afterwards; see `Forgetting`.
    **settings
        Of `fine_tune`.
    """
    rates = (lr,) if isinstance(lr, int | float) else tuple(lr)
    if not rates or (len(rates) > 1 and validation is None):
        raise bad("lr", "be one learning rate, or come with a validation part to choose on", rates)
    starts = {"pretrained": lambda seed: lm, "from scratch": lambda seed: untrained(lm, seed=seed)}
    best, n_done = [], 0
    for name, start in starts.items():
        tried = []
        for rate in rates:
            run = _Runs(rate, [], [], [])
            for seed in seeds:
                text = remember if name == "pretrained" else None
                run.add(fine_tune(start(seed), train, seed=seed, lr=rate, remember=text, **settings), validation, test)
                n_done += 1
                note = f"{name}, learning rate {rate:g}: {run.accuracy[-1]:.3f}"
                progress(n_done, len(starts) * len(rates) * len(seeds), "runs", note)
            tried.append(run)
        best.append(max(tried, key=lambda run: float(np.mean(run.validation))))
    pretrained, scratch = best
    forgetting = tuple(each for each in pretrained.forgetting if each is not None)
    return PretrainingGain(np.array(pretrained.accuracy), np.array(scratch.accuracy), (pretrained.lr, scratch.lr), forgetting)


@dataclass(frozen=True)
class _Runs:
    """What one learning rate gave, seed by seed."""

    lr: float
    validation: list[float]
    accuracy: list[float]
    forgetting: list[Forgetting | None]

    def add(self, tuned: FineTuned, validation: TokenTask | SequenceTask | None, test: TokenTask | SequenceTask) -> None:
        self.validation.append(0.0 if validation is None else tuned.accuracy(validation))
        self.accuracy.append(tuned.accuracy(test))
        self.forgetting.append(tuned.forgetting)


def _objective(
    lm: LanguageModel, task: Task, *, layer: int, pooling: str, dropout: float, seed: int
) -> tuple[Objective, nn.Module | None]:
    if isinstance(task, CompletionTask):
        return NextToken(lm), None
    n_classes = len(task.classes)
    if isinstance(task, TokenTask):
        tokens = TokenClassifier(lm, n_classes, layer=layer, dropout=dropout, seed=seed)
        return TokenClasses(tokens), tokens
    texts = SequenceClassifier(lm, n_classes, layer=layer, pooling=pooling, dropout=dropout, seed=seed)
    return SequenceClasses(texts), texts
