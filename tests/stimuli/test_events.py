import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolm.checks import FileError, InputError
from neurolm.stimuli import read_events, read_gentle, read_transcript
from neurolm.stimuli.events import story_name

DATA = Path(os.environ.get("NEUROLM_DATA", "/nowhere"))
NARRATIVES = sorted((DATA / "narratives_align").glob("*_align.csv"))
PRINCE = DATA / "littleprince_en" / "annotation" / "lppEN_word_information.csv"


def save(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


# --- tables ---------------------------------------------------------------------------------------------------


def test_bids_events_with_durations_and_untimed_words(tmp_path):
    text = (
        "onset\tduration\ttrial_type\tword\n0.5\t0.25\tword\tOnce\nn/a\tn/a\tword\tupon\n1.0\t0.5\tword\ta\n1.5\t0\tword\ttime\n"
    )
    transcript = read_events(save(tmp_path / "sub-01_task-tale_run-1_events.tsv", text))
    assert transcript.words == ("Once", "a", "time")
    assert transcript.onsets.tolist() == [0.5, 1.0, 1.5]
    assert transcript.offsets.tolist() == [0.75, 1.5, 1.5]
    assert transcript.left_out == {"untimed": 1}
    assert transcript.name == "tale"


def test_csv_with_header_takes_the_end_and_the_marks(tmp_path):
    text = 'Word,Onset,Offset,Sentence,Paragraph\n"Well, well",0,1,s1,1\nyes,1,2,s1,1\nsp,2,3,s1,1\nno,3,4,s2,2\n'
    transcript = read_events(save(tmp_path / "a.csv", text))
    assert transcript.words == ("Well, well", "yes", "no")
    assert transcript.sentences.tolist() == [0, 0, 1]
    assert transcript.paragraphs.tolist() == [0, 0, 1]
    assert transcript.left_out == {"sp": 1}


def test_gentle_csv_without_header(tmp_path):
    text = "I,i,15.09,15.17\nbegan,began,15.17,15.51\nillustrious,<unk>,,\nI’m,i'm,16.0,16.3\n"
    transcript = read_events(save(tmp_path / "pieman_align.csv", text))
    assert transcript.words == ("I", "began", "I’m")
    assert transcript.left_out == {"untimed": 1}
    assert transcript.name == "pieman"


def test_where_and_word_column_choose_rows_and_words(tmp_path):
    path = save(
        tmp_path / "a.tsv", "onset\tduration\ttrial_type\tvalue\n0\t1\tpicture\tdog\n1\t1\tspoken\tcat\n2\t1\tspoken\tsat\n"
    )
    transcript = read_events(path, word_column="value", where={"trial_type": "spoken"})
    assert transcript.words == ("cat", "sat")
    assert transcript.left_out == {}
    with pytest.raises(
        InputError, match=r"where\['trial_type'\] must be a value of that column in .*\(picture, spoken\); got sung"
    ):
        read_events(path, word_column="value", where={"trial_type": "sung"})


@pytest.mark.filterwarnings("ignore:.* is not UTF-8")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "mac-roman"])
def test_encodings_give_the_same_words(encoding, tmp_path):
    assert read_events(save(tmp_path / "a.csv", "word,onset,offset\r\nécole,0,1\r\n", encoding)).words == ("école",)


@pytest.mark.skipif(not NARRATIVES, reason="NEUROLM_DATA names no folder with narratives_align")
@pytest.mark.parametrize("path", NARRATIVES, ids=lambda p: p.stem)
def test_every_narratives_file_agrees_with_pandas(path):
    table = pd.read_csv(path, header=None, names=["word", "token", "onset", "offset"], keep_default_na=False, encoding="utf-8")
    timed = table[(table.onset != "") & (table.offset != "")]
    transcript = read_transcript(path)
    assert transcript.words == tuple(timed.word)
    np.testing.assert_array_equal(transcript.onsets, timed.onset.astype(float))
    np.testing.assert_array_equal(transcript.offsets, timed.offset.astype(float))
    assert sum(transcript.left_out.values()) == len(table) - len(timed)


