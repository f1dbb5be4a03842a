"""Run a reading plan: passes sorted by length, batched to a token budget, each word read where it stands.

Batches are padded on the right, which a causal model cannot see. Their order and size depend on
the plan and the budget alone, so that a run that resumes after a crash computes the same batches,
and with them the same bits.

Letters: B passes of a batch, T positions, D width.
"""

from __future__ import annotations

import contextlib
import gc
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from neurolm.checks import InputError
from neurolm.features.reading_plan import ReadingPlan
from neurolm.lm.language_model import LanguageModel, State
from neurolm.progress import Progress, silent


@dataclass(frozen=True)
class Reads:
    """Where the words of one batch are: each has positions [first, last) of its row."""

    rows: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray
    contexts: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


class Sink(Protocol):
    """Where numbers go as they come, and what it knows of an earlier, interrupted run."""

    def begin(self, plan: ReadingPlan, budget: int) -> tuple[int, int]:
        """(passes already done, token budget to go on with)."""
        ...

    def write(self, reads: Reads, values: Mapping[str, np.ndarray]) -> None: ...

    def done(self, n_passes: int) -> None:
        """Everything up to this many passes is written."""
        ...

    def halved(self, budget: int) -> None:
        """From here on batches have this budget."""
        ...


# What a batch gives: named arrays (n_reads, width), and the state to go on from.
ReadBatch = Callable[[torch.Tensor, State, Reads], tuple[Mapping[str, np.ndarray], State]]


def run_plan(
    plan: ReadingPlan,
    ids: np.ndarray,
    lm: LanguageModel,
    read: ReadBatch,
    sink: Sink,
    *,
    budget: int,
    progress: Progress = silent,
) -> None:
    """Make every pass of the plan and hand what is read to the sink.

    Parameters
    ----------
    plan : ReadingPlan
    ids : (n_tokens,) the story
    lm : LanguageModel
    read : ReadBatch
        Steps the model on ids (B, T) and returns the numbers of the words in it.
    sink : Sink
    budget : int
        Tokens in one batch. Halved, with a warning, when memory runs out.
    progress : Progress
        Told words done (in proportion to the tokens read), words a second and time left.

    Raises
    ------
    InputError
        If memory runs out with a single pass in the batch.
    """
    with _evaluating(lm):
        if is_streamed(plan, budget):
            _stream(plan, ids, lm, read, sink, budget, progress)
        else:
            _run_batches(plan, ids, lm, read, sink, budget, progress)


def is_streamed(plan: ReadingPlan, budget: int) -> bool:
    """Whether it is one pass longer than a batch, read in chunks that hand on the state."""
    return len(plan.starts) == 1 and bool(plan.lengths[0] > budget)


@contextlib.contextmanager
def _evaluating(lm: LanguageModel) -> Iterator[None]:
    """Dropout off while features are read, whatever it was before."""
    module: Any = getattr(lm, "model", lm)
    was_training = getattr(module, "training", False)
    if was_training:
        module.eval()
    try:
        yield
    finally:
        if was_training:
            module.train()


