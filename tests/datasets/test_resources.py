import os
import zipfile
from pathlib import Path

import pytest

from neurolm.checks import FileError, InputError
from neurolm.datasets import DatasetNotFound, find_resource, list_resources, movie_reviews, tagged_texts

DATA = Path(os.environ.get("NEUROLM_DATA", "/nowhere"))
needs_data = pytest.mark.skipif(not (DATA / "norms").is_dir(), reason="NEUROLM_DATA names no folder with norms and corpora")


@needs_data
@pytest.mark.parametrize("resource", list_resources(), ids=lambda r: r.name)
def test_every_resource_is_found_intact_and_states_its_licence(resource):
    assert find_resource(resource.name, download=False) == DATA / resource.folder / resource.file
    assert resource.licence
    assert resource.citation


@needs_data
def test_masc_and_film_reviews_have_their_published_sizes():
    texts = dict(tagged_texts())
    assert len(texts) == 392
    assert sum(map(len, texts.values())) == 592447
    assert texts["spoken/Bed012.txt"][0] == ("So", "IN")
    reviews = movie_reviews()
    assert [sum(label == side for _, label in reviews) for side in ("pos", "neg")] == [1000, 1000]
    assert reviews[0][0].startswith("plot : two teen couples go to a church party")


def test_archives_are_read_without_being_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "masc.zip", "w") as archive:
        archive.writestr("masc_tagged/categories.txt", "spoken/a.txt talk")
        archive.writestr("masc_tagged/spoken/a.txt", "A_DT snake_case_NN _NN . \n\nB_NN")
        archive.writestr("masc_tagged/../../evil.txt", "evil_NN")
    assert list(tagged_texts(tmp_path / "masc.zip")) == [("spoken/a.txt", [("A", "DT"), ("snake_case", "NN"), ("B", "NN")])]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["masc.zip"]
    (tmp_path / "masc.zip").write_bytes((tmp_path / "masc.zip").read_bytes()[:80])
    with pytest.raises(FileError, match=r"masc\.zip: is not a whole archive of texts"):
        list(tagged_texts(tmp_path / "masc.zip"))


def test_the_cache_comes_after_the_named_folder_and_a_damaged_copy_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        DatasetNotFound, match=r"stopwords: not in \$NEUROLM_DATA/norms nor .*cache/datasets/norms. Allow the download"
    ):
        find_resource("stopwords", download=False)
    with pytest.raises(DatasetNotFound, match=r"function_words: .* Put functionwords_english.json there"):
        find_resource("function_words")
    (tmp_path / "cache" / "datasets" / "norms").mkdir(parents=True)
    (tmp_path / "cache" / "datasets" / "norms" / "stopwords.zip").write_bytes(b"damaged")
    with pytest.raises(FileError, match=r"stopwords.zip: differs from the published file. Delete it"):
        find_resource("stopwords")
    with pytest.raises(InputError, match="resource must be one of 'concreteness'"):
        find_resource("concretenes")


@needs_data
def test_a_missing_resource_is_downloaded_once(tmp_path, monkeypatch, file_server):
    url = file_server(DATA / "norms")
    monkeypatch.delenv("NEUROLM_DATA")
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    from neurolm.datasets import resources

    stop = resources._RESOURCES["stopwords"]
    monkeypatch.setitem(resources._RESOURCES, "stopwords", type(stop)(**{**vars(stop), "url": url + "stopwords.zip"}))
    for _ in range(2):
        assert find_resource("stopwords") == tmp_path / "datasets" / "norms" / "stopwords.zip"
    assert len(file_server.handler.requested) == 1
