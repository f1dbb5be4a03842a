"""The adapter gives what transformers gives, in any chunks, for architectures of every kind."""

import copy

import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LanguageModel, TransformersModel, WordTokenizer
from neurolm.lm.language_model import map_state, reorder_state

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,  # large weights, so that a mistake shows
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 1, "head_dim": 8}
CONFIGS = {
    "gpt2, learned positions": ("GPT2Config", {}),
    "llama, rotary": ("LlamaConfig", GROUPED),
    "mistral, sliding window": ("MistralConfig", {**GROUPED, "sliding_window": 4}),
    "gemma2, alternating windows and soft caps": ("Gemma2Config", {**GROUPED, "sliding_window": 4}),
    "gpt-neox, parallel residual": ("GPTNeoXConfig", {}),
    "bloom, linear biases": ("BloomConfig", {}),
    "opt, nested decoder": ("OPTConfig", {"word_embed_proj_dim": 16, "ffn_dim": 32}),
    "qwen3-next, linear attention": (
        "Qwen3NextConfig",
        {
            **GROUPED,
            "linear_num_value_heads": 2,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 8,
            "shared_expert_intermediate_size": 8,
        },
    ),
}
TOKENIZER = WordTokenizer([f"word{i}" for i in range(48)])


def build(name, **more):
    config_class, settings = CONFIGS[name]
    config = getattr(transformers, config_class)(**{**SIZES, **settings, **more})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    return TransformersModel(model.eval().requires_grad_(False), TOKENIZER, name=name)


@pytest.fixture
def ids():
    return torch.randint(3, 50, (2, 12), generator=torch.Generator().manual_seed(0))


def close(actual, expected):
    scale = expected.abs().max()
    return float((actual - expected).abs().max() / scale) < 1e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_it_gives_what_transformers_gives(name, ids):
    lm = build(name)
    assert isinstance(lm, LanguageModel)
    ours, theirs = lm.step(ids), lm.model(ids, output_hidden_states=True)
    assert torch.equal(ours.logits, theirs.logits)
    assert len(ours.hidden) == lm.n_layers + 1
    assert all(torch.equal(a, b) for a, b in zip(ours.hidden, theirs.hidden_states, strict=True))


@pytest.mark.parametrize("name", CONFIGS)
def test_chunks_with_state_equal_the_whole(name, ids):
    lm = build(name)
    whole, state, parts = lm.step(ids), None, []
    for start, stop in ((0, 5), (5, 6), (6, 7), (7, 12)):
        parts.append(lm.step(ids[:, start:stop], state))
        state = parts[-1].state
    assert close(torch.cat([part.logits for part in parts], 1), whole.logits)
    for layer in range(lm.n_layers + 1):
        assert close(torch.cat([part.hidden[layer] for part in parts], 1), whole.hidden[layer])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_state_is_never_written_to_and_follows_its_row(name, ids):
    lm = build(name)
    state = lm.step(ids[:, :7]).state
    kept = map_state(torch.clone, state)
    first = lm.step(ids[:, 7:], state).logits
    lm.step(ids[:, :3], state)
    assert torch.equal(lm.step(ids[:, 7:], kept).logits, first)
    swapped = lm.step(ids[:, 7:].flip(0), reorder_state(state, torch.tensor([1, 0]))).logits
    assert close(swapped.flip(0), first)


@pytest.mark.parametrize("name", CONFIGS)
def test_only_the_blocks_that_are_needed_are_run(name, ids):
    lm = build(name)
    whole, ran = lm.step(ids), set()
    for index, block in enumerate(lm._blocks):
        block.register_forward_pre_hook(lambda *_, index=index: ran.add(index))
    for top in (0, 1, 3, 4):
        ran.clear()
        first = lm.step(ids[:, :7], None, [top], logits=False)
        second = lm.step(ids[:, 7:], first.state, [top], logits=False)
        assert first.logits is None
        assert [layer for layer, hidden in enumerate(first.hidden) if hidden is not None] == [top]
        assert close(torch.cat([first.hidden[top], second.hidden[top]], 1), whole.hidden[top])
        assert ran <= {*range(top), 0}  # block 0 is called, and stopped, for the embeddings


def test_attention_rows_sum_to_one_and_see_no_future(ids):
    lm = build("llama, rotary")
    before = lm.step(ids).logits
    weights = lm.attention(ids, layers=[2])
    assert [w is not None for w in weights] == [False, True, False, False]
    torch.testing.assert_close(weights[1].sum(-1), torch.ones(2, 2, 12), atol=1e-6, rtol=0)
    assert (weights[1].triu(1) == 0).all()
    assert torch.equal(lm.step(ids).logits, before)  # the fused kernel is back


