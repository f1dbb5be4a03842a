import os
from collections import Counter
from pathlib import Path

import numpy as np
import parselmouth
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parselmouth.praat import call

from neurolm.checks import FileError, InputError
from neurolm.stimuli import read_textgrid, read_tiers, read_transcript
from neurolm.stimuli.textgrid import praat_symbols

DATA = Path(os.environ.get("NEUROLM_DATA", "/nowhere"))
INTERVALS, POINTS = "IntervalTier", "TextTier"

MOTH = sorted((DATA / "moth_textgrids" / "TextGrids").glob("*.TextGrid"))
OTHERS = sorted(DATA.glob("alice2016/alice_stim_shared/*.TextGrid")) + sorted(
    (DATA / "littleprince_en" / "annotation").glob("*.TextGrid")
)
needs_data = pytest.mark.skipif(not MOTH or not OTHERS, reason="NEUROLM_DATA names no folder with TextGrids")


# --- writing the three text forms; tiers are (name, kind, marks), a mark is (times..., text) -----------------


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def domain(tiers):
    return 0.0, max((mark[-2] for _, _, marks in tiers for mark in marks), default=1.0) + 1


def write_short(tiers):
    start, end = domain(tiers)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"{start!r}", f"{end!r}", "<exists>", str(len(tiers))]
    for name, kind, marks in tiers:
        lines += [quoted(kind), quoted(name), f"{start!r}", f"{end!r}", str(len(marks))]
        for mark in marks:
            lines += [*(repr(time) for time in mark[:-1]), quoted(mark[-1])]
    return "\n".join(lines) + "\n"


