"""Models that see later words are refused, by name and by what they do."""

import pytest
import torch

from neurolm.checks import FileError, InputError
from neurolm.lm import BytePairTokenizer, WordTokenizer, load
from neurolm.lm.language_model import LMOutput
from neurolm.lm.reading_check import carries_state, check_causal, probe_ids, tolerance
from neurolm.lm.transformers_model import TransformersModel

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
ENCODERS = (
    "Bert",
    "Roberta",
    "XLMRoberta",
    "Electra",
    "Camembert",
    "RemBert",
    "RoFormer",
    "Data2VecText",
    "MegatronBert",
    "BigBird",
)
TOKENIZER = WordTokenizer([f"w{i}" for i in range(60)], unknown=None)


def save(folder, config_class, **more):
    config = getattr(transformers, config_class)(**{**SIZES, **more})
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ENCODERS)
def test_the_causal_class_of_an_encoder_is_refused(kind, tmp_path):
    save(tmp_path, f"{kind}Config")
    with pytest.raises(FileError, match="reads text in both directions"):
        load(tmp_path, tokenizer=TOKENIZER)


@pytest.mark.filterwarnings("ignore")
def test_an_encoder_that_was_made_a_decoder_is_read(tmp_path):
    lm = load(save(tmp_path, "BertConfig", is_decoder=True), tokenizer=TOKENIZER)
    ids = torch.arange(12)[None]
    changed = torch.cat([ids[:, :8], ids[:, :4]], 1)
    assert all(torch.equal(a[:, :8], b[:, :8]) for a, b in zip(lm.step(ids).hidden, lm.step(changed).hidden, strict=True))


def test_encoder_decoders_are_refused(tmp_path):
    config = transformers.T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(FileError, match="is an encoder-decoder"):
        load(tmp_path, tokenizer=TOKENIZER)


class Toy:
    """States are sums of ids: of those before (causal), of all (leaking), or of this step only (forgetful)."""

    name, n_layers = "toy", 1

    def __init__(self, kind):
        self.kind = kind

    def step(self, ids, state=None):
        own = ids[..., None].double()
        before = 0 if state is None or self.kind == "forgetful" else state
        summed = own.cumsum(1) + before if self.kind != "leaking" else own.sum(1, keepdim=True).expand(own.shape)
        return LMOutput(summed, (own, summed), summed[:, -1:])


def test_what_a_model_does_is_checked_whatever_its_name():
    ids = probe_ids(60, [], None)
    check_causal(Toy("causal"), ids, bound=1e-4, has_experts=False)
    with pytest.raises(InputError, match="be causal: later tokens must not change the states of earlier words; got toy"):
        check_causal(Toy("leaking"), ids, bound=1e-4, has_experts=False)
    assert carries_state(Toy("causal"), ids, bound=1e-4)
    assert not carries_state(Toy("forgetful"), ids, bound=1e-4)


def test_the_tolerance_is_1e_4_in_float32_and_more_in_16_bits():
    assert tolerance(torch.float32) == 1e-4
    assert tolerance(torch.bfloat16) > tolerance(torch.float16) > 1e-4


def test_a_folder_whose_model_is_code_is_refused_and_its_code_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(ran)!r}, 'w')")
    (tmp_path / "model.safetensors").write_bytes(b"")
    config = '{"model_type": "mine", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}'
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(FileError, match=r"holds a config\.json that transformers cannot use"):
        load(tmp_path)
    assert not ran.exists()


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq"])
def test_quantised_weights_are_refused_in_one_line(method, tmp_path):
    save(tmp_path, "LlamaConfig")
    config = (tmp_path / "config.json").read_text()
    more = f', "quantization_config": {{"quant_method": "{method}", "bits": 4, "load_in_4bit": true}}}}'
    (tmp_path / "config.json").write_text(config.rstrip().rstrip("}").rstrip() + more)
    with pytest.raises(FileError, match=f"quantised by {method}|cannot use") as raised:
        load(tmp_path, tokenizer=TOKENIZER)
    assert "\n" not in str(raised.value)


def test_special_tokens_spelled_in_a_text_are_text_unless_asked_for():
    for tokenizer in (BytePairTokenizer.train(["the cat sat"], 300),):
        ids = tokenizer.encode("a <|endoftext|> b")
        assert tokenizer.eos_id not in ids
        assert tokenizer.decode(ids) == "a <|endoftext|> b"
        assert tokenizer.eos_id in tokenizer.encode("a <|endoftext|> b", special_tokens=True)


