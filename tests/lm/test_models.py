"""What every model of ours must do, whatever its equations."""

import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LSTM, RNN, FeedForward, LanguageModel, MultiTimescaleLSTM, RecurrentDropout, Transformer, WordTokenizer
from neurolm.lm.language_model import detach_state, map_state, reorder_state

TOKENIZER = WordTokenizer([f"word{i}" for i in range(38)])
MODELS = {
    "rnn": lambda **more: RNN(TOKENIZER, 24, 3, **more),
    "lstm": lambda **more: LSTM(TOKENIZER, 24, 3, **more),
    "lstm, narrow embeddings": lambda **more: LSTM(TOKENIZER, 24, 3, embedding_width=10, **more),
    "lstm, untied": lambda **more: LSTM(TOKENIZER, 24, 3, embedding_width=10, tied=False, **more),
    "mt-lstm": lambda **more: MultiTimescaleLSTM(TOKENIZER, 24, 3, **more),
    "transformer": lambda **more: Transformer(TOKENIZER, 24, 3, 4, 64, **more),
    "transformer, no biases": lambda **more: Transformer(TOKENIZER, 24, 3, 4, 64, bias=False, **more),
    "feed-forward": lambda **more: FeedForward(TOKENIZER, 24, 3, 5, **more),
}
every_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())


@pytest.fixture
def ids():
    return torch.randint(0, 40, (3, 20), generator=torch.Generator().manual_seed(0))


@every_model
def test_it_satisfies_the_protocol(build, ids):
    lm = build()
    assert isinstance(lm, LanguageModel)
    out = lm.step(ids)
    assert out.logits.shape == (3, 20, 40)
    assert len(out.hidden) == lm.n_layers + 1 == 4
    assert all(hidden.shape[:2] == (3, 20) for hidden in out.hidden)
    rows = []
    map_state(lambda tensor: rows.append(tensor.shape[0]) or tensor, out.state)
    assert set(rows) == {3}


@every_model
def test_chunks_with_state_equal_the_whole(build, ids):
    lm = build()
    whole, state, parts = lm.step(ids), None, []
    for start, stop in ((0, 7), (7, 8), (8, 13), (13, 20)):
        parts.append(lm.step(ids[:, start:stop], state))
        state = parts[-1].state
    for layer in range(lm.n_layers + 1):
        joined = torch.cat([part.hidden[layer] for part in parts], 1)
        torch.testing.assert_close(joined, whole.hidden[layer], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.cat([part.logits for part in parts], 1), whole.logits, atol=1e-6, rtol=1e-5)


@every_model
def test_only_the_layers_that_are_needed_are_run(build, ids):
    lm = build()
    whole, ran = lm.step(ids), []
    stack = lm.blocks if isinstance(lm, Transformer) else lm.layers
    for index, layer in enumerate(stack):
        layer.register_forward_pre_hook(lambda *_, index=index: ran.append(index))
    for top in range(lm.n_layers + 1):
        ran.clear()
        first = lm.step(ids[:, :7], None, [top], logits=False)
        second = lm.step(ids[:, 7:], first.state, [top], logits=False)
        assert set(ran) == set(range(top))
        assert [layer for layer, hidden in enumerate(first.hidden) if hidden is not None] == [top]
        joined = torch.cat([first.hidden[top], second.hidden[top]], 1)
        torch.testing.assert_close(joined, whole.hidden[top], atol=1e-6, rtol=1e-5)


@every_model
def test_changing_the_future_changes_no_earlier_bit(build, ids):
    lm = build()
    other = ids.clone()
    other[:, 12:] = (other[:, 12:] + 1) % 40
    first, second = lm.step(ids), lm.step(other)
    assert torch.equal(first.logits[:, :12], second.logits[:, :12])
    assert all(torch.equal(a[:, :12], b[:, :12]) for a, b in zip(first.hidden, second.hidden))
    assert not torch.equal(first.logits[:, 12:], second.logits[:, 12:])


@every_model
def test_a_state_is_never_written_to_and_follows_its_row(build, ids):
    lm = build()
    state = lm.step(ids[:, :9]).state
    kept = map_state(torch.clone, state)
    first = lm.step(ids[:, 9:], state).logits
    lm.step(ids[:, :2], state)
    assert torch.equal(lm.step(ids[:, 9:], kept).logits, first)
    turned = lm.step(ids[:, 9:].roll(1, 0), reorder_state(state, torch.tensor([2, 0, 1]))).logits
    torch.testing.assert_close(turned, first.roll(1, 0), atol=1e-6, rtol=1e-5)


