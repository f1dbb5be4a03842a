"""Every tokenizer keeps the one contract: exact round trip, spans from one tokenisation."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurolm.checks import FileError, InputError
from neurolm.lm import BytePairTokenizer, CharTokenizer, TransformersTokenizer, WordTokenizer
from neurolm.lm.tokenizer import Tokenizer, join_words, spans_from_offsets

TEXT = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do. " * 3
STORY = ["Alice", "was", "beginning", "to", "get", "very", "tired", "of", "sitting"]


@pytest.fixture(scope="module")
def gpt2_files():
    folder = Path(os.environ.get("NEUROLM_DATA", "/nowhere")) / "gpt2_bpe"
    if not folder.is_dir():
        pytest.skip("GPT-2's vocabulary is not here (NEUROLM_DATA)")
    return folder / "vocab.json", folder / "merges_reconstructed.txt"


@pytest.fixture(scope="module")
def gpt2(gpt2_files):
    return BytePairTokenizer.from_files(*gpt2_files)


def as_transformers(byte_pairs):
    from transformers import PreTrainedTokenizerFast

    return TransformersTokenizer(
        PreTrainedTokenizerFast(tokenizer_object=byte_pairs.tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    )


TRAINED = BytePairTokenizer.train([TEXT], 300)
TOKENIZERS = {
    "words": WordTokenizer.from_words(TEXT.split()),
    "characters": CharTokenizer.from_text(TEXT, eos="."),
    "byte pairs": TRAINED,
    "transformers": as_transformers(TRAINED),
}


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())
@pytest.mark.parametrize("leading_space", [True, False])
def test_words_one_by_one_join_to_the_whole_text(tokenizer, leading_space):
    assert isinstance(tokenizer, Tokenizer)
    coded = tokenizer.encode_words(STORY, leading_space=leading_space)
    text = join_words(STORY, leading_space=leading_space)
    assert coded.ids.tolist() == tokenizer.encode(text)
    assert coded.ids.dtype == np.int64
    assert coded.spans[0, 0] == 0
    assert coded.spans[-1, 1] == len(coded.ids)
    assert (coded.spans[1:, 0] == coded.spans[:-1, 1]).all()
    for word, (start, stop) in zip(STORY, coded.spans):
        assert tokenizer.decode(coded.ids[start:stop]).strip() == word


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())
def test_no_words_give_no_tokens(tokenizer):
    coded = tokenizer.encode_words([])
    assert coded.ids.shape == (0,)
    assert coded.spans.shape == (0, 2)


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS.keys())
def test_an_empty_word_is_refused(tokenizer):
    with pytest.raises(InputError, match="Drop empty words"):
        tokenizer.encode_words(["Alice", "", "was"])


@pytest.mark.parametrize("name", ["words", "characters", "byte pairs"])
def test_a_saved_tokenizer_comes_back(name):
    tokenizer = TOKENIZERS[name]
    again = type(tokenizer).from_dict(tokenizer.to_dict())
    assert again.settings() == tokenizer.settings()
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    assert (again.eos_id, again.bos_id) == (tokenizer.eos_id, tokenizer.bos_id)


def test_gpt2_ids_are_openais(gpt2):
    """Hello world and the leading-space facts of GPT-2's published vocabulary."""
    assert gpt2.vocab_size == 50257
    assert gpt2.eos_id == 50256
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("Alice") == [44484]
    assert gpt2.encode(" alice") == [435, 501]
    assert gpt2.encode("hello") == [31373]
    assert gpt2.encode(" hello") == [23748]
    assert gpt2.encode("word ")[-1] == 220


def test_our_byte_pairs_equal_transformers_gpt2(gpt2, gpt2_files):
    from transformers import GPT2Tokenizer

    theirs = GPT2Tokenizer(vocab=str(gpt2_files[0]), merges=str(gpt2_files[1]))
    text = "It's 1,234 naïve cafés — “quoted”,\n\n\ttabs   and 日本語 🙂 don't stop" + TEXT
    assert gpt2.encode(text) == theirs(text)["input_ids"]


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_byte_pairs_round_trip_any_text(text):
    assert TRAINED.decode(TRAINED.encode(text)) == text


@given(st.binary())
@settings(max_examples=200, deadline=None)
def test_byte_pairs_round_trip_any_bytes(data):
    assert TRAINED.decode_bytes(TRAINED.encode_bytes(data)) == data


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), min_size=1, max_size=8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_spans_cover_the_tokens_of_any_words(words, leading_space):
    coded = TRAINED.encode_words(words, leading_space=leading_space)
    pieces = [TRAINED.decode_bytes(coded.ids[start:stop]).decode() for start, stop in coded.spans]
    assert "".join(pieces) == join_words(words, leading_space=leading_space)
    assert [piece.removeprefix(" ") for piece in pieces] == words


def test_training_byte_pairs_is_the_same_in_another_process():
    code = f"from neurolm.lm import BytePairTokenizer as B; print(B.train([{TEXT!r}], 300).settings()['vocabulary'])"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == TRAINED.settings()["vocabulary"]


def test_an_unknown_word_is_unk_or_an_error():
    with_unknown = WordTokenizer(["cat"])
    assert with_unknown.encode("cat dog") == [0, with_unknown.unknown_id]
    with pytest.raises(InputError, match="vocabulary; got dog"):
        WordTokenizer(["cat"], unknown=None).encode_words(["dog"])


def test_a_word_vocabulary_ranks_by_count_then_alphabet():
    tokenizer = WordTokenizer.from_words(["b", "a", "b", "c", "a", "d"], max_size=5)
    assert tokenizer.vocabulary == ["<eos>", "<unk>", "a", "b", "c"]
    assert WordTokenizer.from_words(["A", "a"], lowercase=True).vocabulary == ["<eos>", "<unk>", "a"]
    assert WordTokenizer.from_words(["A", "a"], lowercase=True).encode("A a") == [2, 2]


def test_a_character_outside_the_alphabet_is_named():
    with pytest.raises(InputError, match="alphabet only; got ß"):
        CharTokenizer("abc").encode("aß")


def test_a_token_over_two_words_is_refused():
    with pytest.raises(InputError, match="not share a token"):
        spans_from_offsets(["ab", "cd"], np.array([[0, 1], [1, 4], [4, 5]]), leading_space=False)


def test_a_damaged_vocabulary_is_a_file_error(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0')
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(FileError, match="not a byte-pair vocabulary"):
        BytePairTokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_a_tokenizer_that_puts_the_first_space_itself_gets_no_second_one():
    """As sentencepiece does: every text begins with a space sign."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"▁the": 0, "▁cat": 1, "▁": 2, "<unk>": 3}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    inner.decoder = decoders.Metaspace()
    tokenizer = TransformersTokenizer(PreTrainedTokenizerFast(tokenizer_object=inner))
    coded = tokenizer.encode_words(["the", "cat", "the"], leading_space=True)
    assert coded.ids.tolist() == [0, 1, 0]
    assert coded.spans.tolist() == [[0, 1], [1, 2], [2, 3]]
