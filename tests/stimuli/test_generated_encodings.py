"""Words in every script come out of every kind of file in every encoding and with any line ends, as they were written."""

import csv
import io
import json
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolm.decoding.text_scores import WordErrorRate, normalised
from neurolm.stimuli import Transcript, read_textgrid, read_transcript
from neurolm.training.corpus import clean

from .test_textgrid import INTERVALS, WRITERS

QUICK = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
# base letters of a script, and marks that are written onto them
SCRIPTS = {
    "Latin": ("abcdeiou", "\u0300\u0301\u0302\u0308\u0327"),
    "Greek": ("αεηιουω", "\u0300\u0301\u0308\u0345"),
    "Cyrillic": ("аеиоу", "\u0301\u0306\u0308"),
    "Hebrew": ("שלוםי", "\u05b8\u05bc\u05c1\u05b9"),
    "Arabic": ("كتبدرس", "\u064e\u064f\u0650\u0651\u0652"),
    "Devanagari": ("कखगनमल", "\u093f\u0940\u0947\u094d\u0902\u093c"),
    "Tamil": ("கடதமயர", "\u0bbe\u0bbf\u0bcd\u0bca"),
    "Thai": ("กขคงนม", "\u0e34\u0e35\u0e48\u0e49\u0e31"),
    "Hangul": ("가나다한국", ""),
    "Chinese": ("小王子说你", ""),
}


@st.composite
def words_of_a_script(draw, name=None):
    """A word of letters, each with up to two marks: composed, decomposed or mixed."""
    letters, marks = SCRIPTS[name or draw(st.sampled_from(sorted(SCRIPTS)))]
    mark = st.text(st.sampled_from(marks), max_size=2) if marks else st.just("")
    word = "".join(draw(st.lists(st.tuples(st.sampled_from(letters), mark).map("".join), min_size=1, max_size=4)))
    return unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), word)


WORDS = st.lists(words_of_a_script(), min_size=1, max_size=5)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le with a mark", "utf-16-be with a mark"]


def encoded(text, encoding):
    codec, _, mark = encoding.partition(" with")
    return (b"" if not mark else {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}[codec]) + text.encode(codec)


def table(words, delimiter):
    file = io.StringIO()
    rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    rows.writerows([("word", "onset", "offset"), *((word, i, i + 0.5) for i, word in enumerate(words))])
    return file.getvalue()


def gentle(words):
    said = [{"case": "success", "word": word, "start": i, "end": i + 0.5} for i, word in enumerate(words)]
    return json.dumps({"transcript": " ".join(words), "words": said}, ensure_ascii=False)


def grid(form):
    return lambda words: WRITERS[form]([("word", INTERVALS, [(float(i), i + 1.0, word) for i, word in enumerate(words)])])


KINDS = {
    "tsv": ("a.tsv", lambda words: table(words, "\t"), read_transcript),
    "csv": ("a.csv", lambda words: table(words, ","), read_transcript),
    "gentle": ("a.json", gentle, read_transcript),
    **{f"{form} TextGrid": ("a.TextGrid", grid(form), read_textgrid) for form in WRITERS},
}


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(words=WORDS, encoding=st.sampled_from(ENCODINGS), ends=st.sampled_from(["\n", "\r\n", "\r"]))
def test_words_of_every_script_are_read_in_every_encoding(kind, words, encoding, ends, tmp_path):
    name, write, read = KINDS[kind]
    (tmp_path / name).write_bytes(encoded(write(words).replace("\n", ends), encoding))
    assert list(read(tmp_path / name).words) == words


@settings(QUICK, max_examples=100)
@given(data=st.data())
def test_combining_marks_are_letters_in_scores_and_corpora(data):
    """A word is itself in every normal form, and another word as soon as its letters or marks differ."""
    script = data.draw(st.sampled_from(sorted(SCRIPTS)))
    one, other = data.draw(words_of_a_script(script)), data.draw(words_of_a_script(script))
    heard, decoded = (normalised(Transcript((word,), np.zeros(1), np.ones(1))).words for word in (one, other))
    same = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert heard == (unicodedata.normalize("NFC", one),)
    assert WordErrorRate()([heard], [decoded]) == (0.0 if same else 1.0)
    assert clean(f"«{one}», {other}!", "spoken") == unicodedata.normalize("NFC", f"{one} {other}")
