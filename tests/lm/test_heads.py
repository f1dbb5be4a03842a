import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LSTM, SequenceClassifier, TokenClassifier, ToyModel, Transformer, TransformersModel, WordTokenizer

TOKENIZER = WordTokenizer([f"w{i}" for i in range(28)])
MODELS = {"lstm": LSTM(TOKENIZER, 12, 2, embedding_width=7), "transformer": Transformer(TOKENIZER, 12, 2, 2, 32)}
every_model = pytest.mark.parametrize("lm", MODELS.values(), ids=MODELS.keys())


@pytest.fixture
def ids():
    return torch.randint(0, 30, (3, 10), generator=torch.Generator().manual_seed(0))


@every_model
def test_a_token_classifier_reads_one_layer(lm, ids):
    head = TokenClassifier(lm, 5, layer=1)
    assert head(ids).shape == (3, 10, 5)
    expected = head.head(lm.step(ids).hidden[1])
    assert torch.equal(head(ids), expected)


@every_model
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_padding_changes_nothing(lm, ids, pooling):
    head = SequenceClassifier(lm, 4, pooling=pooling)
    lengths = torch.tensor([10, 6, 1])
    padded = head(ids, lengths)
    assert padded.shape == (3, 4)
    for row, length in enumerate(lengths):
        alone = head(ids[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(padded[row], alone[0], atol=1e-6, rtol=1e-5)


@every_model
def test_gradients_reach_head_and_trunk_and_each_weight_counts_once(lm, ids):
    head = SequenceClassifier(lm, 2)
    names = [name for name, _ in head.named_parameters()]
    assert len(names) == len(list(lm.parameters())) + 2
    lm.zero_grad()
    head(ids, torch.full((3,), 10)).sum().backward()
    assert head.head.weight.grad is not None
    assert lm.embedding.weight.grad is not None
    lm.zero_grad()


def test_an_adapter_of_transformers_is_a_trunk_too(ids):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    lm = TransformersModel(transformers.LlamaForCausalLM(config).eval(), TOKENIZER)
    head = TokenClassifier(lm, 3)
    assert head.trunk is lm.model
    assert head(ids).shape == (3, 10, 3)


def test_impossible_requests_are_refused(ids):
    lm = MODELS["lstm"]
    with pytest.raises(InputError, match=r"lengths must lie in 1\.\.10; got 0 to 11"):
        SequenceClassifier(lm, 2)(ids, torch.tensor([0, 3, 11]))
    with pytest.raises(InputError, match="layer must lie"):
        TokenClassifier(lm, 2, layer=3)
    with pytest.raises(InputError, match="pooling must be one of"):
        SequenceClassifier(lm, 2, pooling="max")
    with pytest.raises(AttributeError):
        TokenClassifier(ToyModel(TOKENIZER), 2)  # nothing to train in it