@every_model
def test_no_gradient_crosses_a_detached_state(build, ids):
    """What the second chunk's loss teaches is the same whatever made the state, once it is detached."""
    lm = build()
    first = lm.step(ids[:, :9]).state
    gradients = []
    for state in (detach_state(first), map_state(torch.clone, detach_state(first)), first):
        lm.zero_grad()
        lm.step(ids[:, 9:], state).logits.logsumexp(-1).sum().backward(retain_graph=True)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in lm.parameters() if parameter.grad is not None]))
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2]) == isinstance(lm, FeedForward)  # its state is ids: nothing to detach


@every_model
def test_the_seed_decides_the_weights_and_nothing_else_is_touched(build, ids):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert build(seed=1).weights_hash() == build(seed=1).weights_hash() != build(seed=2).weights_hash()
    assert torch.equal(torch.get_rng_state(), before)


@every_model
def test_it_learns_a_short_text(build):
    """Every parameter gets a gradient, and the loss of next-token prediction falls far below that of guessing, ln 40."""
    torch.manual_seed(0)
    lm = build()
    text = torch.randint(0, 40, (1, 16), generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.Adam(lm.parameters(), lr=0.02)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(lm.step(text[:, :-1]).logits[0], text[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in lm.parameters())
    assert float(loss.detach()) < 1.2


def test_tied_weights_are_one_storage():
    lm = LSTM(TOKENIZER, 24, 2)
    assert lm.head is None
    assert not any("head.weight" in name for name in lm.state_dict())
    before = lm.step(torch.tensor([[1]])).logits
    with torch.no_grad():
        lm.embedding.weight[7] += 1.0
    assert (lm.step(torch.tensor([[1]])).logits != before)[0, 0].nonzero().flatten().tolist() == [7]


def test_parameter_counts_are_the_published_ones():
    words = WordTokenizer([f"w{i}" for i in range(9998)])
    awd = LSTM(words, 1150, 3, embedding_width=400)
    assert sum(parameter.numel() for parameter in awd.parameters()) == 24_221_600  # AWD-LSTM on PTB

    vocabulary, positions, d, n_layers = 40, 64, 24, 3
    gpt = MODELS["transformer"]()
    expected = 12 * n_layers * d**2 + 13 * n_layers * d + 2 * d + (vocabulary + positions) * d
    assert sum(parameter.numel() for parameter in gpt.parameters()) == expected


def test_dropout_acts_while_training_only(ids):
    for lm in (
        LSTM(TOKENIZER, 24, 2, dropout=RecurrentDropout(0.1, 0.4, 0.25, 0.4, 0.5)),
        RNN(TOKENIZER, 24, 2, dropout=RecurrentDropout(weights=0.5)),
        MultiTimescaleLSTM(TOKENIZER, 24, 2, dropout=RecurrentDropout(weights=0.5)),
        Transformer(TOKENIZER, 24, 2, 4, 64, dropout=0.2),
        FeedForward(TOKENIZER, 24, 2, dropout=0.2),
    ):
        torch.manual_seed(0)
        assert not torch.equal(lm.step(ids).logits, lm.step(ids).logits)
        lm.eval()
        assert torch.equal(lm.step(ids).logits, lm.step(ids).logits)
        plain = lm.step(ids).logits
        for module in lm.modules():
            if hasattr(module, "weight_dropout"):
                module.weight_dropout = 0.0
        assert torch.equal(lm.step(ids).logits, plain)


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        LSTM(TOKENIZER, 0, 2)
    with pytest.raises(InputError, match="multiple of n_heads, here 5"):
        Transformer(TOKENIZER, 24, 2, 5, 64)
    with pytest.raises(InputError, match=r"dropout of hidden must lie in \[0, 1\)"):
        RecurrentDropout(hidden=1.0)


@pytest.mark.parametrize("layers", [[0], [1], [0, 2, 3], [-1]])
def test_states_at_few_places_are_those_of_the_whole(ids, layers):
    lm = Transformer(TOKENIZER, width=16, n_layers=3, n_heads=2, max_context=64).eval()
    rows, places = torch.tensor([0, 1, 1, 0]), torch.tensor([3, 0, ids.shape[1] - 1, 3])
    with torch.inference_mode():
        whole = lm.step(ids, layers=layers, logits=False).hidden
        found = lm.hidden_at(ids, rows, places, layers)
    assert sorted(found) == sorted(layer % 4 for layer in layers)
    for layer, states in found.items():
        torch.testing.assert_close(states, whole[layer][rows, places], rtol=1e-5, atol=1e-6)


def test_a_full_transformer_reads_no_more(ids):
    lm = MODELS["transformer"]()
    state = lm.step(ids.repeat(1, 3)).state
    with pytest.raises(InputError, match="fit in 64 tokens with what was read before; got 80"):
        lm.step(ids, state)
    lm.step(ids[:, :4], state)
    with pytest.raises(InputError, match=r"lie in 0\.\.3"):
        lm.step(ids, layers=[4])
