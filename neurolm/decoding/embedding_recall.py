"""How much of what was heard is found, in meaning, in what was decoded: BERTScore recall with any encoder.

For every unit of the heard text the largest cosine similarity with any unit of the decoded text,
averaged with weights that make rare units count more (idf over a list of sentences that is given from
outside). It is BERTScore only with the encoder and layer that BERTScore names; with any other
encoder the label says that it is not.

References
----------
Zhang, Kishore, Wu, Weinberger & Artzi (2020), BERTScore: evaluating text generation with BERT, ICLR.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from neurolm.checks import bad
from neurolm.features.static_embeddings import StaticEmbeddings
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.pretrained import hub_folder
from neurolm.stimuli.transcript import Transcript

Unit = int | str
BERTSCORE_ENCODER = ("roberta-large", 17)  # BERTScore's own choice for English


@dataclass(frozen=True, eq=False)
class Embedded:
    """One text in units.

    units : token ids, or words
    vectors : (n_units, n_dimensions)
    words : (n_units,) index of the word that each unit belongs to
    special : (n_special, n_dimensions) vectors of the tokens around the text, which BERTScore keeps in the
        candidate and weighs 0 in the reference; none by default
    """

    units: tuple[Unit, ...]
    vectors: np.ndarray
    words: np.ndarray
    special: np.ndarray | None = None

    def unit_length(self) -> Embedded:
        """Vectors divided by their norm; zero vectors stay zero."""
        special = None if self.special is None else _unit_length(self.special)
        return Embedded(self.units, _unit_length(self.vectors), self.words, special)

    def word_vectors(self, n_words: int) -> np.ndarray:
        """(n_words, n_dimensions): the mean over each word's units, of unit length; zero for a word without units."""
        total = np.zeros((n_words, self.vectors.shape[1]))
        np.add.at(total, self.words, self.vectors)
        return _unit_length(total)


class Encoder(Protocol):
    """Turns texts into units (tokens or words) with a vector each.

    name : says model and layer
    is_bertscore : True for the encoder that BERTScore names
    """

    name: str
    is_bertscore: bool

    def embed(self, texts: Sequence[Sequence[str]]) -> list[Embedded]: ...


class EmbeddingRecall:
    """Recall of heard units by embeddings; a `TextScore`.

    Parameters
    ----------
    encoder : Encoder
    idf : mapping of unit to weight, optional
        From `idf_weights`; units that it lacks weigh as if never seen. None weighs all alike.
    """

    is_error = False

    def __init__(self, encoder: Encoder, idf: Mapping[Unit, float] | None = None) -> None:
        self.encoder, self.idf = encoder, idf
        self.name = "bertscore" if encoder.is_bertscore else "embedding_recall"
        weights = "external idf" if idf is not None else "no idf"
        what = "BERTScore recall" if encoder.is_bertscore else "embedding recall, not BERTScore"
        self.label = f"{what} ({encoder.name}, {weights})"
        self._known: dict[str, Embedded] = {}

    def __call__(self, heard: Sequence[Sequence[str]], decoded: Sequence[Sequence[str]]) -> np.ndarray:
        """(n_texts,): NaN where nothing was heard, 0 where nothing was decoded."""
        self._embed([*heard, *decoded])
        return np.array([self._recall(" ".join(a), " ".join(b)) for a, b in zip(heard, decoded, strict=True)])

    def _recall(self, heard: str, decoded: str) -> float:
        if not heard:
            return float("nan")
        own = self._known[heard]
        weights = np.array([self._weight(unit) for unit in own.units])
        if not weights.sum() > 0:
            return float("nan")
        if not decoded:
            return 0.0
        other = self._known[decoded]
        candidates = other.vectors if other.special is None else np.concatenate([other.vectors, other.special])
        best = (own.vectors @ candidates.T).max(axis=1)
        return float(best @ weights / weights.sum())

    def _weight(self, unit: Unit) -> float:
        return 1.0 if self.idf is None else self.idf.get(unit, self.idf.get(UNSEEN, 1.0))

    def _embed(self, texts: Iterable[Sequence[str]]) -> None:
        """Windows overlap between calls (every null has the same heard text): each text is embedded once."""
        new = list(dict.fromkeys(tuple(text) for text in texts if text and " ".join(text) not in self._known))
        for text, embedded in zip(new, self.encoder.embed(new) if new else []):
            self._known[" ".join(text)] = embedded.unit_length()


UNSEEN = "<unseen>"


def idf_weights(encoder: Encoder, sentences: Iterable[Sequence[str]]) -> dict[Unit, float]:
    """Weight of every unit: log((n + 1) / (sentences that hold it + 1)), as BERTScore has it.

    Take the sentences from outside: from training stories, never from the texts that are scored.
    """
    texts = [tuple(sentence) for sentence in sentences if len(sentence)]
    if not texts:
        raise bad("sentences", "hold at least one sentence with words", "none")
    counts = Counter(unit for embedded in encoder.embed(texts) for unit in set(embedded.units))
    weights: dict[Unit, float] = {unit: float(np.log((len(texts) + 1) / (n + 1))) for unit, n in counts.items()}
    return weights | {UNSEEN: float(np.log(len(texts) + 1))}


