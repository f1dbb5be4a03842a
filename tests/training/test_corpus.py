import zipfile

import numpy as np
import pytest

from neurolm.checks import FileError, InputError
from neurolm.training.corpus import Document, clean, join_documents, read_documents, split_documents


def test_written_form_joins_lines_and_keeps_paragraphs():
    text = "It was\r\nthe best  of times;\r\n\r\n  \u201cIt was\u201d \u2018the\u2019 worst .\n\n\n\nEnd"
    assert clean(text) == "It was the best of times;\n\"It was\" 'the' worst.\nEnd"


def test_spoken_form_keeps_words_and_their_apostrophes_alone():
    text = "\u201cDon\u2019t,\u201d said Mr. Jones--the boys' well-known uncle_ (aged 52)."
    assert clean(text, "spoken") == "don't said mr jones the boys well known uncle aged 52"


def test_documents_come_from_files_and_archives_in_order_of_name(tmp_path, monkeypatch):
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("in/z.txt", "fourth")
        archive.writestr("in/y.txt", "third")
        archive.writestr("in/README", "not this")
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    documents = read_documents(["$SOMEWHERE/*.txt", "c.zip::*.txt"], root=tmp_path)
    assert [d.text for d in documents] == ["first", "second", "third", "fourth"]
    assert [d.name for d in documents] == ["a", "b", "y", "z"]


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"fine\ncaf\xe9")
    with pytest.raises(FileError, match=r"latin:2: is not UTF-8 text"):
        read_documents(["latin.txt"], root=tmp_path)
    assert read_documents(["latin.txt"], root=tmp_path, fallback="cp1252")[0].text == "fine café"
    with pytest.raises(FileError, match="no such file"):
        read_documents(["none*.txt"], root=tmp_path)
    with pytest.raises(FileError, match="variable that is not set"):
        read_documents(["$NEUROLM_NO_SUCH/x.txt"])
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with pytest.raises(FileError, match="not a whole zip archive"):
        read_documents(["bad.zip::*"], root=tmp_path)


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n ")
    with pytest.raises(InputError, match="An empty corpus trains nothing"):
        read_documents(["empty.txt"], root=tmp_path)


def test_split_keeps_every_word_once_and_holds_out_whole_stretches():
    rng = np.random.default_rng(0)
    novel = Document("novel", "\n".join(" ".join(f"n{i}_{j}" for j in range(rng.integers(5, 60))) for i in range(1000)))
    speeches = [Document(f"s{k}", " ".join(f"s{k}_{j}" for j in range(500))) for k in range(40)]
    split = split_documents([novel, *speeches], validation=0.1, test=0.05)
    parts = [[w for d in part for w in d.text.split()] for part in (split.train, split.validation, split.test)]
    everything = [w for d in [novel, *speeches] for w in d.text.split()]
    assert sorted(parts[0] + parts[1] + parts[2]) == sorted(everything)
    assert [len(part) / len(everything) for part in parts] == pytest.approx([0.85, 0.1, 0.05], abs=0.02)
    pieces = [part[0].text for part in (split.train, split.validation, split.test)]
    assert "\n".join(pieces) == novel.text, "a novel is cut into its beginning, then validation, then test"
    whole = {d.text for d in speeches}
    assert all(d.text in whole for part in (split.train, split.validation, split.test) for d in part[1:])


def test_split_is_the_same_for_the_same_seed_and_refuses_too_little_text():
    speeches = [Document(f"s{k}", "word " * 50) for k in range(30)]
    assert split_documents(speeches, seed=1) == split_documents(speeches, seed=1)
    assert split_documents(speeches, seed=1) != split_documents(speeches, seed=2)
    with pytest.raises(InputError, match="leave some for train"):
        split_documents(speeches[:2])
    with pytest.raises(InputError, match="positive fractions"):
        split_documents(speeches, validation=0.6, test=0.5)


def test_documents_are_joined_by_separators():
    assert join_documents([np.array([1, 2]), np.array([3])], 9).tolist() == [9, 1, 2, 9, 3, 9]
    assert join_documents([np.array([1, 2]), np.array([3])], None).tolist() == [1, 2, 3]
