import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.training.batches import IGNORED
from neurolm.training.experiments.recall import BLANK, CHANCE, MODELS, NAMES, TOKENIZER, RecallBatches, recall_at_lag


def test_a_row_is_a_name_then_words_then_the_blank_that_asks_for_it():
    batch = RecallBatches(7, 50).next_batch()
    assert batch.inputs.shape == (50, 9)
    assert (batch.inputs[:, -1] == TOKENIZER.encode(BLANK)[0]).all()
    assert (batch.inputs[:, 0] < len(NAMES)).all()
    assert (batch.inputs[:, 1:-1] >= len(NAMES)).all(), "no word between gives the name away"
    assert (batch.targets[:, -1] == batch.inputs[:, 0]).all()
    assert (batch.targets[:, :-1] == IGNORED).all()


def test_memory_orders_the_models_where_they_part():
    near = recall_at_lag(("RNN", "LSTM"), (10,), (0,), n_steps=350)
    assert near.mean("RNN", 10) < 0.2
    assert near.mean("LSTM", 10) > 0.9
    far = recall_at_lag(("LSTM", "MT-LSTM", "transformer"), (18,), (0,), n_steps=300)
    assert far.mean("LSTM", 18) < 0.2
    assert far.mean("MT-LSTM", 18) > 0.9
    assert far.mean("transformer", 18) > 0.9


def test_an_untrained_model_is_at_chance_and_the_table_says_so():
    result = recall_at_lag(tuple(MODELS), (3, 6), (0, 1), n_steps=1)
    assert abs(result.accuracy.mean() - CHANCE) < 0.1
    rows = result.rows()
    assert [(row["model"], row["lag"]) for row in rows[:3]] == [("RNN", 3), ("RNN", 6), ("LSTM", 3)]
    assert rows[0]["lowest"] <= rows[0]["accuracy"] <= rows[0]["highest"]
    assert (rows[0]["seeds"], rows[0]["chance"]) == (2, CHANCE)


@pytest.mark.slow
def test_order_holds_for_every_seed_and_the_transformer_looks_back_at_the_name():
    result = recall_at_lag(lags=(10, 20), seeds=(0, 1, 2), n_steps=800)
    accuracy = {model: result.accuracy[i] for i, model in enumerate(result.models)}  # (n_lags, n_seeds)
    assert (accuracy["RNN"] < 0.2).all()
    assert (accuracy["LSTM"][0] > 0.9).all()
    assert (accuracy["LSTM"][1] < 0.2).all()
    assert (accuracy["MT-LSTM"] > 0.9).all()
    assert (accuracy["transformer"] > 0.9).all()
    assert result.tokens[0] in NAMES
    np.testing.assert_allclose(result.attention.sum(-1), 1, atol=1e-5)
    assert result.attention[..., 0].max() > 0.5, "a head looks from the blank at the name"


def test_unknown_models_are_refused():
    with pytest.raises(InputError, match="Did you mean 'LSTM'"):
        recall_at_lag(("LSTN",), (3,))
