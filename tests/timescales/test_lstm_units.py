import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LSTM, MultiTimescaleLSTM, WordTokenizer
from neurolm.lm.mt_lstm import inverse_gamma_timescales
from neurolm.timescales.lstm_units import ablate_units, power_law_check, token_ids, token_losses, unit_timescales

from .planted import tell

STORY = tell(400)
TOKENIZER = WordTokenizer.from_words(STORY.words)
BANK = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])


def blind_model():
    """Gates see nothing of the input: each forget gate stays what its timescale says."""
    model = MultiTimescaleLSTM(TOKENIZER, 8, 2, timescales=[BANK, BANK], tied=False)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight_ih.zero_()
            layer.weight_hh.zero_()
    return model


def test_units_have_the_timescales_they_were_given():
    ids = token_ids(blind_model(), STORY)
    for found in unit_timescales(blind_model(), ids, chunk=100):
        np.testing.assert_allclose(found, BANK, rtol=1e-4)


def test_timescales_do_not_depend_on_the_chunks():
    model = LSTM(TOKENIZER, 8, 2, seed=1)
    ids = token_ids(model, STORY)
    for a, b in zip(unit_timescales(model, ids, chunk=37), unit_timescales(model, ids, chunk=1000)):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_an_inverse_gamma_bank_forgets_as_its_power_law():
    check = power_law_check(inverse_gamma_timescales(20_000, longest=1e12), lags=(1, 500))
    np.testing.assert_allclose(check.memory, check.expected, rtol=0.03)


def test_one_exponential_is_no_power_law():
    check = power_law_check(np.array([10.0]), lags=(10, 100))
    assert check.slope < -2


def test_losses_are_those_of_one_pass():
    model = LSTM(TOKENIZER, 8, 2, seed=1)
    ids = token_ids(model, STORY)
    with torch.inference_mode():
        logits = model.step(ids[None, :-1]).logits[0]
    expected = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none").numpy()
    np.testing.assert_allclose(token_losses(model, ids, chunk=50), expected, atol=1e-4)


def test_silent_units_cost_nothing_and_a_used_one_does():
    model = LSTM(TOKENIZER, 8, 2, tied=False, seed=1)
    with torch.no_grad():
        model.layers[1].cell.weight_ih_l0[:, :4] = 0  # layer 2 does not read the first four units of layer 1
        model.layers[1].cell.weight_ih_l0[:, 4:] *= 5
        model.head.weight *= 20
    ids = token_ids(model, STORY)
    counts = np.bincount(ids.numpy(), minlength=TOKENIZER.vocab_size)
    found = ablate_units(model, ids, np.arange(1.0, 9.0), counts, layer=1, group=4, edges=(2, 5), n_bootstrap=200)
    np.testing.assert_allclose(found.ratio[0], 1, atol=1e-12)
    assert (np.abs(found.ratio[1] - 1) > 1e-6).all()
    low, high = found.interval
    assert (low <= found.ratio + 1e-12).all()
    assert (found.ratio <= high + 1e-12).all()
    assert found.bins == ("0 to 1", "2 to 4", "5 and more", "all")


def test_nothing_stays_silenced():
    model = LSTM(TOKENIZER, 8, 2, seed=1)
    ids = token_ids(model, STORY)
    before = token_losses(model, ids)
    token_losses(model, ids, silenced=(1, np.arange(8)))
    np.testing.assert_array_equal(token_losses(model, ids), before)


def test_timescales_of_another_layer_are_refused():
    model = LSTM(TOKENIZER, 8, 2)
    with pytest.raises(InputError, match="one for each of the 8 units"):
        ablate_units(model, token_ids(model, STORY), np.ones(5), np.ones(TOKENIZER.vocab_size))
