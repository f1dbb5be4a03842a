"""Text for training: read it, clean it as little as possible, split it, turn it into token ids.

What is done to the text, and nothing else:

- `written`: line ends become `\\n`; lines inside a paragraph are joined by a space and
  paragraphs by one `\\n`; runs of blanks become one blank; curly quotes become straight.
- `spoken`: one line in lower case without punctuation, as transcripts of speech are.
  Letters of all scripts with their combining marks, digits and the apostrophes inside words
  stay; everything else parts words.
- `lines`: every line end becomes ` <eos> `, as Penn Treebank and WikiText are read.
- `raw`: as it is.

A byte order mark at the beginning of a file is never part of the text.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import unicodedata
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolm.checks import InputError, bad, bad_file, check_choice
from neurolm.letters import spoken_text
from neurolm.lm.tokenizer import Tokenizer
from neurolm.stimuli.text_file import CODE_PAGES, decode_western
from neurolm.storage import content_hash

FORMS = ("written", "spoken", "lines", "raw")
_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--"})
_CONTROL = re.compile(r"[\x80-\x9f]")
_SPACED_MARK = re.compile(r" ([.,;:!?])(?= |$)")


@dataclass(frozen=True)
class Document:
    """One text that hangs together: a story, a speech, a novel or a stretch of one."""

    name: str
    text: str

    @property
    def n_words(self) -> int:
        """Words between white space, what perplexity per word counts."""
        return len(self.text.split())


@dataclass(frozen=True)
class Split:
    """Documents for fitting, for choosing when to stop, and for the number that is reported."""

    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    test: tuple[Document, ...]


def read_documents(
    files: Sequence[str], *, form: str = "written", root: str | Path | None = None, fallback: str | None = None
) -> list[Document]:
    """Read every text file that the patterns name, in the order of their names.

    Parameters
    ----------
    files : sequence of str
        Paths or glob patterns; `archive.zip::pattern` names members of a zip archive.
        Environment variables (`$NEUROLM_DATA/...`) are filled in.
    form : {"written", "spoken", "lines", "raw"}
        See the module.
    root : path, optional
        What relative paths start from; the current folder when left out.
    fallback : str, optional
        How to read a file that is not UTF-8, for example "cp1252"; such a file is an error without.

    Raises
    ------
    FileError
        If a pattern names nothing, a variable is not set, or a file is not UTF-8 text.
    """
    check_choice("form", form, FORMS)
    documents = []
    for pattern in files:
        for name, content in _matches(pattern, Path(root or "")):
            documents.append(Document(name, clean(_decode(name, content, fallback), form)))
    kept = [document for document in documents if document.text]
    if not kept:
        raise bad("files", "hold some text", list(files), "An empty corpus trains nothing.")
    return kept


def corpus_files(files: Sequence[str], *, root: str | Path | None = None) -> list[Path]:
    """The files that patterns name, as `read_documents` takes them, by their names; none is opened."""
    return [Path(name) for pattern in files for name in _named(pattern, Path(root or ""))[0]]


def clean(text: str, form: str = "written") -> str:
    """Text in one of the forms that the module describes."""
    text = text.removeprefix("\ufeff")
    if form == "raw":
        return text
    if form == "lines":
        return "".join(f"{' '.join(line.split())} <eos> " for line in text.splitlines()).strip()
    text = unicodedata.normalize("NFC", text).translate(_STRAIGHT)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("<eos>", "\n\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n[ \t]*\n", text)]
    if form == "spoken":
        return spoken_text(" ".join(paragraphs))
    return "\n".join(_SPACED_MARK.sub(r"\1", paragraph) for paragraph in paragraphs if paragraph)


def split_documents(
    documents: Sequence[Document],
    *,
    validation: float = 0.05,
    test: float = 0.05,
    long: int = 20_000,
    seed: int = 0,
) -> Split:
    """Hold out text that the model never sees, in whole stretches.

    Documents of at least `long` words give their last part to
    validation and test; of the shorter ones, whole documents are drawn. Fractions count words.
    Neighbouring words never fall on both sides, as they would if sentences were drawn.
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise bad("validation and test", "be positive fractions that leave something to train on", (validation, test))
    parts: tuple[list[Document], ...] = ([], [], [])
    for document in documents:
        if document.n_words >= long:
            for part, stretch in zip(parts, _cut(document, validation, test)):
                part.append(stretch)
    short = [document for document in documents if document.n_words < long]
    for part, chosen in zip(parts, _draw(short, validation, test, np.random.default_rng(seed))):
        part.extend(chosen)
    for name, part in zip(("train", "validation", "test"), parts):
        if not part:
            raise bad("documents", f"leave some for {name}", f"{len(documents)} documents", "Give more text or other fractions.")
    return Split(*(tuple(part) for part in parts))


