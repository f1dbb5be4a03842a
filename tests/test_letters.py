"""Letters and words in all scripts, against counts by hand and jiwer."""

import unicodedata

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurolm.decoding.lexicon import vocabulary_of
from neurolm.decoding.text_scores import WordErrorRate, normalised
from neurolm.features import LogFrequency, Norms, PhonemeCount, StaticEmbeddings, WordLength
from neurolm.letters import count_letters, is_letter, lower_case, plain_spelling, spoken_text, words_of
from neurolm.stimuli import Transcript
from neurolm.stimuli.word_entries import lower_case_words, split_entries
from neurolm.training.corpus import clean, read_documents

SENTENCES = {
    "hindi": "लड़की की किताब हिन्दी भाषा में",
    "tamil": "கடிதம் எழுதினாள் அம்மா",
    "arabic": "كَتَبَ الوَلَدُ الدَّرْسَ",
    "hebrew": "שָׁלוֹם עוֹלָם יֶלֶד",
    "thai": "เด็ก ผู้หญิง อ่าน หนังสือ ที่",
    "korean": "소녀 가 책을 읽었다",
    "vietnamese": "tiếng việt đẹp lắm",
    "german": "straße über größe",
    "french": "l'homme aujourd'hui été ça",
    "turkish": "istanbul ışık çocuğa",
    "chinese": "小 王子 说 你好",
    "japanese": "星の 王子さま ページ",
}


def story(words):
    return Transcript(tuple(words), np.arange(len(words), dtype=float), np.arange(len(words)) + 0.5, name="s")


def scored(text):
    return normalised(story(text.split())).words


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("language", SENTENCES)
def test_words_of_every_script_keep_all_their_letters_in_scores_corpora_and_lexicons(language, form):
    right = unicodedata.normalize("NFC", SENTENCES[language])
    text = unicodedata.normalize(form, SENTENCES[language])
    assert scored(text) == tuple(right.split())
    assert clean(f"{text}!\n\n«{text}».", "spoken") == f"{right} {right}"
    assert vocabulary_of([text.split()], 1) == set(right.split())
    assert words_of(text) == right.split()


@pytest.mark.parametrize(
    ("heard", "decoded"),
    [("लड़की की किताब", "लड़का का कताब"), ("கடிதம்", "கடதம"), ("كَتَبَ", "كُتِبَ"), ("tiếng", "tieng"), ("שָׁלוֹם", "שלום"), ("เด็ก", "เดก")],
)
def test_words_that_differ_in_their_marks_are_other_words_as_for_jiwer(heard, decoded):
    got = WordErrorRate()([scored(heard)], [scored(unicodedata.normalize("NFD", decoded))])
    assert got == jiwer.wer(unicodedata.normalize("NFC", heard), unicodedata.normalize("NFC", decoded)) == 1.0


@given(st.sampled_from(sorted(SENTENCES)), st.sampled_from(["NFC", "NFD"]), st.sampled_from("'’ʼ＇"), st.data())
def test_a_word_is_the_same_in_every_unicode_form_with_every_apostrophe_and_any_invisible_sign(language, form, sign, data):
    word = data.draw(st.sampled_from(SENTENCES[language].split()))
    variant = unicodedata.normalize(form, word).replace("'", sign)
    variant = "\ufeff" + variant if data.draw(st.booleans()) else variant + "\u200e"
    assert plain_spelling(variant) == unicodedata.normalize("NFC", word)
    assert scored(variant) == scored(word) == (word,)
    assert spoken_text(variant) == word
    assert LogFrequency({word: 7}).extract(story([variant])).settings["n_missing"] == 0
    assert WordLength().extract(story([variant])).values == WordLength().extract(story([word])).values


def test_marks_belong_to_their_letter_when_letters_are_counted():
    assert [count_letters(w) for w in ("किताब", "हिन्दी", "சொல்", "שָׁלוֹם", "한국", "tiếng", "don't", "3½")] == [
        3,
        3,
        2,
        4,
        2,
        5,
        4,
        2,
    ]
    assert all(map(is_letter, "aéиक\u093f\u094d한中3"))
    assert not any(map(is_letter, "_-.'’ ,\u0964"))


