"""The card of a trained model: what it is, what it read, how well it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurolm.lm.language_model import LanguageModel
from neurolm.training.config import TrainConfig
from neurolm.training.corpus import Document, Split
from neurolm.training.evaluate import Perplexity
from neurolm.training.loop import TrainResult

_FORMS = {
    "written": "as written, one line per paragraph",
    "spoken": "in small letters and without punctuation, as transcripts of speech are",
    "lines": "as it is, with <eos> at every line end",
    "raw": "as it is",
}


@dataclass(frozen=True)
class TrainReport:
    """What `train` made.

    lm : the trained model, its weights as stored
    result : how the run went
    split : the documents
    n_parameters : numbers that were trained
    validation, test : of the model on held-out text
    baseline : of modified Kneser-Ney with the same tokens on the same test text, or None
    """

    lm: LanguageModel
    result: TrainResult
    split: Split
    n_parameters: int
    validation: Perplexity
    test: Perplexity
    baseline: Perplexity | None


def model_card(config: TrainConfig, report: TrainReport) -> str:
    """Markdown for README.md."""
    model = ", ".join(f"{name} {value}" for name, value in config.model.settings.items())
    tokenizer = config.tokenizer
    lines = [
        f"# {config.name}",
        "",
        f"A small {config.model.kind} language model ({model}) with {report.n_parameters:,} parameters, trained by neurolm. "
        f"Weights are stored as {config.weights}"
        + (", and every number below was taken after that rounding." if config.weights == "float16" else "."),
        "",
        f'```python\nfrom neurolm.lm import load\n\nlm = load("neurolm/{config.name}")\n```',
        "",
        "## Text",
        "",
        f"The text is read {_FORMS[config.corpus.form]}. Tokens: {tokenizer.kind}, {report.lm.tokenizer.vocab_size:,}, "
        "learned on the training part alone.",
        "",
        _table_of_text(report),
        "",
        f"Documents of {config.corpus.long:,} words or more are cut into their beginning (training), and their last two "
        "stretches (validation, test); shorter documents are held out whole.",
        "",
        "## Held-out numbers",
        "",
        "| model | part | perplexity per word | bits per byte | perplexity per token |",
        "|---|---|---|---|---|",
        _row(config.name, "validation", report.validation),
        _row(config.name, "test", report.test),
    ]
    if report.baseline is not None:
        lines.append(_row(f"modified Kneser-Ney, {config.baseline_order}-grams of the same tokens", "test", report.baseline))
    lines += [
        "",
        f"Perplexity per word is exp(nats / {report.test.n_words:,} test words), summed over {report.test.n_tokens:,} tokens, "
        f"{_context(report.lm.max_context)}.",
        "",
        "## Training",
        "",
        f"{report.result.step:,} steps of {config.trainer.n_steps:,} planned, the weights of step "
        f"{report.result.best_step or report.result.step:,} kept (best validation loss). "
        "All settings are in `train.json`, the course in `log.jsonl`.",
        "",
        "## Limits",
        "",
        _beside_the_baseline(report)
        + "A few megabytes of old books and speeches: enough to learn from, to test with and to compare architectures, not "
        "to be taken for a model of present-day English. What it writes reflects its sources.",
        "",
    ]
    return "\n".join(lines)


def _table_of_text(report: TrainReport) -> str:
    rows = ["| part | words | documents |", "|---|---|---|"]
    for name in ("train", "validation", "test"):
        documents: Sequence[Document] = getattr(report.split, name)
        rows.append(f"| {name} | {sum(d.n_words for d in documents):,} | {_names(documents)} |")
    return "\n".join(rows)


def _context(longest: int | None) -> str:
    """What each prediction rested on."""
    if longest is None:
        return "every document read from its beginning"
    return f"each predicted from the {longest - longest // 2} to {longest} tokens before it (fewer at a document's beginning)"


def _beside_the_baseline(report: TrainReport) -> str:
    better = report.baseline is not None and report.baseline.nats < report.test.nats
    return "The n-gram baseline above predicts these texts better. " if better else ""


def _names(documents: Sequence[Document]) -> str:
    names = [document.name for document in documents]
    return ", ".join(names) if len(names) <= 20 else ", ".join(names[:20]) + f" and {len(names) - 20} more"


def _row(model: str, part: str, found: Perplexity) -> str:
    return f"| {model} | {part} | {found.per_word:.1f} | {found.bits_per_byte:.3f} | {found.per_token:.1f} |"
