import json

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.training.batches import IGNORED, ContiguousStreams, DocumentStreams, Examples, RandomWindows

IDS = np.arange(1, 102)
DOCUMENTS = [np.arange(10 * k + 1, 10 * k + 1 + n) for k, n in enumerate([7, 2, 5, 9, 1])]


def sources():
    return {
        "contiguous": lambda: ContiguousStreams(IDS, 4, 6),
        "jittered": lambda: ContiguousStreams(np.arange(400), 4, 20, jitter=True, seed=3),
        "reset": lambda: ContiguousStreams(np.arange(400), 4, 20, reset=0.3, seed=4),
        "documents": lambda: DocumentStreams(DOCUMENTS, 2, 3, separator=0),
        "windows": lambda: RandomWindows(IDS, 4, 6, seed=1),
        "examples": lambda: Examples(DOCUMENTS, [0, 1, 0, 1, 1], 2, seed=2),
    }


def test_streams_carry_on_where_the_last_segment_ended():
    source = ContiguousStreams(IDS, 4, 6)  # 4 streams of 25 tokens
    batches = [source.next_batch() for _ in range(5)]
    read = torch.cat([batch.inputs for batch in batches], dim=1)
    assert read.tolist() == np.arange(1, 101).reshape(4, 25).tolist()
    for batch in batches:
        torch.testing.assert_close(batch.targets, batch.inputs + 1)
    assert [bool(batch.fresh.all()) for batch in batches] == [True, False, False, False, False]
    assert source.next_batch().fresh.all(), "a new epoch begins with a blank state"


def test_streams_are_reset_as_often_as_asked():
    source = ContiguousStreams(np.arange(20_001), 50, 4, reset=0.2)
    fresh = [source.next_batch().fresh for _ in range(90)]
    assert fresh[0].all()
    assert torch.stack(fresh[1:]).float().mean() == pytest.approx(0.2, abs=0.02)


def test_document_streams_read_whole_documents_each_from_a_blank_state():
    source = DocumentStreams(DOCUMENTS, 2, 3, separator=0)
    begun = []  # (inputs, targets) of every document, in the order in which they began
    reading = [None, None]
    for _ in range(60):
        batch = source.next_batch()
        for row in range(2):
            if batch.fresh[row]:
                reading[row] = ([], [])
                begun.append(reading[row])
            real = batch.targets[row] != IGNORED
            reading[row][0].extend(batch.inputs[row][real].tolist())
            reading[row][1].extend(batch.targets[row][real].tolist())
    whole = sorted(document.tolist() for document in DOCUMENTS)
    for epoch in range(4):
        documents = begun[5 * epoch : 5 * epoch + 5]
        assert sorted(targets for _, targets in documents) == whole, "each document once per epoch, whole"
        assert all(inputs == [0, *targets[:-1]] for inputs, targets in documents)


def test_windows_are_stretches_of_the_text():
    batch = RandomWindows(IDS, 64, 6).next_batch()
    torch.testing.assert_close(batch.targets, batch.inputs + 1)
    assert batch.fresh is None
    starts = set(RandomWindows(IDS, 20_000, 6).next_batch().inputs[:, 0].tolist())
    assert starts == set(range(1, 96)), "every window that fits can be drawn"


def test_examples_are_each_read_once_per_epoch_and_padded_on_the_right():
    source = Examples(DOCUMENTS, [document + 100 for document in DOCUMENTS], 5, padding=0)
    for _ in range(2):
        batch = source.next_batch()
        rows = sorted(tuple(t for t in row if t) for row in batch.inputs.tolist())
        assert rows == sorted(tuple(document.tolist()) for document in DOCUMENTS)
        assert ((batch.targets == IGNORED) == (batch.inputs == 0)).all()


@pytest.mark.parametrize("kind", sources())
def test_batches_go_on_exactly_from_a_saved_position(kind):
    source = sources()[kind]()
    for _ in range(7):
        source.next_batch()
    position = json.loads(json.dumps(source.position()))
    expected = [source.next_batch() for _ in range(12)]
    other = sources()[kind]()
    other.restore(position)
    for batch in expected:
        again = other.next_batch()
        assert torch.equal(again.inputs, batch.inputs)
        assert torch.equal(again.targets, batch.targets)
        assert again.fresh is batch.fresh or torch.equal(again.fresh, batch.fresh)
        assert again.lr_scale == batch.lr_scale
    assert other.data_hash() == source.data_hash()


def test_jittered_segments_scale_the_learning_rate_by_their_length():
    source = ContiguousStreams(np.arange(20_001), 2, 70, jitter=True)
    batches = [source.next_batch() for _ in range(140)]
    lengths = [batch.inputs.shape[1] for batch in batches[:-1] if not batch.fresh.all()]
    assert 60 < np.mean(lengths) < 72
    assert np.mean(np.array(lengths) < 50) == pytest.approx(0.05, abs=0.05)
    assert batches[3].lr_scale == pytest.approx(batches[3].inputs.shape[1] / 70)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContiguousStreams(IDS, 200, 6), "hold more than batch_size tokens"),
        (lambda: ContiguousStreams(IDS, 0, 6), "batch_size must be at least 1"),
        (lambda: RandomWindows(IDS, 4, 101), "longer than one window"),
        (lambda: DocumentStreams([], 2, 3, separator=0), "each hold a token"),
        (lambda: Examples([], [], 2), "at least one"),
    ],
)
def test_data_that_cannot_fill_a_batch_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