def encode_documents(documents: Sequence[Document], tokenizer: Tokenizer) -> list[np.ndarray]:
    """Token ids of every document, (n_tokens,) int64 each, no separators.

    Raises
    ------
    InputError
        If the tokenizer lacks a character or a word; the message begins with the document's name.
    """
    return [encode_document(document, tokenizer) for document in documents]


def encode_document(document: Document, tokenizer: Tokenizer) -> np.ndarray:
    """Token ids of one document, (n_tokens,) int64."""
    try:
        return np.asarray(tokenizer.encode(document.text), dtype=np.int64)
    except InputError as error:
        raise InputError(f"document {document.name}: {error}") from None


def join_documents(ids: Sequence[np.ndarray], separator: int | None) -> np.ndarray:
    """One stream with the separator before every document and after the last: (n_tokens,) int64."""
    if separator is None:
        return np.concatenate(list(ids))
    mark = np.array([separator], dtype=np.int64)
    return np.concatenate([part for document in ids for part in (mark, document)] + [mark])


def documents_hash(documents: Sequence[Document]) -> str:
    """SHA-256 of the texts, in order."""
    return content_hash([document.text for document in documents])


def _named(pattern: str, root: Path) -> tuple[list[str], str]:
    """Files of a pattern, and the pattern of their members where they are archives."""
    filled = os.path.expandvars(pattern)
    if "$" in filled:
        raise bad_file(pattern, "names an environment variable that is not set", "Set it to the folder of your data.")
    path, _, members = filled.partition("::")
    found = sorted(glob.glob(str(root / path)))
    if not found:
        raise bad_file(root / path, "no such file", "Check the path in `files`.")
    return found, members


def _matches(pattern: str, root: Path) -> list[tuple[str, bytes]]:
    found, members = _named(pattern, root)
    if not members:
        return [(Path(name).stem, Path(name).read_bytes()) for name in found]
    contents = []
    for name in found:
        try:
            with zipfile.ZipFile(name) as archive:
                inside = sorted(fnmatch.filter(archive.namelist(), members))
                contents += [(Path(member).stem, archive.read(member)) for member in inside]
        except zipfile.BadZipFile as error:
            raise bad_file(name, f"is not a whole zip archive ({error})", "Fetch it again.") from None
    if not contents:
        raise bad_file(pattern, "the archive holds no such member", "List it with `unzip -l`.")
    return contents


def _decode(name: str, content: bytes, fallback: str | None) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    if fallback is None:
        found = decode_western(content)
        likely = f"give `fallback: {found.code_page}`: it looks like {CODE_PAGES[found.code_page]}" if found else "convert it"
        raise bad_file(name, "is not UTF-8 text", f"Save it as UTF-8, or {likely}.", line=line)
    try:
        text = content.decode(fallback)
    except LookupError:
        raise bad("fallback", "be an encoding that Python knows", fallback, 'For example "cp1252" or "mac-roman".') from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise bad_file(name, f"is neither UTF-8 nor {fallback} text", "Save it as UTF-8.", line=line) from None
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        problem = f"holds the control character {control[0]!r} as {fallback} text"
        raise bad_file(name, problem, "Give another fallback: cp1252 has quotes and letters there.", line=line)
    return text


def _cut(document: Document, validation: float, test: float) -> tuple[Document, Document, Document]:
    """The beginning, the last-but-one and the last stretch, cut between paragraphs or, without those, words."""
    mark = "\n" if document.text.count("\n") >= 100 else " "
    pieces = document.text.split(mark)
    ends = np.cumsum([len(piece.split()) for piece in pieces])
    first = int(np.searchsorted(ends, (1 - validation - test) * ends[-1])) + 1
    second = int(np.searchsorted(ends, (1 - test) * ends[-1])) + 1
    stretches = (pieces[:first], pieces[first:second], pieces[second:])
    train, held, last = (Document(document.name, mark.join(stretch)) for stretch in stretches)
    return train, held, last


def _draw(
    documents: Sequence[Document], validation: float, test: float, rng: np.random.Generator
) -> tuple[list[Document], list[Document], list[Document]]:
    """Whole documents by chance until each held-out part has its share of the words."""
    total = sum(document.n_words for document in documents)
    held: list[list[Document]] = [[], []]
    order = list(rng.permutation(len(documents)))
    for part, share in zip(held, (validation, test)):
        while order and sum(document.n_words for document in part) < share * total:
            part.append(documents[order.pop()])
    return [documents[i] for i in sorted(order)], held[0], held[1]
