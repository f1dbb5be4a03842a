import json
import math

import numpy as np
import pytest
import torch

from neurolm.checks import FileError, InputError
from neurolm.lm.lstm import LSTM
from neurolm.lm.rnn import RNN
from neurolm.lm.transformer import Transformer
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.training.batches import ContiguousStreams, DocumentStreams, RandomWindows
from neurolm.training.loop import CHECKPOINT, Trainer
from neurolm.training.objectives import NextToken
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings

TOKENIZER = WordTokenizer([f"w{i}" for i in range(18)])
IDS = np.random.default_rng(0).integers(0, 18, 400)
PATTERN = np.tile(np.arange(1, 11), 60)


def lstm(**settings):
    return LSTM(TOKENIZER, 12, 1, **settings)


def test_training_learns_a_pattern():
    lm = lstm()
    optimizer = OptimizerSettings(lr=0.05, warmup=5, schedule="cosine")
    result = Trainer(lm, ContiguousStreams(PATTERN, 8, 10), TrainerSettings(150, optimizer, log_every=10)).fit()
    assert result.log[0]["loss"] > 1.5
    assert result.log[-1]["loss"] < 0.1
    rows = torch.tensor([[4, 5, 6, 7]])
    assert lm.step(rows).logits[0].argmax(-1).tolist() == [5, 6, 7, 8]


def first_gradient(source, batch_index, *, lm=None):
    """The gradient of one batch, from an optimiser that does not move."""
    lm = lm or lstm()
    settings = TrainerSettings(batch_index + 1, OptimizerSettings(kind="sgd", lr=1e-30), clip=None)
    Trainer(lm, source, settings).fit()
    return {name: parameter.grad.clone() for name, parameter in lm.named_parameters()}


def test_the_state_is_carried_to_the_next_segment_and_the_gradient_is_not():
    ids = torch.as_tensor(IDS)
    found = first_gradient(ContiguousStreams(IDS, 1, 20), 1)
    lm = lstm()
    with torch.no_grad():
        state = lm.step(ids[None, :20]).state
    logits = lm.step(ids[None, 20:40], state).logits
    torch.nn.functional.cross_entropy(logits[0], ids[21:41]).backward()
    for name, parameter in lm.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-8)


def test_fresh_rows_begin_with_a_blank_state_and_others_go_on():
    documents = [np.arange(1, 6), np.arange(6, 16)]
    source = DocumentStreams(documents, 2, 5, separator=0)
    source.restore(source.position() | {"reading": [[0, 0], [1, 0]], "waiting": [0]})
    found = first_gradient(source, 1)  # row 0 has begun another document, row 1 is in the middle of its own
    lm = lstm()
    again = DocumentStreams(documents, 2, 5, separator=0)
    again.restore(again.position() | {"reading": [[0, 0], [1, 0]], "waiting": [0]})
    first, second = again.next_batch(), again.next_batch()
    assert second.fresh.tolist() == [True, False]
    with torch.no_grad():
        state = lm.step(first.inputs[1:]).state
    logits = torch.cat([lm.step(second.inputs[:1]).logits, lm.step(second.inputs[1:], state).logits])
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), second.targets.flatten()).backward()
    for name, parameter in lm.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("source", [ContiguousStreams, RandomWindows])
def test_accumulated_parts_give_the_gradient_of_the_whole_batch(source):
    losses = []
    for accumulate in (1, 2, 4):
        settings = TrainerSettings(12, OptimizerSettings(lr=0.01), accumulate=accumulate, log_every=1)
        losses.append([line["loss"] for line in Trainer(lstm(), source(IDS, 4, 10), settings).fit().log])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)


def test_transformers_train_on_windows():
    lm = Transformer(TOKENIZER, 16, 1, 2, 16)
    result = Trainer(lm, RandomWindows(PATTERN, 8, 16), TrainerSettings(80, OptimizerSettings(lr=0.01))).fit()
    assert result.log[-1]["loss"] < 0.5


def test_the_best_weights_are_kept_and_training_stops_early():
    lm = lstm()
    losses = iter([3.0, 2.0, 2.5, 2.4, 2.1, 1.0])
    weights = []

    def validate():
        assert not lm.training
        weights.append(lm.embedding.weight.detach().clone())
        return next(losses)

    settings = TrainerSettings(60, validate_every=5, patience=3)
    result = Trainer(lm, RandomWindows(IDS, 4, 10), settings, validate=validate).fit()
    assert (result.step, result.best_step, result.best_loss, result.stopped_early) == (25, 10, 2.0, True)
    assert torch.equal(lm.embedding.weight, weights[1])
    assert result.validations == [(5, 3.0), (10, 2.0), (15, 2.5), (20, 2.4), (25, 2.1)]


