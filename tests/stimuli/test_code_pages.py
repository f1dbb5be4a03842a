"""Text that is not UTF-8 is decoded by the code page whose words are plausible, and said; or it is refused."""

import warnings

import pytest

from neurolm.checks import FileError
from neurolm.features.norms import Norms
from neurolm.stimuli import read_textgrid, read_transcript
from neurolm.stimuli.text_file import decode_western, read_annotation
from neurolm.training.corpus import read_documents

WESTERN = {
    "English": "don’t worry, it’s “fine” — she’ll say so… naïve cœur",
    "one apostrophe": "don’t",
    "one letter": "café",
    "French": "l’été où ça a été créé, un cœur naïf à l’ÉCOLE déjà, qu’il fût là",
    "German": "Größe der Straße, Mädchen über ÜBER, Äpfel und schöne Öfen",
    "Spanish": "el niño había visto un país así: ¿qué canción, mañana él está?",
    "Italian": "perché la città è più dell’anno così",
    "Portuguese": "não, o coração da avó; você, João, ações",
    "Swedish": "får två människor öppna, Åke",
    "Danish": "på blå røde æbler i Ærø",
    "Dutch": "één geïnteresseerde, ’s avonds",
    "prices": "it costs £5 or 5€, at 20° © 2020",
}
OTHERS = {
    "cp1251": "привет как дела сегодня хорошая погода",
    "koi8-r": "привет как дела сегодня хорошая погода",
    "cp1250": "dziękuję bardzo, łódź, zażółć gęślą jaźń, że są",
    "cp1253": "καλημέρα τι κάνεις",
    "shift_jis": "今日は天気がいい",
    "gbk": "今天天气很好我们去",
    "cp1255": "שלום עולם",
}


@pytest.mark.parametrize("code_page", ["cp1252", "mac-roman"])
@pytest.mark.parametrize("language", WESTERN)
def test_western_text_comes_out_as_it_was_written(language, code_page):
    text = WESTERN[language]
    found = decode_western(text.encode(code_page))
    assert (found.text, found.code_page) == (text, code_page)


@pytest.mark.parametrize("encoding", OTHERS)
def test_text_of_other_scripts_is_refused(encoding, tmp_path):
    assert decode_western(OTHERS[encoding].encode(encoding)) is None
    (tmp_path / "a.txt").write_bytes(b"first line\n" + OTHERS[encoding].encode(encoding))
    with pytest.raises(FileError, match=r"a.txt:2: is not UTF-8 here.*Save it as UTF-8"):
        read_annotation(tmp_path / "a.txt")


def test_utf_8_with_a_broken_character_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes("café naïve façade".encode() + b"\xc3")
    with pytest.raises(FileError, match="not UTF-8 here"):
        read_annotation(tmp_path / "a.txt")


def test_utf_8_is_read_without_a_warning(tmp_path):
    (tmp_path / "a.txt").write_text(WESTERN["French"], encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_annotation(tmp_path / "a.txt") == WESTERN["French"]


GRID = 'File type = "ooTextFile"\n"TextGrid"\n0 2 <exists> 1 "IntervalTier" "words" 0 2 2 0 1 "don’t" 1 2 "cœur"\n'
FORMS = {
    "a.csv": "word,onset,offset\ndon’t,0,1\ncœur,1,2\n",
    "a.tsv": "onset\tduration\tword\n0\t1\tdon’t\n1\t1\tcœur\n",
    "a.TextGrid": GRID,
    "a.json": '{"words": [{"case": "success", "word": "don’t", "start": 0, "end": 1}, '
    '{"case": "success", "word": "cœur", "start": 1, "end": 2}]}',
}


@pytest.mark.parametrize("code_page", ["cp1252", "mac-roman"])
@pytest.mark.parametrize("name", FORMS)
def test_every_reader_of_words_gives_them_and_says_the_code_page(name, code_page, tmp_path):
    (tmp_path / name).write_bytes(FORMS[name].encode(code_page))
    said = {"cp1252": "Windows-1252", "mac-roman": "Mac-Roman"}[code_page]
    with pytest.warns(UserWarning, match=rf"{name} is not UTF-8: read as {said}, with words such as don’t, cœur"):
        story = read_transcript(tmp_path / name)
    assert story.words == ("don’t", "cœur")


def test_a_textgrid_of_mac_roman_is_read(tmp_path):
    (tmp_path / "a.TextGrid").write_bytes(
        '"ooTextFile"\n"TextGrid"\n0 1 <exists> 1 "IntervalTier" "words" 0 1 1 0 1 "café"'.encode("mac-roman")
    )
    with pytest.warns(UserWarning, match="Mac-Roman"):
        assert read_textgrid(tmp_path / "a.TextGrid").words == ("café",)


def test_norms_of_windows_1252_are_read(tmp_path):
    (tmp_path / "norms.csv").write_bytes("Word,Conc\ncœur,4.5\ndon’t,1.5\n".encode("cp1252"))
    with pytest.warns(UserWarning, match="Windows-1252"):
        assert set(Norms(tmp_path / "norms.csv", "Conc").table) == {"cœur", "don't"}


def test_a_corpus_names_the_fallback_that_its_words_ask_for(tmp_path):
    (tmp_path / "a.txt").write_bytes("first\nthe cœur, and don’t".encode("cp1252"))
    with pytest.raises(FileError, match=r"a:2: is not UTF-8 text.*give `fallback: cp1252`: it looks like Windows-1252"):
        read_documents(["a.txt"], root=tmp_path)
    assert read_documents(["a.txt"], root=tmp_path, fallback="cp1252")[0].text == "first the cœur, and don't"
    with pytest.raises(
        FileError, match=r"a:2: holds the control character '\\x9c' as latin-1 text. Give another fallback: cp1252"
    ):
        read_documents(["a.txt"], root=tmp_path, fallback="latin-1")
    with pytest.raises(FileError, match="a:2: is neither UTF-8 nor ascii text"):
        read_documents(["a.txt"], root=tmp_path, fallback="ascii")
    with pytest.raises(ValueError, match="fallback must be an encoding that Python knows; got cp9999"):
        read_documents(["a.txt"], root=tmp_path, fallback="cp9999")
