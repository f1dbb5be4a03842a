import hashlib

import pytest

from neurolm.checks import FileError
from neurolm.datasets.fetch import PIECE, Pinned, check_files, fetch_file, fetch_files, inside, is_intact, read_registry


def pinned(content):
    return Pinned(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    contents = {"a.txt": b"alpha" * 1000, "deep/b.txt": b"beta" * 1000}
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder, {name: pinned(content) for name, content in contents.items()}


def names_under(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def test_files_arrive_whole_and_are_not_fetched_twice(home, tmp_path, file_server):
    folder, registry = home
    url = file_server(folder)
    progress = []
    for _ in range(2):
        fetch_files(registry, url, tmp_path / "here", lambda done, total, *_: progress.append((done, total)))
    assert names_under(tmp_path / "here") == ["a.txt", "deep/b.txt"]
    assert (tmp_path / "here" / "a.txt").read_bytes() == b"alpha" * 1000
    assert progress == [(1, 2), (2, 2)]
    assert len(file_server.handler.requested) == 2


def test_a_damaged_file_is_fetched_anew(home, tmp_path, file_server):
    folder, registry = home
    url = file_server(folder)
    fetch_files(registry, url, tmp_path / "here")
    (tmp_path / "here" / "a.txt").write_text("damaged")
    fetch_files(registry, url, tmp_path / "here")
    assert (tmp_path / "here" / "a.txt").read_bytes() == b"alpha" * 1000


def test_a_broken_download_goes_on_where_it_stopped(home, tmp_path, file_server):
    folder, _ = home
    url, content = file_server(folder), bytes(range(256)) * 1000
    (folder / "big.bin").write_bytes(content)
    file_server.handler.cut_after = 150_000
    target = tmp_path / "here" / "big.bin"
    with pytest.raises(FileError, match=r"big.bin: could not be downloaded \(\w+\). Check the network"):
        fetch_file(url + "big.bin", pinned(content), target)
    assert not target.exists()
    file_server.handler.cut_after = None
    fetch_file(url + "big.bin", pinned(content), target)
    assert target.read_bytes() == content
    assert [start for _, start in file_server.handler.requested] == [0, 2 * PIECE]
    assert names_under(tmp_path / "here") == ["big.bin"]


def test_a_part_that_does_not_fit_is_thrown_away(home, tmp_path, file_server):
    folder, registry = home
    target = tmp_path / "here" / "a.txt"
    target.parent.mkdir()
    (target.parent / ".a.txt.partial").write_bytes(b"x" * 9000)
    url = file_server(folder) + "a.txt"
    with pytest.raises(FileError, match="wrong checksum"):
        fetch_file(url, registry["a.txt"], target)
    assert fetch_file(url, registry["a.txt"], target).read_bytes() == b"alpha" * 1000


def test_a_part_that_was_whole_already_is_taken(home, tmp_path, file_server):
    folder, registry = home
    target = tmp_path / "here" / "a.txt"
    target.parent.mkdir()
    (target.parent / ".a.txt.partial").write_bytes(b"alpha" * 1000)  # killed between the last byte and the renaming
    assert fetch_file(file_server(folder) + "a.txt", registry["a.txt"], target).read_bytes() == b"alpha" * 1000
    assert names_under(tmp_path / "here") == ["a.txt"]


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(home, tmp_path, file_server):
    folder, _ = home
    with pytest.raises(FileError, match=r"a\.txt: arrived with a wrong checksum"):
        fetch_files({"a.txt": pinned(b"other")}, file_server(folder), tmp_path / "here")
    assert names_under(tmp_path / "here") == []


def test_a_missing_file_is_named(home, tmp_path, file_server):
    folder, registry = home
    with pytest.raises(FileError, match=r"none\.txt: could not be downloaded \(HTTPError\)"):
        fetch_files(registry | {"none.txt": pinned(b"")}, file_server(folder), tmp_path / "here")


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\\..\\evil"])
def test_nothing_is_written_outside_the_folder(path, tmp_path):
    with pytest.raises(FileError, match="leads out of its folder"):
        inside(tmp_path, path)
    with pytest.raises(FileError, match="leads out of its folder"):
        fetch_files({path: pinned(b"")}, "http://127.0.0.1:9/", tmp_path)


def test_a_cache_that_cannot_be_made_is_named(home, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"file/cache/.lock: cannot be locked \(.*\). .*NEUROLM_CACHE"):
        fetch_files(home[1], "http://127.0.0.1:9/", tmp_path / "file" / "cache")


def test_md5_is_taken_where_the_publisher_gives_no_other(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert is_intact(tmp_path / "a", Pinned("md5:900150983cd24fb0d6963f7d28e17f72", 3))
    assert not is_intact(tmp_path / "a", Pinned("md5:900150983cd24fb0d6963f7d28e17f72", 4))
    assert not is_intact(tmp_path / "a", Pinned("md5:" + "0" * 32, 3))


def test_check_counts_what_is_there_and_names_what_differs(home, tmp_path):
    folder, registry = home
    assert [f.level for f in check_files(registry, folder)] == ["ok"]
    (folder / "a.txt").write_bytes(b"gamma" * 1000)
    findings = check_files(registry, folder)
    assert str(findings[0]) == "problem: 1 of 2 published files are here as published"
    assert str(findings[1]) == "problem: a.txt: differs from the published file"
    assert check_files(registry, tmp_path / "nowhere")[0].level == "problem"


@pytest.mark.parametrize(
    ("name", "n_files"),
    [("alice", 146), ("lebel2023", 534), ("little_prince", 1038), ("narratives", 874), ("narratives_words", 26)],
)
def test_registries_pin_every_file(name, n_files, tmp_path):
    registry = read_registry(name)
    assert len(registry) == n_files
    for path, pinned in registry.items():
        algorithm, digest = pinned.hash.split(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
        assert pinned.n_bytes > 0
        assert inside(tmp_path, path).is_relative_to(tmp_path)


def test_a_file_that_never_ends_is_stopped(tmp_path, file_server):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.txt").write_bytes(bytes(500_000))
    with pytest.raises(FileError, match=r"a.txt: arrived with a wrong checksum"):
        fetch_files({"a.txt": pinned(b"short")}, file_server(tmp_path / "served"), tmp_path / "here")
    assert [path.name for path in (tmp_path / "here").iterdir()] == [".lock"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_target_that_is_a_link_to_another_disk_stays_one(home, tmp_path, file_server, exists):
    folder, registry = home
    disk, here = tmp_path / "disk", tmp_path / "here"
    disk.mkdir()
    here.mkdir()
    if exists:
        (disk / "a.txt").write_text("damaged")
    (here / "a.txt").symlink_to(disk / "a.txt")
    fetch_files(registry, file_server(folder), here)
    assert (here / "a.txt").is_symlink()
    assert [path.name for path in disk.iterdir()] == ["a.txt"]
    assert is_intact(disk / "a.txt", registry["a.txt"])


def test_a_file_that_a_datalad_clone_has_not_fetched_is_left_to_datalad(tmp_path, file_server):
    url = file_server(tmp_path)
    (tmp_path / "a.txt").symlink_to(tmp_path / ".git/annex/objects/Xx/Yy/KEY")
    with pytest.raises(FileError, match=r"belongs to a DataLad clone .* Run `datalad get"):
        fetch_file(url + "a.txt", pinned(b"alpha"), tmp_path / "a.txt")
    assert not (tmp_path / ".git").exists()


def test_nothing_in_the_package_unpacks_an_archive():
    from importlib.resources import files

    for path in files("neurolm").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in ("extractall", "unpack_archive", "tarfile")), path