def test_averaged_sgd_validates_with_the_average_and_trains_without():
    lm = lstm()
    seen = []

    def validate():
        seen.append(lm.embedding.weight.detach().clone())
        return [3.0, 2.0, 2.5, 2.6][len(seen) - 1]

    settings = TrainerSettings(20, OptimizerSettings(kind="asgd", lr=0.5, patience=1), validate_every=5, clip=None)
    trainer = Trainer(lm, RandomWindows(IDS, 4, 10), settings, validate=validate)
    trainer.fit(until=15)
    trained = [lm.embedding.weight.detach().clone()]
    for step in range(16, 21):
        trainer.fit(until=step)
        if step < 20:
            trained.append(lm.embedding.weight.detach().clone())
    assert torch.equal(seen[2], trained[0]), "averaging began after the third validation"
    mean_of_four = torch.stack(trained[1:]).mean(0)
    last = 5 * seen[3] - 4 * mean_of_four
    assert (last - trained[-1]).abs().max() < 0.1, "five steps were averaged, none before the trigger"
    assert not torch.allclose(seen[3], trained[-1], atol=1e-6)


def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path):
    class Poisoned(NextToken):
        calls = 0

        def __call__(self, batch, state):
            loss = super().__call__(batch, state)
            self.calls += 1
            return type(loss)(loss.total * math.nan, loss.error * math.nan, loss.state) if self.calls == 8 else loss

    lm = lstm()
    settings = TrainerSettings(20, checkpoint_every=5)
    trainer = Trainer(Poisoned(lm), RandomWindows(IDS, 4, 10), settings, folder=tmp_path)
    with pytest.raises(InputError, match=r"loss must stay finite; got nan at step 8\. The last good checkpoint is .*safetensors"):
        trainer.fit()
    kept = Trainer(lstm(), RandomWindows(IDS, 4, 10), settings, folder=tmp_path)
    kept.fit(until=5)
    assert all(torch.isfinite(parameter).all() for parameter in kept.module.parameters())


def test_weights_that_are_not_finite_never_reach_the_checkpoint(tmp_path):
    lm = lstm()
    trainer = Trainer(lm, RandomWindows(IDS, 4, 10), TrainerSettings(2), folder=tmp_path)
    trainer.fit()
    before = (tmp_path / CHECKPOINT).read_bytes()
    with torch.no_grad():
        lm.head_bias[3] = math.inf
    with pytest.raises(InputError, match=r"head_bias must stay finite; got NaN or infinity after step 2"):
        trainer.save()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_the_log_says_what_happened(tmp_path):
    notes = []
    settings = TrainerSettings(10, log_every=5, validate_every=5)
    trainer = Trainer(lstm(), RandomWindows(IDS, 4, 10), settings, folder=tmp_path, validate=lambda: 2.5)
    result = trainer.fit(lambda done, total, unit="", note="": notes.append((done, total, unit, note)))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == result.log
    assert [line["step"] for line in lines] == [5, 10]
    assert lines[0].keys() == {"step", "targets", "loss", "lr", "grad_norm", "validation", "per_s"}
    assert lines[1]["targets"] == 10 * 4 * 10
    assert notes[0][:3] == (5, 10, "steps")
    assert "tokens/s" in notes[0][3]


def test_training_leaves_the_callers_random_numbers_and_mode_alone():
    lm = lstm().eval()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(lm, RandomWindows(IDS, 4, 10), TrainerSettings(3)).fit()
    assert torch.equal(torch.rand(3), expected)
    assert not lm.training


def test_a_run_of_other_settings_data_or_architecture_is_not_continued(tmp_path):
    settings = TrainerSettings(4, OptimizerSettings(lr=0.01))
    Trainer(lstm(), RandomWindows(IDS, 4, 10), settings, folder=tmp_path).fit()

    def go_on(lm=None, ids=IDS, lr=0.01):
        settings = TrainerSettings(8, OptimizerSettings(lr=lr))
        return Trainer(lm or lstm(), RandomWindows(ids, 4, 10), settings, folder=tmp_path).fit()

    with pytest.raises(FileError, match="other settings"):
        go_on(lr=0.02)
    with pytest.raises(FileError, match=r"other settings \(data"):
        go_on(ids=IDS[1:])
    with pytest.raises(FileError, match="of another architecture"):
        go_on(lm=RNN(TOKENIZER, 12, 1))
    with pytest.raises(FileError, match=r"another architecture \(.*\(18, 12\)|another architecture"):
        go_on(lm=LSTM(TOKENIZER, 14, 1))
    assert go_on().step == 8, "more steps of the same run are no other run"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"n_steps": 1, "clip": 0}, "clip must be above 0"),
        ({"n_steps": 1, "log_every": -1}, "at least 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainerSettings(**settings)


def test_a_batch_that_cannot_be_cut_evenly_is_refused():
    with pytest.raises(InputError, match="batch_size must be a multiple"):
        Trainer(lstm(), RandomWindows(IDS, 4, 10), TrainerSettings(1, accumulate=3))
