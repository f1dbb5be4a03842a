"""Does pretraining help on real text? Parts of speech on MASC, sentiment on the movie reviews.

Training and test part are whole documents of the same archives, drawn with a seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, check_choice
from neurolm.lm.language_model import LanguageModel
from neurolm.progress import Progress, silent
from neurolm.training.evaluate import Text
from neurolm.training.tasks import SequenceTask, TokenTask, read_masc, read_movie_reviews
from neurolm.training.transfer import PretrainingGain, pretraining_gain

ARCHIVES = {"parts-of-speech": "masc_tagged.zip", "sentiment": "movie_reviews.zip"}


@dataclass(frozen=True)
class TransferStudy:
    """What came out, and how well the commonest class alone would do.

    task : name
    n_train, n_test : sentences or texts
    baseline : share of the commonest class of the training part in the test part
    gain : accuracies, seed by seed
    """

    task: str
    n_train: int
    n_test: int
    baseline: float
    gain: PretrainingGain


def read_study(
    task: str, corpora: str | Path, *, n_train: int, n_test: int, seed: int = 0
) -> tuple[TokenTask | SequenceTask, TokenTask | SequenceTask]:
    """Training and test part of a task.

    Parameters
    ----------
    task : {"parts-of-speech", "sentiment"}
    corpora : path
        Folder with NLTK's `masc_tagged.zip` and `movie_reviews.zip`.
    n_train, n_test : int
        Documents of each part.
    seed : int
        Which documents.
    """
    check_choice("task", task, ARCHIVES)
    archive = Path(corpora) / ARCHIVES[task]
    documents = list(read_masc(archive).values()) if task == "parts-of-speech" else read_movie_reviews(archive)
    if n_train < 1 or n_test < 1 or n_train + n_test > len(documents):
        raise bad("n_train and n_test", f"be positive and share {len(documents)} documents", (n_train, n_test))
    order = np.random.default_rng(seed).permutation(len(documents)).tolist()
    parts = order[:n_train], order[n_train : n_train + n_test]
    if isinstance(documents, SequenceTask):
        return documents.part(parts[0]), documents.part(parts[1])
    return _join([documents[i] for i in parts[0]]), _join([documents[i] for i in parts[1]])


def transfer_study(
    lm: LanguageModel,
    task: str,
    corpora: str | Path,
    *,
    n_train: int,
    n_test: int,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    remember: Text | Sequence[Text] | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> TransferStudy:
    """Fine-tune pretrained and fresh weights at equal budget; see `read_study` and `pretraining_gain`."""
    train, test = read_study(task, corpora, n_train=n_train, n_test=n_test)
    gain = pretraining_gain(lm, train, test, seeds, remember=remember, progress=progress, **settings)
    return TransferStudy(task, len(train), len(test), commonest_share(train, test), gain)


def commonest_share(train: TokenTask | SequenceTask, test: TokenTask | SequenceTask) -> float:
    """Accuracy of answering with the training part's commonest class; classes that are not learned do not count."""
    counts = Counter(label for label in _labels(train) if label in train.classes)
    commonest = counts.most_common(1)[0][0]
    asked = [label for label in _labels(test) if label in test.classes]
    return sum(label == commonest for label in asked) / max(len(asked), 1)


def _labels(task: TokenTask | SequenceTask) -> list[str]:
    return list(task.labels) if isinstance(task, SequenceTask) else [label for line in task.labels for label in line]


def _join(tasks: Sequence[TokenTask]) -> TokenTask:
    sentences = tuple(line for task in tasks for line in task.sentences)
    labels = tuple(line for task in tasks for line in task.labels)
    return TokenTask(sentences, labels, tasks[0].classes)
