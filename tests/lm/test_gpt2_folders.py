"""GPT-2 folders as people save them: our loader gives the numbers of transformers."""

import shutil

import pytest
import torch

from neurolm.checks import FileError
from neurolm.lm import BytePairTokenizer, generate, load
from neurolm.lm.language_model import fit_to_tokenizer
from neurolm.lm.weights import save_model

transformers = pytest.importorskip("transformers")
TEXT = "the cat sat on the mat and the dog went to the sea "
EOS = "<|endoftext|>"


def tokenizer(added=(), special=(), **named):
    inner = BytePairTokenizer.train([TEXT * 10], 300).tokenizer
    inner.add_tokens(list(added))
    inner.add_special_tokens(list(special))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **{"bos_token": EOS, "eos_token": EOS, **named})


def save(folder, own, n_more=0, max_shard_size="50GB"):
    config = transformers.GPT2Config(
        vocab_size=len(own) + n_more,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    own.save_pretrained(folder)
    return folder


def assert_both_agree(folder, text=TEXT):
    ours, theirs = load(folder), load(folder, implementation="transformers")
    assert type(ours).__name__ == "Transformer"
    assert (ours.tokenizer.bos_id, ours.tokenizer.eos_id) == (theirs.tokenizer.bos_id, theirs.tokenizer.eos_id)
    assert ours.tokenizer.encode(text) == theirs.tokenizer.encode(text)
    ids = torch.tensor(ours.tokenizer.encode(text))[None, :40]
    a, b = ours.step(ids), theirs.step(ids)
    n = min(a.logits.shape[-1], b.logits.shape[-1])
    torch.testing.assert_close(a.logits[..., :n], b.logits[..., :n], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(a.hidden[-1], b.hidden[-1], rtol=1e-4, atol=1e-4)
    assert generate(ours, "the cat", 8, temperature=0) == generate(theirs, "the cat", 8, temperature=0)


@pytest.mark.parametrize("options", [{"truncation": True, "max_length": 8}, {"padding": "max_length", "max_length": 60}])
def test_cuts_and_padding_kept_in_tokenizer_json_are_not_obeyed(options, tmp_path):
    own = tokenizer(pad_token=EOS)
    own(TEXT, **options)  # what transformers then saves with it
    assert_both_agree(save(tmp_path, own))
    assert len(load(tmp_path).tokenizer.encode(TEXT * 2)) > 8


def test_shards_that_the_index_does_not_name_are_not_read(tmp_path):
    folder = save(tmp_path / "new", tokenizer(), max_shard_size="40KB")
    old = save(tmp_path / "old", tokenizer(), n_more=7, max_shard_size="20KB")
    for shard in old.glob("model-*.safetensors"):
        if not (folder / shard.name).exists():
            shutil.copy(shard, folder)
    assert_both_agree(folder)


@pytest.mark.parametrize("n_more", [24, 0])
def test_an_embedding_with_more_rows_than_tokens_is_read(n_more, tmp_path):
    assert_both_agree(save(tmp_path, tokenizer(), n_more))


def test_a_token_that_was_added_without_a_row_is_refused_only_where_it_is_used(tmp_path):
    own = tokenizer(special=["[PAD]"])
    folder = save(tmp_path, own, n_more=-1)
    assert_both_agree(folder)


def test_the_token_before_a_text_is_not_the_one_after_it(tmp_path):
    own = tokenizer(special=["<s>", "</s>"], bos_token="<s>", eos_token="</s>")
    folder = save(tmp_path, own)
    assert_both_agree(folder)
    assert load(folder).tokenizer.bos_id == own.bos_token_id != own.eos_token_id


@pytest.mark.parametrize("word", ["naïve", "→", "New York", "你好"])
def test_added_tokens_are_decoded_as_they_are_written(word, tmp_path):
    folder = save(tmp_path, own := tokenizer(added=[word]))
    text = f"a {word} girl"
    for lm in (load(folder), load(folder, implementation="transformers")):
        assert lm.tokenizer.decode(own(text)["input_ids"]) == text


def test_a_folder_without_tokenizer_files_asks_for_them(tmp_path):
    save(tmp_path, tokenizer())
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(FileError, match="holds no tokenizer"):
        load(tmp_path)


@pytest.mark.parametrize(("added", "n_more"), [((), 24), (("naïve",), 0)])
def test_what_was_read_is_saved_and_read_again(added, n_more, tmp_path):
    first = load(save(tmp_path / "theirs", tokenizer(added=added), n_more))
    save_model(first, tmp_path / "ours")
    again = load(tmp_path / "ours")
    text = "the naïve cat"
    assert again.tokenizer.encode(text) == first.tokenizer.encode(text)
    assert again.tokenizer.settings() == first.tokenizer.settings()
    ids = torch.tensor([first.tokenizer.encode(text)])
    torch.testing.assert_close(again.step(ids).logits, first.step(ids).logits, rtol=0, atol=1e-6)


def test_rows_beyond_the_tokenizer_are_never_written(tmp_path):
    lm = load(save(tmp_path, tokenizer(), n_more=24))
    scores = torch.zeros(2, lm.tokenizer.vocab_size + 24)
    scores[:, -1] = 9.0
    assert fit_to_tokenizer(scores, lm.tokenizer).shape == (2, lm.tokenizer.vocab_size)
    assert torch.isneginf(fit_to_tokenizer(scores[:, :100], lm.tokenizer)[:, 100:]).all()


def test_a_text_begins_as_the_models_own_tokenizer_begins_it(tmp_path):
    """Llama's tokenizer puts <s> before every text; its greedy continuation is that of transformers' own `generate`."""
    from tokenizers import processors

    inner = BytePairTokenizer.train([TEXT * 10], 300).tokenizer
    inner.add_special_tokens(["<s>", "</s>"])
    bos = inner.token_to_id("<s>")
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    own = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(vocab_size=len(own), bos_token_id=bos, eos_token_id=bos + 1, initializer_range=0.3, **sizes)
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    prompt = own("the cat", return_tensors="pt")
    expected = model.generate(**prompt, max_new_tokens=8, do_sample=False, pad_token_id=bos + 1)[
        0, prompt["input_ids"].shape[1] :
    ]
    assert prompt["input_ids"][0, 0] == bos
    lm = load(tmp_path)
    assert generate(lm, "the cat", 8, temperature=0, stop_at_eos=False) == lm.tokenizer.decode(expected.tolist())