@pytest.mark.filterwarnings("ignore")
def test_a_causal_architecture_set_to_both_directions_is_refused_by_what_it_does(tmp_path):
    save(tmp_path, "Gemma3TextConfig", use_bidirectional_attention=True, num_key_value_heads=1, head_dim=8)
    with pytest.raises(FileError, match="be causal: later tokens must not change the states of earlier words"):
        load(tmp_path, tokenizer=TOKENIZER)


@pytest.mark.parametrize("kind", ["XLNet", "XLM"])
@pytest.mark.filterwarnings("ignore")
def test_models_of_permuted_or_masked_words_are_refused(kind, tmp_path):
    sizes = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32} if kind == "XLNet" else {"emb_dim": 16, "n_layers": 2}
    config = getattr(transformers, f"{kind}Config")(vocab_size=60, **sizes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(FileError, match="reads text in both directions"):
        load(tmp_path, tokenizer=TOKENIZER)


def test_the_code_of_a_tokenizer_is_not_run(tmp_path):
    save(tmp_path, "LlamaConfig")
    ran = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(ran)!r}, 'w')")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["code.M", "code.M"]}}'
    )
    with pytest.raises(FileError, match="holds no tokenizer that can be read"):
        load(tmp_path)
    assert not ran.exists()


def test_a_token_that_the_model_has_no_row_for_is_refused_where_it_is_used(tmp_path):
    lm = load(save(tmp_path, "LlamaConfig"), tokenizer=WordTokenizer([f"w{i}" for i in range(70)], unknown=None))
    assert torch.isfinite(lm.step(torch.tensor([lm.tokenizer.encode("w3 w59")])).logits).all()
    with pytest.raises(InputError, match=r"has 60, its tokenizer 71\); got token 65, 'w65'\. Leave it out"):
        lm.step(torch.tensor([lm.tokenizer.encode("w3 w65")]))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft calls it
def test_adapters_are_read_with_their_model_and_not_without(tmp_path):
    peft = pytest.importorskip("peft")
    folder = save(tmp_path / "whole", "LlamaConfig")
    base = load(folder, tokenizer=TOKENIZER)
    before = base.step(ids := torch.arange(12)[None]).logits
    tuned = peft.get_peft_model(base.model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    tuned.save_pretrained(folder)
    read = load(folder, tokenizer=TOKENIZER).step(ids).logits
    assert torch.equal(read, tuned.eval()(ids).logits)
    assert not torch.equal(read, before)
    tuned.save_pretrained(tmp_path / "adapters")
    with pytest.raises(FileError, match="adapters of peft without the model"):
        load(tmp_path / "adapters", tokenizer=TOKENIZER)


@pytest.fixture
def checked(monkeypatch):
    """How often the check was made."""
    made = []
    check = TransformersModel._check_reading
    monkeypatch.setattr(TransformersModel, "_check_reading", lambda self: (made.append(self.name), check(self)))
    return made


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_passed_is_checked_once_and_again_when_a_byte_of_its_folder_changed(tmp_path, checked):
    save(tmp_path, "LlamaConfig")
    first, again = load(tmp_path, tokenizer=TOKENIZER), load(tmp_path, tokenizer=TOKENIZER)
    assert len(checked) == 1
    assert first.carries_state == again.carries_state is True
    load(tmp_path, tokenizer=TOKENIZER, dtype="bfloat16")
    assert len(checked) == 2
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    load(tmp_path, tokenizer=TOKENIZER)
    assert len(checked) == 3


@pytest.mark.filterwarnings("ignore")
def test_whether_the_state_is_carried_is_remembered_with_the_check(tmp_path, checked):
    settings = {"state_size": 4, "expand": 2, "num_hidden_layers": 2, "hidden_size": 16, "vocab_size": 60}
    config = transformers.MambaConfig(**settings)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    found = {load(tmp_path, tokenizer=TOKENIZER).carries_state for _ in range(2)}
    assert found == {False}
    assert len(checked) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_failed_is_checked_and_refused_every_time(tmp_path, checked, monkeypatch):
    save(tmp_path, "LlamaConfig")

    def not_causal(*arguments, **options):
        raise InputError("not causal")

    monkeypatch.setattr("neurolm.lm.transformers_model.check_causal", not_causal)
    for _ in range(2):
        with pytest.raises(FileError, match="cannot be used: not causal"):
            load(tmp_path, tokenizer=TOKENIZER)
    assert len(checked) == 2
