"""Our Transformer against transformers' GPT-2, with a tolerance that notices every near miss."""

import pytest
import torch
from torch.nn import functional as F

from neurolm.checks import FileError, InputError
from neurolm.lm import BytePairTokenizer, Transformer, TransformersModel, WordTokenizer, gpt2, load, load_gpt2, save_gpt2
from neurolm.lm import transformer as transformer_module
from neurolm.lm.gpt2 import SIZES, from_transformers, to_transformers
from neurolm.lm.transformer import FEW, gelu
from neurolm.lm.weights import fill_weights

transformers = pytest.importorskip("transformers")
TOLERANCE = 1e-5  # of the largest value


class Vocabulary:
    """As many ids as a checkpoint has, without the words."""

    bos_id = eos_id = 0

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size


def random_gpt2(folder, size="tiny", **more):
    width, n_layers, n_heads = {**SIZES, "tiny": (48, 3, 4)}[size]
    if size == "tiny":  # large weights, so that its activations are as large as in the real sizes
        more |= {"vocab_size": 100, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=width, n_layer=n_layers, n_head=n_heads, **more)
    model = transformers.GPT2LMHeadModel(config).eval().requires_grad_(False)
    if folder is not None:
        model.save_pretrained(folder)
    return model


@torch.no_grad()
def difference(lm, theirs, ids):
    """The largest difference of the logits and of every hidden state, each as a share of its scale."""
    ours = lm.step(ids)
    expected = theirs(ids, output_hidden_states=True)
    pairs = [(ours.logits, expected.logits), *zip(ours.hidden, expected.hidden_states, strict=True)]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@pytest.fixture
def ids():
    return torch.randint(0, 100, (2, 40), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def tiny(tmp_path):
    return random_gpt2(tmp_path / "tiny"), tmp_path / "tiny"


def test_gpt2_small_agrees_in_logits_and_every_hidden_state(tmp_path, ids):
    theirs = random_gpt2(tmp_path, "gpt2")
    lm = load(tmp_path, tokenizer=Vocabulary(50257))
    assert isinstance(lm, Transformer)
    assert difference(lm, theirs, ids) <= TOLERANCE
    assert torch.equal(lm.step(ids).logits.argmax(-1), theirs(ids).logits.argmax(-1))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["gpt2-medium", "gpt2-large", "gpt2-xl"])
def test_the_larger_sizes_agree_too(size, ids):
    """In memory: the largest has 1.6 billion weights."""
    width, n_layers, n_heads = SIZES[size]
    theirs = random_gpt2(None, size)
    expected = theirs(ids[:1, :16], output_hidden_states=True)
    weights = from_transformers(theirs.state_dict())
    del theirs
    with torch.device("meta"):
        lm = Transformer(Vocabulary(50257), width, n_layers, n_heads, 1024)
    fill_weights(lm.eval(), weights, "memory", assign=True)
    assert difference(lm, lambda *_, **__: expected, ids[:1, :16]) <= TOLERANCE


@pytest.mark.parametrize(
    ("size", "millions"), [("gpt2", 124.4), ("gpt2-medium", 354.8), ("gpt2-large", 774.0), ("gpt2-xl", 1557.6)]
)
def test_the_sizes_have_their_numbers_of_parameters(size, millions):
    width, n_layers, n_heads = SIZES[size]
    with torch.device("meta"):
        model = Transformer(Vocabulary(50257), width, n_layers, n_heads, 1024)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert n_parameters == 12 * n_layers * width**2 + 13 * n_layers * width + 2 * width + (50257 + 1024) * width
    assert n_parameters / 1e6 == pytest.approx(millions, abs=0.1)


