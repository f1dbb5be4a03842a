"""From one configuration to a trained model in a folder, with its held-out numbers and its card.

    config = TrainConfig.from_dict(yaml_mapping)
    report = train(config, "models/lstm-small")

The folder then holds the model (`neurolm.lm.load` reads it), `log.jsonl`, `train.json` (the
configuration), `corpus.json` (the hash of its text), `report.json` and a card, `README.md`; and while training `checkpoint.safetensors`.
Started again after it was killed, `train` goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurolm.checks import bad, bad_file
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer
from neurolm.lm.char_tokenizer import CharTokenizer
from neurolm.lm.heads import module_of
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.pretrained import pick_device
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.weights import build_model, save_model
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.locks import exclusive_lock
from neurolm.progress import Progress, silent
from neurolm.storage import content_hash, read_json, write_json, write_text
from neurolm.training.batches import BatchSource, ContiguousStreams, DocumentStreams, RandomWindows
from neurolm.training.card import TrainReport, model_card
from neurolm.training.config import BatchSettings, CorpusSettings, TokenizerSettings, TrainConfig
from neurolm.training.corpus import Document, Split, encode_documents, join_documents, read_documents, split_documents
from neurolm.training.distributed import process_group, process_index
from neurolm.training.evaluate import Perplexity, perplexity, read_text, token_nats
from neurolm.training.loop import CHECKPOINT, Trainer, TrainResult
from neurolm.training.ngram import KneserNey
from neurolm.training.objectives import NextToken


def train(
    config: TrainConfig,
    folder: str | Path,
    progress: Progress = silent,
    *,
    root: str | Path | None = None,
    device: str = "cpu",
    until: int | None = None,
    give_up: bool = False,
) -> TrainReport | None:
    """Train the model that a configuration describes, measure it on held-out text and save it.

    Parameters
    ----------
    config : TrainConfig
    folder : path
        Where everything goes; a run of the same configuration that is there goes on.
    progress : Progress
    root : path, optional
        What relative paths of the corpus start from.
    device : str
        "cpu", "cuda" or "auto".
    until : int, optional
        Stop after this step, with a checkpoint, and return None: for machines lent by the hour.
    give_up : bool
        Train no further: measure and save the best weights that the checkpoint in the folder holds.

    Raises
    ------
    InputError
        If a setting cannot work, the corpus is empty, or the loss is no longer finite.
    FileError
        If a file of the corpus cannot be read, or the folder holds another run.
    """
    folder, place = Path(folder), pick_device(device)
    with process_group(place), exclusive_lock(folder / f".lock{process_index()}", wait=False) as alone:
        if not alone:
            raise bad_file(folder, "another process trains here", "Wait for it, or choose another folder.")
        lm, split, trainer = prepare_training(config, folder, root=root, device=place)
        if process_index() == 0:
            write_json(folder / "corpus.json", _text_hash(split))
            write_json(folder / "train.json", config.to_dict())
        result = trainer.give_up() if give_up else trainer.fit(progress, until=until)
        if result.step < config.trainer.n_steps and not result.stopped_early and not give_up:
            return None
        return _finish(config, folder, lm, split, result, progress)


def prepare_training(
    config: TrainConfig, folder: str | Path, *, root: str | Path | None = None, device: str | torch.device = "cpu"
) -> tuple[Any, Split, Trainer]:
    """The model, the texts and the trainer of a configuration, checked for all that comes after the last step too.

    Nothing is written. `neurolm train model --dry-run` does this much.

    Raises
    ------
    InputError
        If a setting cannot work, or a held-out text cannot be measured: a character that the tokenizer
        lacks, no word to predict, a baseline for a tokenizer without a start-of-text token.
    FileError
        If a file of the corpus cannot be read, or the folder holds another run.
    """
    place = pick_device(device)
    split = read_split(config.corpus, root)
    _check_claim(Path(folder), config, split)
    tokenizer = build_tokenizer(config.tokenizer, split.train)
    shape = {"kind": config.model.kind, "vocab_size": tokenizer.vocab_size, **config.model.settings}
    lm = build_model(shape, tokenizer, seed=config.trainer.seed, name=config.name)
    _check_measurable(config, split, lm)
    with torch.no_grad():
        lm.embedding.weight.mul_(config.embedding_scale)
    module_of(lm).to(place)
    trainer = Trainer(
        NextToken(lm, activation=config.activation, temporal_activation=config.temporal_activation),
        read_batches(config.batches, split.train, tokenizer),
        config.trainer,
        folder=folder,
        validate=_validation(lm, split.validation, config.batches.length),
    )
    return lm, split, trainer


def _check_measurable(config: TrainConfig, split: Split, lm: LanguageModel) -> None:
    """Refuse before the first step what would be refused after the last."""
    for document in (*split.validation, *split.test):
        read_text(lm.tokenizer, document)
    if config.baseline_order:
        _start_of_text(lm.tokenizer, config.baseline_order)
    if lm.max_context is not None and config.batches.length > lm.max_context:
        raise bad("batches.length", f"be at most {lm.max_context}, the model's max_context", config.batches.length)


def _start_of_text(tokenizer: Tokenizer, order: int) -> int:
    if tokenizer.bos_id is None:
        raise bad("baseline_order", "be 0 for a tokenizer without a start-of-text token", order)
    return tokenizer.bos_id


def read_split(settings: CorpusSettings, root: str | Path | None = None) -> Split:
    """Training, validation and test documents."""

    def read(files: Sequence[str]) -> list[Document]:
        return read_documents(files, form=settings.form, root=root, fallback=settings.fallback)

    if settings.validation_files:
        parts = (settings.files, settings.validation_files, settings.test_files)
        return Split(*(tuple(read(files)) for files in parts))
    documents = read(settings.files)
    return split_documents(documents, validation=settings.validation, test=settings.test, long=settings.long, seed=settings.seed)


def build_tokenizer(settings: TokenizerSettings, documents: Sequence[Document]) -> Tokenizer:
    """Learn a tokenizer from the training text."""
    texts = [document.text for document in documents]
    if settings.kind == "characters":
        return CharTokenizer.from_text("".join(texts))
    if settings.kind == "words":
        words = (word for text in texts for word in text.split())
        return WordTokenizer.from_words(words, max_size=settings.vocab_size, lowercase=settings.lowercase)
    return BytePairTokenizer.train(texts, settings.vocab_size, lowercase=settings.lowercase)


def read_batches(settings: BatchSettings, documents: Sequence[Document], tokenizer: Tokenizer) -> BatchSource:
    """The training text as batches."""
    ids = encode_documents(documents, tokenizer)
    size, length, seed = settings.batch_size, settings.length, settings.seed
    if settings.kind == "documents":
        if tokenizer.bos_id is None:
            raise bad("batches.kind", "be streams or windows for a tokenizer without a start-of-text token", settings.kind)
        return DocumentStreams(ids, size, length, separator=tokenizer.bos_id, seed=seed)
    stream = join_documents(ids, tokenizer.eos_id)
    if settings.kind == "windows":
        return RandomWindows(stream, size, length, seed=seed)
    return ContiguousStreams(stream, size, length, jitter=settings.jitter, reset=settings.reset, seed=seed)


def kneser_ney_baseline(order: int, split: Split, tokenizer: Tokenizer) -> Perplexity:
    """Modified Kneser-Ney with the same tokens, the same training text and the same test text."""
    model = KneserNey(order, tokenizer.vocab_size, _start_of_text(tokenizer, order)).fit(encode_documents(split.train, tokenizer))
    n_words = sum(document.n_words for document in split.test)
    n_bytes = sum(len(document.text.encode()) for document in split.test)
    return model.perplexity(encode_documents(split.test, tokenizer), n_words, n_bytes)


def _check_claim(folder: Path, config: TrainConfig, split: Split) -> None:
    """Make sure that a run that is in the folder is of the same configuration and the same text."""
    path, hashed = folder / "train.json", folder / "corpus.json"
    if path.exists() and (folder / CHECKPOINT).exists():
        if hashed.is_file() and read_json(hashed) != _text_hash(split):
            advice = f"Train in another folder, or delete {CHECKPOINT} to train on the text as it is now."
            raise bad_file(path, "is of another run (the text of the corpus changed)", advice)
        before = TrainConfig.from_dict(read_json(path))
        for name in ("corpus", "tokenizer", "model", "batches", "activation", "temporal_activation", "embedding_scale"):
            if getattr(before, name) != getattr(config, name):
                raise bad_file(path, f"is of another run ({name} differs)", "Train in another folder.")


def _text_hash(split: Split) -> dict[str, str]:
    return {"sha256": content_hash([[part.text for part in parts] for parts in (split.train, split.validation, split.test)])}


def _validation(lm: LanguageModel, documents: Sequence[Document], length: int) -> Callable[[], float]:
    """Nats per token of the validation text; with limited context in windows half as long as they move on."""
    start = [] if lm.tokenizer.bos_id is None else [lm.tokenizer.bos_id]
    ids = [np.concatenate([np.array(start, dtype=np.int64), document]) for document in encode_documents(documents, lm.tokenizer)]
    context = None if lm.max_context is None else min(length, lm.max_context)

    def validate() -> float:
        nats = token_nats(lm, ids, context=context)
        return float(sum(part.sum() for part in nats) / sum(len(part) for part in nats))

    return validate


def _finish(config: TrainConfig, folder: Path, lm: Any, split: Split, result: TrainResult, progress: Progress) -> TrainReport:
    """Round the weights as they are stored, measure, save."""
    module = module_of(lm).eval()
    if config.weights == "float16":
        round_to_float16(module)
    baseline = kneser_ney_baseline(config.baseline_order, split, lm.tokenizer) if config.baseline_order else None
    report = TrainReport(
        lm=lm,
        result=result,
        split=split,
        n_parameters=sum(parameter.numel() for parameter in module.parameters()),
        validation=perplexity(lm, split.validation, progress=progress),
        test=perplexity(lm, split.test, progress=progress),
        baseline=baseline,
    )
    if process_index() == 0:
        numbers = _numbers(config, report)
        save_model(lm, folder, dtype=getattr(torch, config.weights), about=numbers)
        write_json(folder / "report.json", numbers)
        write_text(folder / "README.md", model_card(config, report))
    return report


def round_to_float16(module: torch.nn.Module) -> None:
    """Round every weight to the nearest float16, kept in its own type, so that numbers are those of the stored file."""
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().to(tensor.dtype))


def _numbers(config: TrainConfig, report: TrainReport) -> dict[str, Any]:
    parts = {"validation": report.validation, "test": report.test, "kneser_ney": report.baseline}
    return {
        "n_parameters": report.n_parameters,
        "steps": report.result.step,
        "planned_steps": config.trainer.n_steps,
        "best_step": report.result.best_step,
        "words": {name: sum(d.n_words for d in getattr(report.split, name)) for name in ("train", "validation", "test")},
    } | {
        name: {
            "perplexity_per_word": part.per_word,
            "bits_per_byte": part.bits_per_byte,
            "perplexity_per_token": part.per_token,
            "n_tokens": part.n_tokens,
            "n_words": part.n_words,
        }
        for name, part in parts.items()
        if part is not None
    }