def test_reading_past_the_context_is_refused(ids):
    lm = build("gpt2, learned positions")
    state = lm.step(ids.repeat(1, 5)).state
    with pytest.raises(InputError, match="fit in 64 tokens with what was read before; got 72"):
        lm.step(ids, state)


def test_a_shallow_state_cannot_serve_a_deep_layer(ids):
    lm = build("llama, rotary")
    state = lm.step(ids, None, [1], logits=False).state
    with pytest.raises(InputError, match="computed the first 4 layers"):
        lm.step(ids, state)
    assert lm.step(ids, lm.step(ids).state, [1], logits=False).hidden[1] is not None


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ("MambaConfig", {"state_size": 4}),
        ("OpenAIGPTConfig", {"n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 64}),
        ("RecurrentGemmaConfig", {"lru_width": 16, "attention_window_size": 64, "head_dim": 8, "num_key_value_heads": 1}),
        (
            "JambaConfig",
            {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False, "mamba_d_state": 4, "num_experts": 2}
            | {"num_key_value_heads": 1},
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_models_whose_cache_does_not_hold_all_that_was_read_are_read_in_whole_passes(config, settings, ids):
    made = getattr(transformers, config)(**{**SIZES, **settings})
    torch.manual_seed(0)
    lm = TransformersModel(transformers.AutoModelForCausalLM.from_config(made).eval().requires_grad_(False), TOKENIZER)
    assert not lm.carries_state
    first = lm.step(ids[:, :5])
    rest = lm.step(ids[:, 5:], first.state)
    expected = lm.model(ids, use_cache=False, output_hidden_states=True)
    assert close(torch.cat([first.logits, rest.logits], 1), expected.logits)
    shift = int(config == "MambaConfig")  # transformers lists its states from after the first block on, and layer 0 not at all
    for layer in range(1, lm.n_layers + 1):
        states = expected.hidden_states[layer - shift if layer < lm.n_layers else -1]
        assert close(torch.cat([first.hidden[layer], rest.hidden[layer]], 1), states)


def test_rotary_embeddings_that_change_with_length_keep_to_their_first_length(ids):
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    settings = SIZES | {"original_max_position_embeddings": 16, "rope_scaling": rope}
    torch.manual_seed(0)
    model = transformers.Phi3ForCausalLM(transformers.Phi3Config(**settings)).eval().requires_grad_(False)
    lm = TransformersModel(model, TOKENIZER)
    assert lm.max_context == 16
    with pytest.raises(InputError, match="fit in 16 tokens"):
        lm.step(ids.repeat(1, 2))


def test_the_hash_follows_the_weights_and_the_settings_that_matter(ids):
    lm, same = build("llama, rotary"), build("llama, rotary")
    same.model.config._name_or_path = "elsewhere"
    assert lm.weights_hash() == same.weights_hash()
    assert lm.weights_hash() != build("llama, rotary", rms_norm_eps=1e-3).weights_hash()
    next(same.model.parameters())[0, 0] += 1
    assert lm.weights_hash() != same.weights_hash()


def test_changing_the_future_changes_no_earlier_bit(ids):
    lm = build("llama, rotary")
    other = ids.clone()
    other[:, 8:] = 7
    first, second = lm.step(ids), lm.step(other)
    assert all(torch.equal(a[:, :8], b[:, :8]) for a, b in zip(first.hidden, second.hidden))
    assert not torch.equal(first.logits[:, 8:], second.logits[:, 8:])


def test_gradients_reach_the_weights_through_a_state(ids):
    """For fine-tuning: nothing in the adapter cuts the graph."""
    lm = build("llama, rotary")
    lm.model.requires_grad_(True)
    state = lm.step(ids[:, :6]).state
    lm.step(ids[:, 6:], state).logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in lm.model.parameters())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft calls it
def test_adapters_of_peft_are_read_through(ids):
    peft = pytest.importorskip("peft")
    lm = build("llama, rotary")
    before = lm.step(ids).logits
    wrapped = peft.get_peft_model(lm.model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=True))
    tuned = TransformersModel(wrapped, TOKENIZER)
    assert torch.equal(tuned.step(ids).logits, before)  # B = 0 at the start
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    assert not torch.equal(tuned.step(ids).logits, before)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_adapter_changes_nothing_in_a_model_that_the_caller_owns(kind, ids):
    if kind == "llama":
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()
    else:
        theirs = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=SIZES["vocab_size"], n_embd=32, n_layer=2, n_head=4)
        )
    before = [(type(module), set(vars(module))) for module in theirs.modules()]
    slow = TransformersModel(theirs.eval().requires_grad_(False), TOKENIZER)
    expected = slow.step(ids).logits
    assert [(type(module), set(vars(module))) for module in theirs.modules()] == before
    fast = TransformersModel(copy.deepcopy(theirs), TOKENIZER, fast_products=True)
    assert close(fast.step(ids).logits, expected)
