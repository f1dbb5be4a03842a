"""Words are joined as their language writes them: no spaces between words of scripts written without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurolm.checks import InputError
from neurolm.features import LMStates, Surprisal
from neurolm.letters import is_spaceless, space_between
from neurolm.lm import CharTokenizer, ToyModel, WordTokenizer
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer
from neurolm.lm.tokenizer import join_words
from neurolm.stimuli import ContextWindow, Transcript
from neurolm.training import perplexity

JOINED = {
    "chinese": (["小", "王子", "说", "你好", "，", "世界"], "小王子说你好，世界"),
    "japanese": (["星の", "王子", "さま", "ページ", "を"], "星の王子さまページを"),
    "thai": (["เด็ก", "ผู้หญิง", "อ่าน"], "เด็กผู้หญิงอ่าน"),
    "lao": (["ພາສາ", "ລາວ"], "ພາສາລາວ"),
    "khmer": (["ភាសា", "ខ្មែរ"], "ភាសាខ្មែរ"),
    "burmese": (["မြန်မာ", "စာ"], "မြန်မာစာ"),
    "half-width katakana": (["ﾃﾚﾋﾞ", "を"], "ﾃﾚﾋﾞを"),
    "quoted": (["他", "说", "“你好”", "了"], "他说“你好”了"),
    "mixed": (["我", "用", "Python", "写", "代码"], "我用 Python 写代码"),
    "english": (["the", "little", "prince"], "the little prince"),
    "korean": (["소녀가", "책을", "읽었다"], "소녀가 책을 읽었다"),
    "hindi": (["लड़की", "की", "किताब"], "लड़की की किताब"),
    "arabic": (["كَتَبَ", "الوَلَدُ"], "كَتَبَ الوَلَدُ"),
    "hebrew": (["שָׁלוֹם", "עוֹלָם"], "שָׁלוֹם עוֹלָם"),
    "vietnamese": (["tiếng", "việt"], "tiếng việt"),
}


def story(words):
    return Transcript(tuple(words), np.arange(len(words), dtype=float), np.arange(len(words)) + 0.5, name="s")


@pytest.fixture(scope="module")
def byte_pairs():
    """Merges that reach over words: 子说, 你好世."""
    return BytePairTokenizer.train(["小王子说你好世界 the little prince เด็กผู้หญิง " * 30], 420)


@pytest.mark.parametrize("language", JOINED)
def test_every_tokenizer_reads_the_running_text_of_the_language(language, byte_pairs):
    words, text = JOINED[language]
    assert join_words(words, leading_space=False) == text
    for tokenizer in (byte_pairs, CharTokenizer.from_text(" " + text)):
        coded = tokenizer.encode_words(words, leading_space=False)
        assert tokenizer.decode(coded.ids) == text
        own = [tokenizer.decode(coded.ids[a:b]) for a, b in coded.spans]
        assert [piece.strip(" ") for piece in own] == words, "each word has its own tokens"
        assert coded.spans[0, 0] == 0
        assert coded.spans[1:, 0].tolist() == coded.spans[:-1, 1].tolist()
        spaced = tokenizer.encode_words(words, leading_space=False, spaces="always")
        assert tokenizer.decode(spaced.ids) == " ".join(words)
        assert tokenizer.decode(tokenizer.encode_words(words, leading_space=False, spaces="never").ids) == "".join(words)


@pytest.mark.parametrize("language", JOINED)
def test_words_of_a_closed_vocabulary_do_not_depend_on_spaces(language):
    words, _ = JOINED[language]
    tokenizer = WordTokenizer.from_words(words)
    for spaces in ("auto", "always", "never"):
        assert tokenizer.decode(tokenizer.encode_words(words, spaces=spaces).ids).split() == words


@given(st.data())
def test_a_words_tokens_never_depend_on_a_later_word(byte_pairs, data):
    words = data.draw(st.lists(st.sampled_from(["小", "王子", "说", "你好", "世界", "the", "เด็ก"]), min_size=2, max_size=8))
    whole = byte_pairs.encode_words(words, leading_space=False)
    for n in range(1, len(words)):
        part = byte_pairs.encode_words(words[:n], leading_space=False)
        assert whole.ids[: len(part.ids)].tolist() == part.ids.tolist()
        assert whole.spans[:n].tolist() == part.spans.tolist()


def test_a_space_stands_unless_both_neighbours_are_written_without():
    assert not space_between("王子", "说")
    assert space_between("Python", "写")
    assert space_between("책", "을")
    assert space_between("王子", "说", "always")
    assert not space_between("the", "prince", "never")
    assert not is_spaceless("한")
    with pytest.raises(InputError, match="spaces must be one of 'auto', 'always', 'never'; got none"):
        join_words(["a"], leading_space=False, spaces="none")


def test_features_surprisal_and_perplexity_read_the_same_text_and_say_which():
    words, text = JOINED["chinese"]
    lm = ToyModel(CharTokenizer.from_text("\n " + text, eos="\n"))
    window = ContextWindow(None, "story")
    states, surprisal = LMStates(lm, 1, window), Surprisal(lm, window)
    assert states.extract(story(words)).settings["spaces"] == "auto"
    spaced = LMStates(lm, 1, window, spaces="always").extract(story(words))
    assert np.abs(states.extract(story(words)).values[1:] - spaced.values[1:]).max() > 0
    found = perplexity(lm, story(words))
    assert (found.n_words, found.n_bytes, found.n_tokens) == (len(words), len(text.encode()), len(text))
    np.testing.assert_allclose(surprisal.extract(story(words)).values[:, 0].sum(), found.nats, rtol=1e-5)
    np.testing.assert_allclose(found.nats, perplexity(lm, text).nats, rtol=1e-6)
