import pytest
import torch
from torch.nn import functional as F

from neurolm.checks import InputError
from neurolm.lm import Transformer, WordTokenizer, scaled_dot_product_attention
from neurolm.lm.attention import CausalSelfAttention, append, causal_mask


@pytest.fixture
def qkv():
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 9, 8).unbind(0)


def test_rows_sum_to_one_and_the_future_weighs_exactly_nothing(qkv):
    output, weights = scaled_dot_product_attention(*qkv, causal_mask(9, 9))
    assert weights.shape == (2, 4, 9, 9)
    assert (weights.sum(-1) - 1).abs().max() <= 1e-6
    assert (weights.triu(1) == 0).all()
    assert output.shape == (2, 4, 9, 8)


@pytest.mark.parametrize("masked", [False, True])
def test_it_equals_torchs_fused_kernel(qkv, masked):
    mask = causal_mask(9, 9) if masked else None
    ours, _ = scaled_dot_product_attention(*qkv, mask)
    assert (ours - F.scaled_dot_product_attention(*qkv, attn_mask=mask)).abs().max() <= 1e-5


def test_it_is_the_formula():
    """By hand: one query, two keys."""
    q, k = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    v = torch.tensor([[1.0], [5.0]])
    output, weights = scaled_dot_product_attention(q, k, v)
    share = torch.tensor([2 / 2**0.5, 0.0]).softmax(0)
    torch.testing.assert_close(weights[0], share)
    torch.testing.assert_close(output[0, 0], share[0] + 5 * share[1])


def test_a_mask_broadcasts_over_batch_and_heads(qkv):
    mask = torch.rand(2, 1, 9, 9) > 0.5
    mask |= torch.eye(9, dtype=torch.bool)
    _, weights = scaled_dot_product_attention(*qkv, mask)
    assert (weights[~mask.expand(2, 4, 9, 9)] == 0).all()


def test_bad_masks_are_refused(qkv):
    with pytest.raises(InputError, match="look at one at least"):
        scaled_dot_product_attention(*qkv, torch.zeros(9, 9, dtype=torch.bool))
    with pytest.raises(InputError, match="must be boolean"):
        scaled_dot_product_attention(*qkv, torch.zeros(9, 9))


def test_queries_after_a_past_see_all_of_it():
    assert causal_mask(2, 5).tolist() == [[True, True, True, True, False], [True] * 5]


@pytest.mark.parametrize("n_past", [0, 1, 6])
def test_fused_and_explicit_attention_agree_whatever_the_past(n_past):
    torch.manual_seed(0)
    layer = CausalSelfAttention(24, 4)
    x = torch.randn(2, 10, 24)
    past = layer(x[:, :n_past])[1] if n_past else None
    q, k, v = layer._project(x[:, n_past:], past)
    explicit, weights = scaled_dot_product_attention(q, k, v, causal_mask(10 - n_past, 10))
    fused, _ = layer(x[:, n_past:], past)
    torch.testing.assert_close(layer.out(explicit.transpose(1, 2).flatten(2)), fused, atol=1e-5, rtol=0)
    assert torch.equal(layer.weights(x[:, n_past:], past), weights)


def test_a_models_attention_maps_are_those_it_computes_with():
    """Replacing the fused kernel by the maps gives the same hidden states."""
    lm = Transformer(WordTokenizer([f"w{i}" for i in range(30)]), 24, 2, 4, 32)
    ids = torch.randint(0, 30, (2, 10), generator=torch.Generator().manual_seed(0))
    maps = lm.attention(ids)
    x = lm.step(ids).hidden[0]
    for block, weights in zip(lm.blocks, maps):
        _, _, v = block.attention._project(block.norm_1(x), None)
        x = x + block.attention.out((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp_out(F.gelu(block.mlp_in(block.norm_2(x)), approximate="tanh"))
    torch.testing.assert_close(lm.norm(x), lm.step(ids).hidden[-1], atol=1e-5, rtol=0)

    state = lm.step(ids[:, :6]).state
    later = lm.attention(ids[:, 6:], layers=[2], state=state)
    assert later[0] is None
    torch.testing.assert_close(later[1], maps[1][:, :, 6:], atol=1e-6, rtol=0)


def test_two_continuations_of_one_past_do_not_disturb_each_other():
    torch.manual_seed(0)
    past, first, second, third = (torch.randn(2, 3, n, 4) for n in (5, 1, 2, 1))
    with torch.no_grad():
        kept = past.clone()
        one = append(append(past, first), third)
        two = append(past, second)
        again = append(one[:, :, :6], third)
        branch = append(append(one, first), second)
        other = append(one, third)
    assert torch.equal(past, kept)
    assert torch.equal(one, torch.cat([past, first, third], 2))
    assert torch.equal(two, torch.cat([past, second], 2))
    assert torch.equal(again, one)
    assert torch.equal(branch, torch.cat([one, first, second], 2))
    assert torch.equal(other, torch.cat([one, third], 2))


def test_appending_copies_the_past_seldom_and_keeps_gradients():
    past, new = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    places = set()
    with torch.no_grad():
        for _ in range(200):
            past = append(past, new)
            places.add(past.data_ptr())
    assert past.sum() == 200
    assert len(places) <= 8
    weights = torch.ones(1, 1, 1, 1, requires_grad=True)
    append(weights, new).sum().backward()
    assert weights.grad == 1