class LanguageModelEncoder:
    """Hidden states of a language model as embeddings: each token sees the words before it.

    Parameters
    ----------
    lm : LanguageModel
    layer : int
    """

    is_bertscore = False

    def __init__(self, lm: LanguageModel, layer: int) -> None:
        self.lm, self.layer = lm, layer
        self.name = f"{lm.name}, layer {layer}"

    def embed(self, texts: Sequence[Sequence[str]]) -> list[Embedded]:
        tokenizer = self.lm.tokenizer
        coded = [tokenizer.encode_words(text) for text in texts]
        ids = [one.ids for one in coded]
        head = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
        out: dict[int, Embedded] = {}
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = np.zeros((len(rows), len(head) + max(len(ids[i]) for i in rows)), dtype=np.int64)
            for row, i in zip(batch, rows):
                row[: len(head) + len(ids[i])] = [*head, *ids[i]]
            with torch.inference_mode():
                hidden = self.lm.step(torch.as_tensor(batch, device=self.lm.device), layers=[self.layer], logits=False)
            values = hidden.hidden[self.layer]
            assert values is not None
            for row, i in zip(values.float().cpu().numpy(), rows):
                words = np.repeat(np.arange(len(coded[i].spans)), np.diff(coded[i].spans, axis=1)[:, 0])
                out[i] = Embedded(tuple(ids[i].tolist()), row[len(head) : len(head) + len(ids[i])], words)
        return [out[i] for i in range(len(ids))]


class StaticEncoder:
    """Word vectors from a file, without context; words that it lacks match nothing.

    Parameters
    ----------
    vectors : StaticEmbeddings
        With `missing=0.0` (or another rule).
    """

    is_bertscore = False

    def __init__(self, vectors: StaticEmbeddings) -> None:
        self.vectors = vectors
        self.name = f"word vectors {vectors.path.name}"

    def embed(self, texts: Sequence[Sequence[str]]) -> list[Embedded]:
        words = sorted({word for text in texts for word in text})
        times = np.arange(len(words), dtype=np.float64)
        rows = dict(zip(words, self.vectors.extract(Transcript(tuple(words), times, times)).values))
        return [Embedded(tuple(text), np.stack([rows[word] for word in text]), np.arange(len(text))) for text in texts]


class TransformersEncoder:
    """An encoder of transformers, both directions of context: what BERTScore is defined with.

    Parameters
    ----------
    name_or_path : str
        "roberta-large" (from the hub or its cache), or a folder.
    layer : int
        Hidden state to use; BERTScore takes 17 of roberta-large.
    """

    def __init__(
        self, name_or_path: str = BERTSCORE_ENCODER[0], layer: int = BERTSCORE_ENCODER[1], *, device: str = "cpu"
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            folder = name_or_path if Path(name_or_path).is_dir() else hub_folder(name_or_path)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model: Any = (
                AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True, trust_remote_code=False)
                .to(device)
                .eval()
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0].split("; got ")[0]
            raise bad(
                "encoder", "be available", f"{name_or_path} ({reason})", "Give a local folder or another encoder."
            ) from None
        self.layer, self.name = layer, f"{name_or_path}, layer {layer}"
        self.is_bertscore = (str(name_or_path).split("/")[-1], layer) == BERTSCORE_ENCODER

    def embed(self, texts: Sequence[Sequence[str]]) -> list[Embedded]:
        out: list[Embedded] = []
        special = set(self._tokenizer.all_special_ids)
        for start in range(0, len(texts), 32):
            lines = [" ".join(text) for text in texts[start : start + 32]]
            coded = self._tokenizer(lines, return_tensors="pt", padding=True, truncation=True, return_offsets_mapping=True)
            places = coded.pop("offset_mapping").tolist()
            with torch.inference_mode():
                states = self._model(**coded.to(self._model.device), output_hidden_states=True).hidden_states[self.layer]
            masks = coded["attention_mask"].tolist()
            rows = zip(lines, coded["input_ids"].tolist(), states.float().cpu().numpy(), places, masks)
            for line, ids, values, place, mask in rows:
                keep = [i for i, token in enumerate(ids) if token not in special]
                words = [line[: max(place[i][1] - 1, 0)].count(" ") for i in keep]
                around = [i for i, (token, real) in enumerate(zip(ids, mask)) if token in special and real]
                out.append(Embedded(tuple(ids[i] for i in keep), values[keep], np.array(words, dtype=np.int64), values[around]))
        return out


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
