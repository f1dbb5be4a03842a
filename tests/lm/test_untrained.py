import torch
from transformers import LlamaConfig, LlamaForCausalLM

from neurolm.lm import LSTM, CharTokenizer, TransformersModel
from neurolm.lm.untrained import untrained

TOKENIZER = CharTokenizer.from_text("abc ")


def adapter():
    config = LlamaConfig(
        vocab_size=TOKENIZER.vocab_size, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    return TransformersModel(LlamaForCausalLM(config), TOKENIZER, name="small")


def test_an_untrained_model_has_the_same_shape_and_other_weights():
    for lm in (adapter(), LSTM(TOKENIZER, 8, 2, seed=5)):
        twin = untrained(lm)
        assert (twin.n_layers, twin.tokenizer, twin.name) == (lm.n_layers, lm.tokenizer, f"{lm.name}, untrained")
        assert twin.weights_hash() != lm.weights_hash()
        assert twin.weights_hash() == untrained(lm).weights_hash() != untrained(lm, seed=1).weights_hash()


def test_torchs_own_generator_is_left_as_it_was():
    lm = adapter()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    untrained(lm)
    assert torch.equal(torch.rand(1), expected)
