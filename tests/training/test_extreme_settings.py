"""Extreme settings of a training run: each is carried out or refused with one line, by the same checks as `--dry-run`."""

import copy
import tempfile

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from neurolm.checks import InputError
from neurolm.training.config import TrainConfig
from neurolm.training.recipe import prepare_training

from ..error_lines import one_line

TEXT = "one two three four five six seven eight nine ten\n" * 30
RECURRENT = {"width": 4, "n_layers": 1, "embedding_width": 4}
MODELS = {
    "LSTM": RECURRENT | {"dropout": {"embedding": 0.1, "inputs": 0.1, "hidden": 0.1, "outputs": 0.1, "weights": 0.1}},
    "RNN": RECURRENT,
    "MultiTimescaleLSTM": RECURRENT,
    "Transformer": {"width": 8, "n_layers": 1, "n_heads": 2, "max_context": 16, "dropout": 0.1},
    "FeedForward": {"width": 4, "n_layers": 1, "window": 2, "dropout": 0.1},
}
NUMBERS = st.sampled_from(
    [-1, 0, 1, 2, 3, 0.5, 1.0, 1.5, -0.1, 1e-45, 1e-30, 1e30, 1e308, float("inf"), float("nan"), 2**31, 2**32]
)
EXTREME = NUMBERS | st.sampled_from([2**63, 10**30, True, None, "0.1", [], {}])
PLACES = [
    ("trainer", "optimizer", "lr"), ("trainer", "optimizer", "betas"), ("trainer", "optimizer", "weight_decay"),
    ("trainer", "optimizer", "min_lr"), ("trainer", "optimizer", "warmup"), ("trainer", "optimizer", "momentum"),
    ("trainer", "optimizer", "patience"), ("trainer", "clip"), ("trainer", "seed"), ("trainer", "patience"),
    ("batches", "reset"), ("batches", "seed"), ("corpus", "seed"), ("corpus", "validation"), ("corpus", "test"), ("corpus", "long"),
    ("activation",), ("temporal_activation",), ("embedding_scale",),
]  # fmt: skip


def config_of(folder, kind):
    return {
        "name": "tiny",
        "corpus": {"files": [str(folder / "a.txt")], "validation": 0.2, "test": 0.2, "long": 500},
        "tokenizer": {"kind": "words"},
        "model": {"kind": kind, "settings": MODELS[kind]},
        "batches": {"batch_size": 2, "length": 8},
        "trainer": {"n_steps": 2, "optimizer": {"kind": "adamw"}},
        "baseline_order": 0,
    }


def with_value(values, place, value):
    values = copy.deepcopy(values)
    at = values
    for key in place[:-1]:
        at = at.setdefault(key, {})
    at[place[-1]] = value
    return values


def model_places(kind):
    own = MODELS[kind]
    dropout = own.get("dropout")
    inner = [("dropout", key) for key in dropout] if isinstance(dropout, dict) else [("dropout",)] if dropout else []
    return [("model", "settings", *way) for way in [*inner, *((key,) for key in own if key != "dropout"), ("unknown",)]]


def carried_out_or_refused(folder, values):
    """Everything that a dry run does, then the steps themselves: an error of ours may come from the first alone."""
    try:
        config = TrainConfig.from_dict(values)
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            trainer = prepare_training(config, fresh)[2]
            trainer.folder = None  # the steps alone, no checkpoint
    except InputError as error:
        one_line(error)
        return
    try:
        trainer.fit()
    except InputError as error:
        one_line(error, "finite")  # a loss that diverges cannot be known before


QUICK = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("extreme")
    (place / "a.txt").write_text(TEXT * 2)
    return place


@pytest.mark.parametrize("kind", MODELS)
@QUICK
@given(data=st.data())
def test_an_extreme_setting_of_training_is_carried_out_or_refused_before_the_first_step(kind, data, folder):
    prepare_training(TrainConfig.from_dict(config_of(folder, kind)), folder / "out")  # without the extreme value it trains
    place = data.draw(st.sampled_from(PLACES + model_places(kind) * 3))
    value = data.draw(st.lists(EXTREME, min_size=1, max_size=3) if place[-1] == "betas" else EXTREME)
    if place[:2] == ("model", "settings"):
        assume(not isinstance(value, int | float) or not 1e6 < abs(value) < 2**60)  # would take gigabytes
    carried_out_or_refused(folder, with_value(config_of(folder, kind), place, value))