def _run_batches(
    plan: ReadingPlan, ids: np.ndarray, lm: LanguageModel, read: ReadBatch, sink: Sink, budget: int, progress: Progress
) -> None:
    """Passes from the longest to the shortest, as many at a time as the budget holds."""
    order = np.argsort(-plan.lengths, kind="stable")
    lengths = plan.lengths[order]
    first_read = np.searchsorted(plan.passes, np.arange(len(order) + 1))  # (n_passes + 1,)
    position, budget = sink.begin(plan, budget)
    report = _Reporter(progress, lengths, plan.seen.shape[1], position)
    report(position)
    while position < len(order):
        stop = min(len(order), position + max(1, budget // int(lengths[position])))
        batch, reads = _gather(plan, ids, order[position:stop], first_read, lm.tokenizer.bos_id)
        result = _try_batch(lm, read, batch, None, reads)
        if result is None:
            budget = _halve(sink, budget, max(1, (stop - position) // 2) * int(lengths[position]), stop - position == 1)
            continue
        sink.write(reads, result[0])
        position = stop
        sink.done(position)
        report(position)


def _try_batch(
    lm: LanguageModel, read: ReadBatch, batch: np.ndarray, state: State, reads: Reads
) -> tuple[Mapping[str, np.ndarray], State] | None:
    """What a batch gives, or None if memory ran out (returned, so that no traceback keeps its tensors alive)."""
    try:
        return read(torch.from_numpy(batch).to(lm.device), state, reads)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch raises when memory runs out, on a CPU too."""
    text = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "not enough memory" in text
        or "can't allocate memory" in text
        or "out of memory" in text
    )


def _halve(sink: Sink, budget: int, smaller: int, is_smallest: bool) -> int:
    """The budget to go on with after memory ran out, told to the user and the sink."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if is_smallest:
        raise InputError(
            f"context must fit in memory; {smaller} tokens do not. Ask for a shorter context, fewer layers, or another device."
        )
    warnings.warn(f"out of memory at {budget} tokens a batch; going on with {smaller}", stacklevel=3)
    sink.halved(smaller)
    return smaller


def _gather(
    plan: ReadingPlan, ids: np.ndarray, which: np.ndarray, first_read: np.ndarray, bos_id: int | None
) -> tuple[np.ndarray, Reads]:
    """Ids (B, T) of these passes, padded on the right with zeros, and the reads in them."""
    batch = np.zeros((len(which), int(plan.lengths[which].max())), dtype=np.int64)
    for row, one in enumerate(which):
        batch[row, : plan.lengths[one]] = plan.input_ids(ids, one, bos_id)
    index = np.concatenate([np.arange(first_read[one], first_read[one + 1]) for one in which])
    rows = np.repeat(np.arange(len(which)), first_read[which + 1] - first_read[which])
    return batch, Reads(rows, plan.firsts[index], plan.lasts[index], plan.contexts[index], plan.words[index])


def _stream(
    plan: ReadingPlan, ids: np.ndarray, lm: LanguageModel, read: ReadBatch, sink: Sink, budget: int, progress: Progress
) -> None:
    """One long pass, in chunks that end with a word, with the state carried from chunk to chunk."""
    _, budget = sink.begin(plan, budget)  # a state is not kept: an interrupted stream is read from the beginning
    inputs = plan.input_ids(ids, 0, lm.tokenizer.bos_id)
    report = _Reporter(progress, np.ones(len(plan.words)), plan.seen.shape[1], 0)
    report(0)
    state: State = None
    n_read = n_words = 0
    while n_words < len(plan.words):
        stop = max(n_words + 1, int(np.searchsorted(plan.lasts, n_read + budget, side="right")))
        last, here = int(plan.lasts[stop - 1]), slice(n_words, stop)
        rows = np.zeros(stop - n_words, dtype=np.int64)
        reads = Reads(rows, plan.firsts[here] - n_read, plan.lasts[here] - n_read, plan.contexts[here], plan.words[here])
        result = _try_batch(lm, read, inputs[None, n_read:last], state, reads)
        if result is None:
            budget = _halve(sink, budget, max(1, (last - n_read) // 2), len(reads) == 1)
            continue
        values, state = result
        sink.write(reads, values)
        n_read, n_words = last, stop
        report(n_words)
    sink.done(1)


class _Reporter:
    """Words done in proportion to work done, and words a second."""

    def __init__(self, progress: Progress, work: np.ndarray, n_words: int, already: int) -> None:
        self.progress, self.n_words = progress, n_words
        self.share = np.concatenate([[0.0], np.cumsum(work, dtype=np.float64)]) / max(float(work.sum()), 1.0)
        self.begun, self.already = time.monotonic(), self.share[already]

    def __call__(self, position: int) -> None:
        done = self.share[position]
        seconds = time.monotonic() - self.begun
        rate = (done - self.already) * self.n_words / max(seconds, 1e-9)
        self.progress(done * self.n_words, self.n_words, "words", f"{rate:.1f} words/s" if rate else "")
