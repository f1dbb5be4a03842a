"""Labelled data for transfer learning, as token ids and targets of a given tokenizer.

TokenTask        a class for every word (part of speech)
SequenceTask     a class for every text (sentiment)
CompletionTask   a text that goes on from a prompt (translation, summary, style)
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolm.checks import bad, bad_file, check_file, check_same_length
from neurolm.lm.tokenizer import Tokenizer
from neurolm.stimuli.text_file import decode_western
from neurolm.training.batches import IGNORED, Examples


@dataclass(frozen=True)
class TokenTask:
    """Sentences with a class for every word.

    sentences : the words of each
    labels : the class of each word, as many
    classes : all class names; a class's place is its number
    """

    sentences: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_same_length("sentences", len(self.sentences), "labels", len(self.labels))
        for i, (words, labels) in enumerate(zip(self.sentences, self.labels)):
            if len(words) != len(labels) or not words:
                raise bad(f"labels[{i}]", f"hold one class for each of {len(words)} words, at least one", len(labels))

    def __len__(self) -> int:
        return len(self.sentences)

    def part(self, chosen: Sequence[int]) -> TokenTask:
        """Some of the sentences."""
        return TokenTask(tuple(self.sentences[i] for i in chosen), tuple(self.labels[i] for i in chosen), self.classes)

    def examples(self, tokenizer: Tokenizer, batch_size: int, *, max_tokens: int | None = None, seed: int = 0) -> Examples:
        """Token ids; each word's last token, which has seen all of it, carries its class."""
        inputs, targets = [], []
        for words, labels in zip(self.sentences, self.labels):
            coded = tokenizer.encode_words(words, leading_space=False)
            target = np.full(len(coded.ids), IGNORED)
            target[coded.spans[:, 1] - 1] = [self.number(label) for label in labels]
            start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
            inputs.append(np.r_[np.array(start, np.int64), coded.ids][:max_tokens])
            targets.append(np.r_[np.full(len(start), IGNORED), target][:max_tokens])
        return Examples(inputs, targets, batch_size, seed=seed)

    def number(self, label: str) -> int:
        """The number of a class; IGNORED for one that is not among `classes`."""
        return self.classes.index(label) if label in self.classes else IGNORED


@dataclass(frozen=True)
class SequenceTask:
    """Texts with a class each."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_same_length("texts", len(self.texts), "labels", len(self.labels))

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, chosen: Sequence[int]) -> SequenceTask:
        """Some of the texts."""
        return SequenceTask(tuple(self.texts[i] for i in chosen), tuple(self.labels[i] for i in chosen), self.classes)

    def examples(self, tokenizer: Tokenizer, batch_size: int, *, max_tokens: int | None = None, seed: int = 0) -> Examples:
        """Token ids and class numbers; a text longer than `max_tokens` loses its beginning."""
        start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        inputs = []
        for text in self.texts:
            ids = tokenizer.encode(text)
            kept = ids if max_tokens is None else ids[-(max_tokens - len(start)) :]
            inputs.append(np.array([*start, *kept], dtype=np.int64))
        return Examples(inputs, [self.classes.index(label) for label in self.labels], batch_size, seed=seed)


@dataclass(frozen=True)
class CompletionTask:
    """Prompts with the text that follows each; only the latter is learned."""

    prompts: tuple[str, ...]
    completions: tuple[str, ...]

    def __post_init__(self) -> None:
        check_same_length("prompts", len(self.prompts), "completions", len(self.completions))

    def __len__(self) -> int:
        return len(self.prompts)

    def part(self, chosen: Sequence[int]) -> CompletionTask:
        """Some of the pairs."""
        return CompletionTask(tuple(self.prompts[i] for i in chosen), tuple(self.completions[i] for i in chosen))

    def examples(self, tokenizer: Tokenizer, batch_size: int, *, max_tokens: int | None = None, seed: int = 0) -> Examples:
        """Token ids; the targets are the completion's tokens and the end of text after it."""
        inputs, targets = [], []
        for prompt, completion in zip(self.prompts, self.completions):
            before = self.prompt_ids(tokenizer, prompt)
            after = [*tokenizer.encode(completion), *([] if tokenizer.eos_id is None else [tokenizer.eos_id])]
            whole = np.array([*before, *after], dtype=np.int64)
            if max_tokens is not None and len(whole) - 1 > max_tokens:
                raise bad("prompts and completions", f"fit in {max_tokens} tokens together", len(whole) - 1, "Shorten them.")
            target = whole[1:].copy()
            target[: len(before) - 1] = IGNORED
            inputs.append(whole[:-1])
            targets.append(target)
        return Examples(inputs, targets, batch_size, seed=seed)

    @staticmethod
    def prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
        """What the model reads before it completes."""
        return [*([] if tokenizer.bos_id is None else [tokenizer.bos_id]), *tokenizer.encode(prompt)]


