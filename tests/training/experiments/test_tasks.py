import os
import zipfile
from pathlib import Path

import pytest

from neurolm.checks import FileError, InputError
from neurolm.lm import BytePairTokenizer, WordTokenizer
from neurolm.training.batches import IGNORED
from neurolm.training.experiments.tasks import CompletionTask, SequenceTask, TokenTask, read_masc, read_movie_reviews

TEXT = "the cat sat on the mat and the dogs barked at unimaginable squirrels"
needs_data = pytest.mark.skipif("NEUROLM_DATA" not in os.environ, reason="NEUROLM_DATA names no folder of data")


@pytest.fixture(scope="module")
def pairs():
    return BytePairTokenizer.train([TEXT] * 2, 280)


def test_a_words_last_token_carries_its_class(pairs):
    words = ("the", "unimaginable", "squirrels")
    batch = TokenTask((words,), (("DT", "JJ", "NNS"),), ("DT", "NNS")).examples(pairs, 1).next_batch()
    spans = pairs.encode_words(words, leading_space=False).spans
    assert spans[1, 1] - spans[1, 0] > 1
    expected = [IGNORED] * batch.targets.shape[1]
    expected[spans[0, 1]], expected[spans[2, 1]] = 0, 1  # one further on, for the start token; JJ is no class
    assert batch.targets[0].tolist() == expected
    assert batch.inputs[0, 0] == pairs.bos_id


def test_long_texts_lose_their_beginning(pairs):
    task = SequenceTask((TEXT, "the cat"), ("long", "short"), ("short", "long"))
    batch = task.examples(pairs, 2, max_tokens=6).batch([0, 1])
    assert batch.inputs.shape == (2, 6)
    assert batch.inputs[0].tolist() == [pairs.bos_id, *pairs.encode(TEXT)[-5:]]
    assert batch.targets.tolist() == [1, 0]
    assert batch.lengths.tolist() == [6, 1 + len(pairs.encode("the cat"))]


def test_only_the_completion_is_a_target(pairs):
    batch = CompletionTask(("the cat",), (" sat on",)).examples(pairs, 1).next_batch()
    prompt, completion = pairs.encode("the cat"), pairs.encode(" sat on")
    assert batch.inputs[0].tolist() == [pairs.bos_id, *prompt, *completion]
    assert batch.targets[0].tolist() == [IGNORED] * len(prompt) + completion + [pairs.eos_id]


def test_impossible_tasks_are_refused(pairs):
    with pytest.raises(InputError, match=r"labels\[0\] must hold one class for each of 2 words"):
        TokenTask((("a", "b"),), (("X",),), ("X",))
    with pytest.raises(InputError, match="same length"):
        SequenceTask(("a",), (), ("x",))
    with pytest.raises(InputError, match="fit in 4 tokens together"):
        CompletionTask((TEXT,), ("x",)).examples(pairs, 1, max_tokens=4)
    with pytest.raises(InputError, match="vocabulary"):
        TokenTask((("zebra",),), (("NN",),), ("NN",)).examples(WordTokenizer(["a"], unknown=None), 1)


def test_foreign_archives_are_refused(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"nothing")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a/b.txt", "text")
    for read in (read_masc, read_movie_reviews):
        with pytest.raises(FileError, match="not a whole zip"):
            read(tmp_path / "bad.zip")
        with pytest.raises(FileError, match="holds no"):
            read(tmp_path / "other.zip")
        with pytest.raises(FileError, match="no such file"):
            read(tmp_path / "none.zip")


@needs_data
def test_masc_and_the_reviews_are_read_whole():
    corpora = Path(os.environ["NEUROLM_DATA"]) / "corpora"
    masc = read_masc(corpora / "masc_tagged.zip")
    first = next(iter(masc.values()))
    assert len(masc) == 392
    assert sum(len(words) for task in masc.values() for words in task.sentences) == 592_447
    assert {"NN", "VBD", "DT", "JJ"} <= set(first.classes)
    reviews = read_movie_reviews(corpora / "movie_reviews.zip")
    assert len(reviews) == 2000
    assert reviews.labels.count("pos") == 1000
    assert reviews.texts[0].startswith("plot : two teen couples go to a church party")