def test_the_turkish_dotted_capital_becomes_a_plain_i():
    assert lower_case("İSTANBUL'DA") == "istanbul'da"
    assert lower_case("Ångström") == "ångström"


def test_joiners_stay_in_a_corpus_and_do_not_part_words_that_are_compared():
    assert clean("می\u200cخواهم.", "spoken") == "می\u200cخواهم"
    assert scored("می\u200cخواهم") == ("میخواهم",) == scored("میخواهم")
    assert clean("ខ្ញុំ\u200bស្រឡាញ់", "spoken") == "ខ្ញុំ ស្រឡាញ់"  # a zero-width space separates words


def test_signs_with_a_variation_selector_are_no_words():
    assert scored("heart ❤\ufe0f — ok") == ("heart", "ok")


def test_white_space_inside_an_entry_splits_it_and_shares_its_time_by_letters():
    text = Transcript(("New York", "is"), np.array([0.0, 2.0]), np.array([1.4, 3.0]), sentences=[0, 1])
    split = split_entries(text)
    assert split.words == ("New", "York", "is")
    np.testing.assert_allclose(split.onsets, [0, 0.6, 2])
    np.testing.assert_allclose(split.offsets, [0.6, 1.4, 3])
    assert split.sentences.tolist() == [0, 0, 1]
    assert normalised(text).words == lower_case_words(text).words == ("new", "york", "is")
    assert vocabulary_of([["New York", "new"]], 1) == {"new", "york"}
    assert WordErrorRate()([normalised(text).words], [scored("new york is")]) == 0


def test_overlapping_entries_stay_in_time_order_when_they_are_split():
    split = split_entries(Transcript(("a b", "c"), np.array([0.0, 0.2]), np.array([2.0, 0.4])))
    assert split.words == ("a", "c", "b")


@pytest.mark.parametrize("form", ["written", "spoken", "lines", "raw"])
def test_a_byte_order_mark_is_no_letter_in_any_form_or_container(tmp_path, form):
    import zipfile

    (tmp_path / "a.txt").write_bytes("\ufeffone two\n".encode())
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("b.txt", "\ufeffone two\n".encode())
    for document in read_documents(["a.txt", "z.zip::*.txt"], form=form, root=tmp_path):
        assert document.text.startswith("one two")


def test_tables_find_words_in_every_unicode_form_and_with_every_apostrophe(tmp_path):
    nfd = unicodedata.normalize("NFD", "café")
    words = story(["café", nfd, "don't", "don’t", "Café,"])
    (tmp_path / "norms.csv").write_text(f"word,conc\n{nfd},1\ndon’t,2\nthe,5\n")
    assert Norms(tmp_path / "norms.csv", "conc").extract(words).values[:, 0].tolist() == [1, 1, 2, 2, 1]
    (tmp_path / "vectors.txt").write_text(f"{nfd} 1 0\ndon’t 0 1\n")
    vectors = StaticEmbeddings(tmp_path / "vectors.txt").extract(words).values
    assert vectors.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]]
    np.savez(tmp_path / "vectors.npz", words=np.array([nfd, "don’t"]), vectors=np.eye(2))
    assert StaticEmbeddings(tmp_path / "vectors.npz").extract(words).values.tolist() == vectors.tolist()
    assert PhonemeCount({nfd: 4, "don’t": 4}).extract(words).values[:, 0].tolist() == [4] * 5
    counts = LogFrequency({"don’t": 60, "DON'T": 40, "the": 1000}).extract(story(["don’t", "don't"])).values[:, 0]
    np.testing.assert_allclose(counts, np.log10(101 / 1102 * 1e9), rtol=1e-6)
    (tmp_path / "corpus.txt").write_text(f"{nfd} café हिन्दी don’t", encoding="utf-8")
    assert LogFrequency.from_corpus(tmp_path / "corpus.txt").counts == {"café": 2, "हिन्दी": 1, "don't": 1}
