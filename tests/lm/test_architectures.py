"""Many architectures of transformers, tiny and random: whole passes, chunks and padding against transformers itself."""

import dataclasses

import pytest
import torch

from neurolm.lm import TransformersModel, WordTokenizer

transformers = pytest.importorskip("transformers")
TOKENIZER = WordTokenizer([f"w{i}" for i in range(62)])
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
WHERE_NAMED = {  # settings that some architectures have
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("n_group", "topk_group", "n_groups", "mamba_n_groups", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("mamba_d_state", "ssm_state_size", "state_size", "mamba_n_heads", "sliding_window", "qk_nope_head_dim"), 4),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "v_head_dim", "kv_lora_rank", "q_lora_rank"), 8),
    **dict.fromkeys(("linear_num_value_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("qk_rope_head_dim", "rotary_dim", "decoder_layers", "decoder_attention_heads"), 4),
    **dict.fromkeys(("ffn_dim", "decoder_ffn_dim", "n_inner"), 48),
    **{"num_experts_per_tok": 2, "word_embed_proj_dim": 32, "lru_width": 32, "d_model": 32, "n_layers": 4, "n_heads": 4},
    **{"mamba_d_head": 16, "attention_window_size": 64, "attn_layer_period": 2, "attn_layer_offset": 1, "max_seq_len": 64},
    **{"use_mamba_kernels": False, "is_decoder": True, "num_heads": 8},
}
CARRIED = [
    "afmoe",
    "apertus",
    "arcee",
    "bert",
    "biogpt",
    "bloom",
    "codegen",
    "cohere",
    "cohere2",
    "ctrl",
    "doge",
    "electra",
    "ernie4_5",
    "exaone4",
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm",
    "glm4",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gpt_oss",
    "gptj",
    "granite",
    "granitemoe",
    "helium",
    "jetmoe",
    "lfm2",
    "llama",
    "mistral",
    "mixtral",
    "mpt",
    "nanochat",
    "nemotron",
    "olmo2",
    "olmo3",
    "olmoe",
    "opt",
    "persimmon",
    "phi",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "smollm3",
    "stablelm",
    "starcoder2",
    "xglm",
]
READ_WHOLE = ["jamba", "mamba", "mamba2", "falcon_mamba", "openai-gpt", "recurrent_gemma", "roberta", "rwkv"]
STATES_FROM_LAYER_1 = {"mamba", "mamba2", "falcon_mamba", "rwkv"}  # transformers lists no embeddings for these


def build(kind):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[kind]
    plain = config_class()
    named = {*vars(plain), *plain.attribute_map, *(field.name for field in dataclasses.fields(config_class))}
    settings = {**SIZES, **{key: value for key, value in WHERE_NAMED.items() if key in named}}
    settings = {key: value for key, value in settings.items() if plain.attribute_map.get(key) not in settings}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config_class(**settings)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.15, generator=generator)
    return model


def agree(a, b):
    return float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CARRIED + READ_WHOLE)
def test_an_architecture_is_read_as_transformers_reads_it(kind):
    model = build(kind)
    lm = TransformersModel(model, TOKENIZER, name=kind)
    assert lm.carries_state == (kind in CARRIED)
    ids = torch.randint(3, 64, (2, 50), generator=torch.Generator().manual_seed(1))
    whole, theirs = lm.step(ids), model(ids, output_hidden_states=True, use_cache=False)
    assert torch.equal(whole.logits, theirs.logits)
    shift = int(kind in STATES_FROM_LAYER_1)
    assert all(agree(whole.hidden[n + shift], theirs.hidden_states[n]) for n in range(lm.n_layers - shift))
    assert agree(whole.hidden[-1], theirs.hidden_states[-1])

    state, parts = None, []
    for start, stop in ((0, 20), (20, 21), (21, 50)):
        parts.append(lm.step(ids[:, start:stop], state))
        state = parts[-1].state
    changed, padded = ids.clone(), torch.cat([ids[:, :40], ids.new_zeros(2, 10)], 1)
    changed[:, 40:] = (changed[:, 40:] + 5) % 60 + 3
    later, more = lm.step(changed), lm.step(padded)
    for layer in range(lm.n_layers + 1):
        assert agree(torch.cat([part.hidden[layer] for part in parts], 1), whole.hidden[layer])
        assert agree(later.hidden[layer][:, :40], whole.hidden[layer][:, :40])
        assert agree(more.hidden[layer][:, :40], whole.hidden[layer][:, :40])
