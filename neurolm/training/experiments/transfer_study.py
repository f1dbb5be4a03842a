"""Does pretraining help on real text? Parts of speech on MASC, sentiment on the movie reviews.

Training, validation and test part are whole documents of the same archives, drawn with a seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, check_choice
from neurolm.lm.language_model import LanguageModel
from neurolm.progress import Progress, silent
from neurolm.training.evaluate import Text
from neurolm.training.experiments.tasks import SequenceTask, TokenTask, read_masc, read_movie_reviews
from neurolm.training.experiments.transfer import PretrainingGain, pretraining_gain

ARCHIVES = {"parts-of-speech": "masc_tagged.zip", "sentiment": "movie_reviews.zip"}


@dataclass(frozen=True)
class TransferStudy:
    """What came out, and how well the commonest class alone would do.

    task : name
    n_train, n_validation, n_test : sentences or texts
    baseline : share of the commonest class of the training part in the test part
    gain : accuracies, seed by seed
    """

    task: str
    n_train: int
    n_validation: int
    n_test: int
    baseline: float
    gain: PretrainingGain


def read_study(
    task: str, corpora: str | Path, *, n_train: int, n_test: int, n_validation: int = 0, seed: int = 0
) -> tuple[TokenTask | SequenceTask, ...]:
    """Training, validation and test part of a task.

    Parameters
    ----------
    task : {"parts-of-speech", "sentiment"}
    corpora : path
        Folder with NLTK's `masc_tagged.zip` and `movie_reviews.zip`.
    n_train, n_test, n_validation : int
        Documents of each part.
    seed : int
        Which documents.
    """
    check_choice("task", task, ARCHIVES)
    archive = Path(corpora) / ARCHIVES[task]
    documents = list(read_masc(archive).values()) if task == "parts-of-speech" else read_movie_reviews(archive)
    if n_train < 1 or n_test < 1 or n_validation < 0 or n_train + n_validation + n_test > len(documents):
        problem = f"share {len(documents)} documents, with some to train and some to test"
        raise bad("n_train, n_validation and n_test", problem, (n_train, n_validation, n_test))
    order = np.random.default_rng(seed).permutation(len(documents)).tolist()
    ends = np.cumsum([0, n_train, n_validation, n_test]).tolist()
    parts = [order[first:last] for first, last in pairwise(ends)]
    if isinstance(documents, SequenceTask):
        return tuple(documents.part(part) for part in parts)
    return tuple(_join([documents[i] for i in part], documents[0].classes) for part in parts)


def transfer_study(
    lm: LanguageModel,
    task: str,
    corpora: str | Path,
    *,
    n_train: int,
    n_test: int,
    n_validation: int = 0,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    remember: Text | Sequence[Text] | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> TransferStudy:
    """Fine-tune pretrained and fresh weights at equal budget; see `read_study` and `pretraining_gain`."""
    train, validation, test = read_study(task, corpora, n_train=n_train, n_validation=n_validation, n_test=n_test)
    chosen_on = validation if n_validation else None
    gain = pretraining_gain(lm, train, test, seeds, validation=chosen_on, remember=remember, progress=progress, **settings)
    return TransferStudy(task, len(train), len(validation), len(test), commonest_share(train, test), gain)


def commonest_share(train: TokenTask | SequenceTask, test: TokenTask | SequenceTask) -> float:
    """Accuracy of answering with the training part's commonest class; classes that are not learned do not count."""
    counts = Counter(label for label in _labels(train) if label in train.classes)
    commonest = counts.most_common(1)[0][0]
    asked = [label for label in _labels(test) if label in test.classes]
    return sum(label == commonest for label in asked) / max(len(asked), 1)


def _labels(task: TokenTask | SequenceTask) -> list[str]:
    return list(task.labels) if isinstance(task, SequenceTask) else [label for line in task.labels for label in line]


def _join(tasks: Sequence[TokenTask], classes: tuple[str, ...]) -> TokenTask:
    sentences = tuple(line for task in tasks for line in task.sentences)
    labels = tuple(line for task in tasks for line in task.labels)
    return TokenTask(sentences, labels, classes)