@pytest.mark.skipif(not PRINCE.is_file(), reason="NEUROLM_DATA names no folder with littleprince_en")
def test_little_prince_is_read_section_by_section():
    assert [len(read_transcript(PRINCE, where={"section": k})) for k in (1, 9)] == [1516, 1974]
    with pytest.raises(FileError, match=r"lppEN_word_information.csv:1519: 'i' begins at 0.376 s, after 'far' at 554.186 s"):
        read_transcript(PRINCE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: is empty"),
        (",,,\n , ,,\n", "holds no rows"),
        ("word,onset,offset\n", "the table holds no word, only 0 other"),
        ("word,onset,offset\nsp,0,1\na,,\n", "the table holds no word, only 2 other"),
        ("word,when,until\na,0,1\n", "a.csv:1: the first row names no onset column: word, when, until. Name the columns"),
        ("a,a,0\nb,b,1\n", "a.csv:1: the first row names no onset column"),
        ("noun,onset,offset\na,0,1\n", "has no column for word among 'noun', 'onset', 'offset'. Name it"),
        ("word,onset,until\na,0,1\n", "has no column for offset or duration among"),
        ("word,onset,onset,offset\na,0,1,2\n", "a.csv:1: names the column 'onset' twice"),
        ("word,onset,offset\na,0,1\nb,2\n", "a.csv:3: 2 columns, the first row has 3"),
        ("word,onset,offset\na,0,1\n\nb,1,soon\n", "a.csv:4: 'soon' is not a time in seconds"),
        ("word,onset,offset\na,0,inf\n", "a.csv:2: 'inf' is not a time"),
        ("word,onset,offset\na,1,2\nb,0,3\n", "a.csv:3: 'b' begins at 0.000 s, after 'a' at 1.000 s"),
        ("word,onset,offset\na,1,0.5\n", "a.csv:2: 'a' ends at 0.5 s, before it begins at 1 s"),
        ("word,onset,duration\na,1,-0.5\n", "a.csv:2: 'a' ends at 0.5 s"),
        ('word,onset,offset\n"a,1,2\nb,2,3\n', "a.csv:2: 1 columns, the first row has 3"),
        ("word,onset,offset\na\0,1,2\n", "is not a text file"),
    ],
)
def test_impossible_tables_are_refused_with_the_line(text, message, tmp_path):
    with pytest.raises(FileError, match=message):
        read_events(save(tmp_path / "a.csv", text))


def test_story_names():
    names = ["sub-01_task-pieman_run-1_events.tsv", "tunnel_align.csv", "life.TextGrid", "black.txt.gz"]
    assert [story_name(name) for name in names] == ["pieman", "tunnel", "life", "black"]


# --- gentle JSON --------------------------------------------------------------------------------------------


def gentle(**change):
    words = [
        {"case": "success", "word": "Well", "alignedWord": "well", "start": 0.1, "end": 0.3, "startOffset": 0, "endOffset": 4},
        {"case": "not-found-in-audio", "word": "I", "startOffset": 6, "endOffset": 7},
        {"case": "success", "word": "went", "alignedWord": "went", "start": 0.5, "end": 0.9},
        {"case": "success", "word": "Home", "alignedWord": "home", "start": 1.5, "end": 1.9},
    ]
    return {"transcript": "Well, I went.\n\nHome.", "words": words} | change


def test_gentle_json_gives_words_times_and_marks(tmp_path):
    transcript = read_gentle(save(tmp_path / "tale.json", json.dumps(gentle())))
    assert transcript.words == ("Well", "went", "Home")
    assert transcript.offsets.tolist() == [0.3, 0.9, 1.9]
    assert transcript.sentences.tolist() == transcript.paragraphs.tolist() == [0, 0, 1]
    assert transcript.left_out == {"untimed": 1}