def write_long(tiers):
    start, end = domain(tiers)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"xmin = {start!r} ", f"xmax = {end!r} "]
    lines += ["tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for i, (name, kind, marks) in enumerate(tiers, start=1):
        what, keys, label = ("intervals", ("xmin", "xmax"), "text") if kind == INTERVALS else ("points", ("number",), "mark")
        lines += [f"    item [{i}]:", f"        class = {quoted(kind)} ", f"        name = {quoted(name)} "]
        lines += [f"        xmin = {start!r} ", f"        xmax = {end!r} ", f"        {what}: size = {len(marks)} "]
        for k, mark in enumerate(marks, start=1):
            lines += [f"        {what} [{k}]:"]
            lines += [f"            {key} = {time!r} " for key, time in zip(keys, mark[:-1], strict=True)]
            lines += [f"            {label} = {quoted(mark[-1])} "]
    return "\n".join(lines) + "\n"


def write_chronological(tiers):
    start, end = domain(tiers)
    lines = [
        '"Praat chronological TextGrid text file"',
        f"{start!r} {end!r}   ! Time domain.",
        f"{len(tiers)}   ! Number of tiers.",
    ]
    lines += [f"{quoted(kind)} {quoted(name)} {start!r} {end!r}" for name, kind, _ in tiers]
    marks = [(mark[0], i, mark) for i, (_, _, of_tier) in enumerate(tiers, start=1) for mark in of_tier]
    for _, i, mark in sorted(marks, key=lambda m: m[:2]):
        lines += ["", "! a tier's name:", f"{i} " + " ".join(map(repr, mark[:-1])), quoted(mark[-1])]
    return "\n".join(lines) + "\n"


def write_older_short(tiers):
    """As older Praat, the Penn aligner and praatIO < 5 write it: the kind of file says short, the class has no key."""
    return write_short(tiers).replace('"ooTextFile"\nObject class = "TextGrid"', '"ooTextFile short"\n"TextGrid"', 1)


WRITERS = {"long": write_long, "short": write_short, "older short": write_older_short, "chronological": write_chronological}


def save(path, tiers, form="long", encoding="utf-8"):
    path.write_bytes(WRITERS[form](tiers).encode(encoding))
    return path


# --- what parselmouth, Praat itself, reads ------------------------------------------------------------------


def praat_marks(path, kinds):
    grid = parselmouth.read(str(path))
    tiers = []
    for tier, kind in enumerate(kinds, start=1):
        if kind == INTERVALS:
            numbers = range(1, call(grid, "Get number of intervals", tier) + 1)
            read = [
                (
                    call(grid, "Get start time of interval", tier, k),
                    call(grid, "Get end time of interval", tier, k),
                    call(grid, "Get label of interval", tier, k),
                )
                for k in numbers
            ]
        else:
            numbers = range(1, call(grid, "Get number of points", tier) + 1)
            read = [(call(grid, "Get time of point", tier, k), call(grid, "Get label of point", tier, k)) for k in numbers]
        tiers.append((call(grid, "Get tier name", tier), kind, read))
    return tiers


def as_table(mark):
    """A mark as Praat's tables have it: 15 digits of a time, and a `?` for an empty text too."""
    return (round(mark.onset, 11), round(mark.offset, 11), mark.text or "?")


def praat_table(path, tmp_path):
    """All intervals of a big file at once, as {tier: [(onset, offset, text), ...]}."""
    table = call(parselmouth.read(str(path)), "Down to Table", False, 17, True, True)
    call(table, "Save as tab-separated file", str(tmp_path / "table.tsv"))
    raw = (tmp_path / "table.tsv").read_bytes()
    text = raw.decode("utf-16" if raw.startswith(b"\xfe\xff") else "utf-8")
    tiers = {}
    for row in text.split("\n")[1:]:
        if row:
            onset, tier, label, offset = row.split("\t")
            tiers.setdefault(tier, []).append((round(float(onset), 11), round(float(offset), 11), label))
    return tiers


def own_marks(tiers):
    times = {INTERVALS: lambda m: (m.onset, m.offset, m.text), POINTS: lambda m: (m.onset, m.text)}
    return [(tier.name, tier.kind, [times[tier.kind](mark) for mark in tier.labels]) for tier in tiers]


# --- real files --------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize("path", OTHERS, ids=lambda p: p.stem)
def test_alice_and_little_prince_agree_with_praat_on_every_mark(path, tmp_path):
    tiers = read_tiers(path)
    table = praat_table(path, tmp_path)
    assert {tier.name for tier in tiers} == set(table)
    for tier in tiers:
        assert [as_table(m) for m in tier.labels] == table[tier.name]
    words = [text.strip() for _, _, text in table[tiers[0].name] if any(c.isalnum() for c in text) and text != "sp"]
    assert read_textgrid(path).words == tuple(map(praat_symbols, words))


@needs_data
@pytest.mark.parametrize("path", MOTH, ids=lambda p: p.stem)
def test_moth_grids_agree_with_praat_and_lose_none_of_the_words_that_praat_loses(path, tmp_path):
    """Praat stops at the announced number of marks and keeps one of two marks that begin together."""
    table = praat_table(path, tmp_path)
    for tier in read_tiers(path):
        first_at = {}
        for mark in tier.labels[: tier.n_announced]:
            first_at.setdefault(mark.onset, as_table(mark))
        assert list(first_at.values()) == table[tier.name]
        assert len(tier.labels) >= tier.n_announced
    transcript = read_textgrid(path)
    n_praat = sum(text.strip().isupper() and not text.strip().startswith(("{", "(", "SENTENCE")) for _, _, text in table["word"])
    assert len(transcript) > n_praat
    assert transcript.left_out["SENTENCE_END"] == pytest.approx(transcript.sentences[-1] + 1, abs=2)
    assert not any(set(word) & set("{}()_") for word in transcript.words)


@needs_data
def test_real_word_counts():
    words = {path.stem: len(read_textgrid(path)) for path in MOTH + OTHERS}
    assert words["DownTheRabbitHoleFinal_exp120_pad_1"] == 2127
    assert words["wheretheressmoke"] == 1836
    assert sum(words[path.stem] for path in MOTH) == 23710
    alice = read_textgrid(OTHERS[0])
    assert alice.left_out == {"sp": 290, "empty": 6}
    assert (alice.words[0], alice.onsets[0]) == ("Alice", 20.05891632653599)


@needs_data
def test_every_moth_word_sits_on_its_phones():
    """A witness from inside the files: words begin and end where phones do, those past the announced number too."""
    path = next(p for p in MOTH if p.stem == "wheretheressmoke")
    words, phones = read_textgrid(path, "word"), read_textgrid(path, "phone")
    nearest = np.abs(words.onsets[:, None] - phones.onsets[None, :]).min(axis=1)
    assert np.mean(nearest < 0.011) > 0.99
    assert phones.words[:3] == ("AY1", "R", "IY1")


# --- generated files ----------------------------------------------------------------------------------------

LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\\\ufeff")
WESTERN = st.lists(st.sampled_from(["a", "école", "Größe", "naïve", "niño", 'say "so"', "x! 1.5", "à"]), max_size=3).map(" ".join)


@st.composite
def grids(draw, texts=None):
    texts = st.text(LETTERS, max_size=8) if texts is None else texts
    tiers = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(texts)
        steps = draw(st.lists(st.integers(1, 5000), max_size=5))
        times = np.cumsum([0, *steps]) / 1000
        labels = [draw(texts) for _ in steps]
        if draw(st.booleans()) or not steps:
            marks = [(float(a), float(b), text) for a, b, text in zip(times, times[1:], labels, strict=False)]
            tiers.append((name, INTERVALS, marks or [(0.0, 1.0, "")]))
        else:
            tiers.append((name, POINTS, [(float(t), text) for t, text in zip(times[1:], labels, strict=True)]))
    return tiers


@pytest.mark.filterwarnings("ignore:.* is not UTF-8")
@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_generated_grids_agree_with_praat_and_with_what_was_written(form, encoding, data, tmp_path):
    tiers = data.draw(grids(WESTERN if encoding == "latin-1" else None))
    path = save(tmp_path / "grid.TextGrid", tiers, form, encoding)
    own = own_marks(read_tiers(path))
    assert own == tiers
    # Praat itself reads no chronological file with a byte-order mark
    if form != "chronological" or encoding in ("utf-8", "latin-1"):
        assert own == praat_marks(path, [kind for _, kind, _ in tiers])


def test_overlap_of_a_fraction_of_a_millisecond_is_kept(tmp_path):
    marks = [(0.0, 0.50004, "one"), (0.5, 1.0, "two")]
    transcript = read_textgrid(save(tmp_path / "a.TextGrid", [("word", INTERVALS, marks)]))
    assert transcript.onsets.tolist() == [0.0, 0.5]
    assert transcript.offsets.tolist() == [0.50004, 1.0]


@pytest.mark.filterwarnings("ignore:.* is not UTF-8")
def test_old_line_ends_and_missing_byte_order_marks_are_read(tmp_path):
    tiers = [("word", INTERVALS, [(0.0, 1.0, "école"), (1.0, 2.0, 'say "so"')])]
    text = write_long(tiers)
    for name, raw in {
        "mac": text.replace("\n", "\r").encode(),
        "dos": text.replace("\n", "\r\n").encode(),
        "little": text.encode("utf-16-le"),
        "big": text.encode("utf-16-be"),
        "latin": text.encode("latin-1"),
    }.items():
        (tmp_path / name).write_bytes(raw)
        assert read_textgrid(tmp_path / name).words == ("école", 'say "so"'), name


# --- rules --------------------------------------------------------------------------------------------------


def test_what_is_not_speech_is_left_out_and_counted(tmp_path):
    texts = [
        "sp",
        "{BR}",
        "{LS)",
        "(BR}",
        "lg",
        "",
        "#",
        "SENTENCE_START",
        "HELLO ",
        "SENTENCE END",
        "\u2014",
        "THERE",
        "{{BR}",
        "<unk>",
    ]
    marks = [(k / 2, k / 2 + 0.5, text) for k, text in enumerate(texts)]
    marks.insert(9, (marks[8][1], marks[8][1], "GHOST"))
    transcript = read_textgrid(save(tmp_path / "a.TextGrid", [("word", INTERVALS, marks)], "short"))
    assert transcript.words == ("HELLO", "THERE")
    assert transcript.sentences.tolist() == [0, 1]
    expected = Counter(text.strip() or "empty" for text in texts if text.strip() not in ("HELLO", "THERE")) + Counter(
        {"zero length": 1}
    )
    assert transcript.left_out == expected


def test_point_tier_gives_words_of_no_length(tmp_path):
    path = save(tmp_path / "a.TextGrid", [("words", POINTS, [(0.5, "one"), (1.5, "two")])])
    transcript = read_textgrid(path)
    assert transcript.words == ("one", "two")
    np.testing.assert_array_equal(transcript.onsets, transcript.offsets)


def test_backslash_symbols_become_letters():
    assert praat_symbols("na\\i\"ve \\c,a \\E't\\e' \\ss \\o/ \\` the") == "naïve ça Été ß ø `the"
    assert praat_symbols("\\sw \\ct \\alpha \\") == "\\sw \\ct \\alpha \\"


def test_the_tier_is_chosen_by_name_or_by_being_the_only_one(tmp_path):
    one, two = [(0.0, 1.0, "yes")], [(0.0, 1.0, "Y")]
    write = lambda *names: save(  # noqa: E731
        tmp_path / "a.TextGrid", [(name, INTERVALS, one if "ord" in name else two) for name in names]
    )
    assert read_textgrid(write("TokensAlign")).words == ("Y",)
    assert read_textgrid(write("phone", "Word")).words == ("yes",)
    assert read_textgrid(write("Anna - words", "Anna - phones")).words == ("yes",)
    assert read_textgrid(write("phone", "word"), "phone").words == ("Y",)
    with pytest.raises(FileError, match=r"more than one tier that could hold the words: 'phone', 'sylls'.*tier="):
        read_textgrid(write("phone", "sylls"))
    with pytest.raises(FileError, match="more than one tier"):
        read_textgrid(write("Anna - words", "Ben - words"))
    with pytest.raises(InputError, match=r"one of its tiers \('phone', 'word'\); got 'words'. Did you mean 'word'"):
        read_textgrid(write("phone", "word"), "words")


# --- bad files ----------------------------------------------------------------------------------------------

GOOD = [("word", INTERVALS, [(0.0, 1.0, "one"), (1.0, 2.0, "two"), (2.0, 3.0, "three")])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: "", "is empty"),
        (lambda t: "word\tonset\nhello\t1\n", "expected a TextGrid's first line|ends where a TextGrid's first line"),
        (lambda t: t.replace("ooTextFile", "other"), ":1: is not a TextGrid"),
        (lambda t: t.replace('"TextGrid"', '"PitchTier"'), ":1: is not a TextGrid"),
        (lambda t: "ooBinaryFile\x08TextGrid", "is a binary TextGrid. In Praat"),
        (lambda t: t[: t.index("three") - 2], r":26: the file ends where a text of tier 'word' should be"),
        (lambda t: t[: t.index("three") + 2], r"found '\"'|should be"),
        (lambda t: t.replace("size = 3", "size = 4"), "the file ends where a time of mark 4 of the 4 announced of tier 'word'"),
        (lambda t: t.replace("size = 3", "size = 2.5"), "must be a whole number; got 2.5"),
        (lambda t: t.replace("size = 3", "size = 1e999"), "must be finite"),
        (lambda t: t.replace("xmax = 2.0", "xmax = 0.5"), r":22: 'two' of tier 'word' ends at 0.5 s, before it begins at 1 s"),
        (lambda t: t.replace("xmin = 1.0", "xmin = --undefined--"), ":22: expected a time of tier 'word', found"),
        (lambda t: t.replace("xmin = 2.0", "xmin = 0.5"), r":26: 'three' begins at 0.500 s, after 'two' at 1.000 s"),
        (lambda t: t.replace("IntervalTier", "SpeechTier"), "a tier's class must be IntervalTier or TextTier; got 'SpeechTier'"),
        (lambda t: t.replace("<exists>", "<absent>"), "has no tiers"),
        (
            lambda t: t.replace("one", "sp").replace("two", "").replace("three", "{BR}"),
            "tier 'word' holds no word, only 3 other mark",
        ),
    ],
)
def test_damaged_files_are_refused_with_place_and_reason(change, message, tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(change(write_long(GOOD)))
    with pytest.raises(FileError, match=message) as error:
        read_textgrid(path)
    assert str(error.value).startswith(str(path))


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_textgrid(tmp_path / "none.TextGrid")
    with pytest.raises(FileError, match="is a folder"):
        read_textgrid(tmp_path)


@pytest.mark.filterwarnings("ignore:.* is not UTF-8")
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_files_give_an_error_of_ours_or_a_transcript(data, tmp_path):
    form, encoding = data.draw(st.sampled_from(sorted(WRITERS))), data.draw(st.sampled_from(["utf-8", "utf-16", "latin-1"]))
    raw = bytearray(WRITERS[form](data.draw(grids(WESTERN))).encode(encoding))
    for _ in range(data.draw(st.integers(1, 4))):
        kind, at = data.draw(st.sampled_from("cdir")), data.draw(st.integers(0, max(len(raw) - 1, 0)))
        if kind == "c":
            del raw[at:]
        elif kind == "d":
            del raw[at : at + data.draw(st.integers(1, 30))]
        elif kind == "i":
            raw[at:at] = data.draw(
                st.binary(max_size=8) | st.sampled_from([b'"', b"1e400", b"-", b"\0", b"<exists>", b"!", b"9" * 400])
            )
        elif raw:
            raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "broken.TextGrid"
    path.write_bytes(bytes(raw))
    try:
        transcript = read_textgrid(path)
    except InputError:
        return
    assert len(transcript) > 0


@pytest.mark.parametrize("first", ['File type = "ooTextFile short"', '"ooTextFile short"', 'File type = "ooTextFile"'])
@pytest.mark.parametrize("name", ["old.TextGrid", "old.txt"])
def test_the_older_short_form_is_read(first, name, tmp_path):
    marks = '"TextGrid"\n\n0\n1\n<exists>\n1\n"IntervalTier"\n"words"\n0\n1\n2\n0\n0.5\n"the"\n0.5\n1\n"dog"\n'
    (tmp_path / name).write_text(f"{first}\n{marks}")
    assert read_transcript(tmp_path / name).words == ("the", "dog")


@pytest.mark.parametrize("tier", ["phone", "phones", "Phones", "speaker - phones", "phonemes", "segments", "syllables"])
def test_a_lone_tier_of_phones_is_not_taken_for_words(tier, tmp_path):
    path = save(tmp_path / "a.TextGrid", [(tier, INTERVALS, [(0.0, 1.0, "AY1"), (1.0, 2.0, "R")])])
    with pytest.raises(FileError, match=f"has no tier of words, only '{tier}'. To read these marks"):
        read_textgrid(path)
    assert read_textgrid(path, tier).words == ("AY1", "R")


def test_a_lone_tier_of_any_other_name_holds_the_words(tmp_path):
    path = save(tmp_path / "a.TextGrid", [("mary", INTERVALS, [(0.0, 1.0, "hello")])])
    assert read_textgrid(path).words == ("hello",)