Task = TokenTask | SequenceTask | CompletionTask


def read_masc(archive: str | Path, *, min_count: int = 50) -> dict[str, TokenTask]:
    """Part of speech in MASC, by document: `word_TAG` sentences from NLTK's masc_tagged.zip.

    Parameters
    ----------
    archive : path
    min_count : int
        Classes seen less often are left out: their words stay, without a target.

    References
    ----------
    Ide, Baker, Fellbaum & Passonneau (2010), The Manually Annotated Sub-Corpus, ACL.
    """
    documents = {
        name: [line.split() for line in text.splitlines() if line.strip()]
        for name, text in _read_texts(archive, ".txt")
        if "/written/" in name or "/spoken/" in name
    }
    pairs = {name: [[_split_tag(item) for item in line] for line in lines] for name, lines in documents.items()}
    pairs = {name: [[pair for pair in line if all(pair)] for line in lines] for name, lines in pairs.items()}
    counts: dict[str, int] = {}
    for lines in pairs.values():
        for line in lines:
            for _, tag in line:
                counts[tag] = counts.get(tag, 0) + 1
    classes = tuple(sorted(tag for tag, count in counts.items() if count >= min_count))
    tasks = {}
    for name, lines in pairs.items():
        kept = [line for line in lines if line]
        if kept:
            words = tuple(tuple(word for word, _ in line) for line in kept)
            tasks[name] = TokenTask(words, tuple(tuple(tag for _, tag in line) for line in kept), classes)
    if not tasks:
        raise bad_file(archive, "holds no tagged texts", "Give NLTK's masc_tagged.zip.")
    return tasks


def read_movie_reviews(archive: str | Path) -> SequenceTask:
    """Sentiment of 2,000 film reviews: NLTK's movie_reviews.zip.

    References
    ----------
    Pang & Lee (2004), A sentimental education, ACL.
    """
    found = [(name, text) for name, text in _read_texts(archive, ".txt") if "/pos/" in name or "/neg/" in name]
    if not found:
        raise bad_file(archive, "holds no reviews", "Give NLTK's movie_reviews.zip.")
    labels = tuple("pos" if "/pos/" in name else "neg" for name, _ in found)
    return SequenceTask(tuple(" ".join(text.split()) for _, text in found), labels, ("neg", "pos"))


def _read_texts(archive: str | Path, ending: str) -> list[tuple[str, str]]:
    try:
        with zipfile.ZipFile(check_file(archive)) as file:
            names = sorted(name for name in file.namelist() if name.endswith(ending))
            return [(name, _decode(file.read(name))) for name in names]
    except zipfile.BadZipFile as error:
        raise bad_file(archive, f"is not a whole zip archive ({error})", "Fetch it again.") from None


def _decode(content: bytes) -> str:
    """UTF-8, or a Western code page where it is not (a few of the reviews); Latin-1 where that cannot be decided."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        found = decode_western(content)
        return content.decode("latin-1") if found is None else found.text


def _split_tag(item: str) -> tuple[str, str]:
    word, _, tag = item.rpartition("_")
    return word, tag