def test_gentle_json_without_punctuation_has_no_marks(tmp_path):
    for text in (None, "Well I went Home"):
        assert read_gentle(save(tmp_path / "tale.json", json.dumps(gentle(transcript=text)))).sentences is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"words": [\n{"word": }]}', r"a.json:2: is not valid JSON"),
        ("[1, 2]", 'holds no list "words"'),
        ('{"words": {}}', 'holds no list "words"'),
        ('{"words": [1]}', "word 0 has no text"),
        (
            json.dumps(gentle(words=[{"case": "success", "word": "a", "start": "0", "end": 1}])),
            r"word 0 \('a'\) has the start '0'",
        ),
        ('{"words": [{"word": "a", "start": NaN, "end": 1}]}', "word 0 .* has the start nan"),
        ('{"words": [{"word": "a", "case": "not-found-in-audio"}]}', "the alignment holds no word, only 1 other"),
        (json.dumps(gentle(transcript="Another story. With other words.")), "its words are not those of its text"),
        ("[" * 100_000, "is not JSON of an alignment|is not valid JSON"),
    ],
)
def test_impossible_gentle_files_are_refused(text, message, tmp_path):
    with pytest.raises(FileError, match=message):
        read_gentle(save(tmp_path / "a.json", text))


# --- any file -----------------------------------------------------------------------------------------------


def test_the_content_decides_how_a_file_is_read(tmp_path):
    grid = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n2\n<exists>\n1\n"IntervalTier" "word" 0 2 1\n0 2 "hello"\n'
    assert read_transcript(save(tmp_path / "a.txt", grid)).words == ("hello",)
    assert read_transcript(save(tmp_path / "b.txt", json.dumps(gentle()))).words[0] == "Well"
    assert read_transcript(save(tmp_path / "c.txt", "word\tonset\tduration\nhello\t0\t1\n")).words == ("hello",)
    with pytest.raises(InputError, match=r"tier must be left out for .*, which is a table"):
        read_transcript(tmp_path / "c.txt", tier="word")
    with pytest.raises(InputError, match=r"where must be left out for .*, which is a TextGrid"):
        read_transcript(tmp_path / "a.txt", where={"a": 1})
    with pytest.raises(FileError, match="no such file"):
        read_transcript(tmp_path / "none.csv")


@pytest.mark.filterwarnings("ignore:.* is not UTF-8")
@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_files_give_an_error_of_ours_or_a_transcript(data, tmp_path):
    starts = [
        "word,onset,offset\na,0,1\nb,1,2\nc,2,3\n",
        "onset\tduration\tword\n0\t1\ta\nn/a\tn/a\tb\n",
        "a,a,0,1\nb,b,,\nc,c,2,3\n",
        json.dumps(gentle()),
    ]
    raw = bytearray(data.draw(st.sampled_from(starts)).encode(data.draw(st.sampled_from(["utf-8", "utf-16"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        piece = data.draw(
            st.binary(max_size=6) | st.sampled_from([b'"', b",,", b"\t", b"nan", b"1e999", b"{", b"[", b"\r", b"9" * 5000])
        )
        raw[at : at + data.draw(st.integers(0, 8))] = piece
    path = tmp_path / data.draw(st.sampled_from(["a.csv", "a.tsv", "a.json", "a.TextGrid"]))
    path.write_bytes(bytes(raw))
    try:
        transcript = read_transcript(path)
    except InputError:
        return
    assert len(transcript) > 0


@pytest.mark.filterwarnings("ignore:.* is not UTF-8")
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(min_size=1, max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_noise_is_refused_without_a_traceback_of_python(raw, tmp_path):
    path = tmp_path / "noise"
    path.write_bytes(raw)
    with pytest.raises(FileError) as error:
        read_transcript(path)
    assert str(error.value).startswith(str(path))