def test_a_cache_gives_what_transformers_gives_without(tiny, ids):
    theirs, folder = tiny
    lm = load_gpt2(folder, tokenizer=Vocabulary(100)).eval()
    state, parts = None, []
    for part in ids.split([10, 1, 1, 28], dim=1):
        out = lm.step(part, state)
        state = out.state
        parts.append(out.logits)
    expected = theirs(ids).logits
    assert (torch.cat(parts, 1) - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_attention_maps_equal_transformers(tiny, ids):
    theirs, folder = tiny
    ours = load_gpt2(folder, tokenizer=Vocabulary(100)).eval().attention(ids)
    adapter = TransformersModel(theirs, Vocabulary(100))
    for a, b in zip(ours, adapter.attention(ids), strict=True):
        assert (a - b).abs().max() <= 1e-6


@pytest.mark.parametrize("mistake", ["skipped transpose", "wrong eps", "erf gelu", "swapped query and key"])
def test_near_misses_are_outside_the_tolerance(tiny, ids, monkeypatch, mistake):
    theirs, folder = tiny
    lm = load_gpt2(folder, tokenizer=Vocabulary(100)).eval()
    assert difference(lm, theirs, ids) <= TOLERANCE
    with torch.no_grad():
        if mistake == "skipped transpose":
            square = lm.blocks[0].attention.out.weight
            square.copy_(square.T.clone())
        elif mistake == "wrong eps":
            for module in lm.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.eps = 1e-6
        elif mistake == "erf gelu":
            monkeypatch.setattr(transformer_module, "linear_gelu", lambda x, layer: F.gelu(layer(x)))
        else:
            qkv = lm.blocks[0].attention.qkv.weight
            qkv.copy_(torch.cat([qkv[48:96], qkv[:48], qkv[96:]]).clone())
    assert difference(lm, theirs, ids) > TOLERANCE


def test_written_back_transformers_reads_it(tmp_path, ids):
    tokenizer = BytePairTokenizer.train(["the cat sat on the mat " * 10], 300)
    lm = Transformer(tokenizer, 24, 2, 4, 64, eps=1e-4, mlp_width=56, seed=3).eval()
    save_gpt2(lm, tmp_path / "ours")
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert difference(lm, theirs.eval(), ids) <= TOLERANCE
    text = "the cat sat on a hat"
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")(text)["input_ids"] == tokenizer.encode(text)

    again = load(tmp_path / "ours")
    assert again.weights_hash() == lm.weights_hash()
    assert again.tokenizer.settings() == tokenizer.settings()
    adapter = load(tmp_path / "ours", implementation="transformers")
    assert isinstance(adapter, TransformersModel)
    assert adapter.tokenizer.encode_words(["the", "cat"]).ids.tolist() == tokenizer.encode_words(["the", "cat"]).ids.tolist()


def test_names_map_there_and_back(tiny):
    weights = dict(tiny[0].transformer.state_dict())
    back = to_transformers(from_transformers(weights))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_old_checkpoints_with_masks_and_without_prefix_load(tiny, tmp_path, ids):
    """As on the hub: names without `transformer.`, and the causal mask among the weights."""
    from safetensors.torch import save_file

    theirs, folder = tiny
    weights = dict(theirs.transformer.state_dict())
    weights |= {f"h.{i}.attn.bias": torch.ones(1, 1, 64, 64).tril() for i in range(3)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    lm = load_gpt2(tmp_path, tokenizer=Vocabulary(100)).eval()
    assert difference(lm, theirs, ids) <= TOLERANCE


def test_sharded_checkpoints_load(tmp_path, ids):
    theirs = random_gpt2(tmp_path / "one")
    theirs.save_pretrained(tmp_path / "many", max_shard_size="50KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    assert difference(load_gpt2(tmp_path / "many", tokenizer=Vocabulary(100)).eval(), theirs, ids) <= TOLERANCE


def test_variants_that_compute_something_else_go_to_the_adapter(tmp_path, ids):
    theirs = random_gpt2(tmp_path, scale_attn_by_inverse_layer_idx=True)
    assert isinstance(load(tmp_path, tokenizer=Vocabulary(100)), TransformersModel)
    assert difference(load(tmp_path, tokenizer=Vocabulary(100)), theirs, ids) == 0
    with pytest.raises(FileError, match="does not describe a standard GPT-2"):
        load(tmp_path, tokenizer=Vocabulary(100), implementation="neurolm")


def test_foreign_and_damaged_checkpoints_are_refused(tiny, tmp_path):
    _, folder = tiny
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(FileError, match="not a whole safetensors file"):
        load_gpt2(folder, tokenizer=Vocabulary(100))
    path.write_bytes(whole)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"n_layer": 3', '"n_layer": 4'))
    with pytest.raises(FileError, match=r"blocks\.3\..* names differ"):
        load_gpt2(folder, tokenizer=Vocabulary(100))
    (folder / "config.json").write_text(config.replace('"n_embd": 48', '"n_embd": 52'))
    with pytest.raises(FileError, match="is of another size"):
        load_gpt2(folder, tokenizer=Vocabulary(100))
    with pytest.raises(FileError, match="holds no tokenizer"):
        load_gpt2(folder)
    path.unlink()
    with pytest.raises(FileError, match=r"holds no model\.safetensors and no model\.safetensors\.index\.json"):
        load_gpt2(folder, tokenizer=Vocabulary(100))


def test_a_model_without_biases_is_no_gpt2(tmp_path):
    with pytest.raises(InputError, match="have biases, as GPT-2 does"):
        save_gpt2(Transformer(WordTokenizer(["a"]), 8, 1, 2, 8, bias=False), tmp_path)


def test_the_gelu_is_the_one_of_the_config():
    assert gpt2._STANDARD["activation_function"][0] == "gelu_new"
    for n in (100, 2 * FEW):  # both of the ways in which it is computed
        x = torch.linspace(-9, 9, n, dtype=torch.float64)
        torch.testing.assert_close(gelu(x), transformers.activations.ACT2FN["gelu_new"](x), atol=1e-12, rtol=0)


def test_the_gelus_slope_is_that_of_torchs():
    x = torch.linspace(-9, 9, 2 * FEW, dtype=torch.float64, requires_grad=True)
    weights = torch.linspace(1, 2, 2 * FEW, dtype=torch.float64)
    (ours,) = torch.autograd.grad(gelu(x), x, weights)
    (theirs,) = torch.autograd.grad(F.gelu(x, approximate="tanh"), x, weights)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_a_gpt2_with_another_tokenizer_keeps_it(tiny):
    """A word vocabulary is no byte-pair one; the checkpoint's own tokenizer is used."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    _, folder = tiny
    inner = Tokenizer(models.WordLevel({"<unk>": 0, **{f"w{i}": i for i in range(1, 100)}}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>").save_pretrained(folder)
    assert load(folder).tokenizer.encode("w3 w4") == [3, 4]


def test_the_separator_is_the_checkpoints_own(tiny):
    _, folder = tiny
    inner = BytePairTokenizer.train(["a b"], 257, eos="</s>").tokenizer
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>").save_pretrained(folder)
    assert gpt2.gpt2_tokenizer(folder).eos_id == inner.token_to_id("</s>")
