"""Hashes of files are remembered, and never believed when the file may have changed."""

import os
import time

import pytest

from neurolm import file_hashes
from neurolm.checks import FileError
from neurolm.file_hashes import FileHashes
from neurolm.storage import file_hash


@pytest.fixture
def hashed(monkeypatch):
    """Files that are really read, in their order."""
    seen = []
    monkeypatch.setattr(file_hashes, "file_hash", lambda path: seen.append(path.name) or file_hash(path))
    return seen


@pytest.fixture
def later(monkeypatch):
    """A clock that is ten seconds past all that was written: files have settled."""
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 10)


def test_a_settled_file_is_read_once_also_by_the_next_process(tmp_path, hashed, later):
    (tmp_path / "a").write_bytes(b"bold")
    first = FileHashes(tmp_path / "known.json").of([tmp_path / "a"])
    again = FileHashes(tmp_path / "known.json").of([tmp_path / "a"])
    assert first == again == {tmp_path / "a": file_hash(tmp_path / "a")}
    assert hashed == ["a"]


def test_a_file_changed_within_two_seconds_of_its_hash_is_read_again(tmp_path, hashed):
    (tmp_path / "a").write_bytes(b"bold")
    for _ in range(2):
        FileHashes(tmp_path / "known.json").of([tmp_path / "a"])
    assert hashed == ["a", "a"]


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_wrong_clock_changes_nothing_and_hides_nothing(tmp_path, hashed, later, hours):
    path = tmp_path / "a"
    path.write_bytes(b"bold")
    then = time.time() + 3600 * hours
    os.utime(path, (then, then))
    before = FileHashes(tmp_path / "known.json").of([path])[path]
    assert FileHashes(tmp_path / "known.json").of([path])[path] == before
    assert hashed == ["a"]
    path.write_bytes(b"dlob")  # as many bytes
    os.utime(path, (then, then))  # and the same time
    assert FileHashes(tmp_path / "known.json").of([path])[path] == file_hash(path) != before


def test_a_file_put_in_the_place_of_another_is_noticed(tmp_path, later):
    (tmp_path / "a").write_bytes(b"bold")
    (tmp_path / "b").write_bytes(b"dlob")
    times = (tmp_path / "a").stat().st_mtime_ns
    before = FileHashes(tmp_path / "known.json").of([tmp_path / "a"])
    os.utime(tmp_path / "b", ns=(times, times))
    os.replace(tmp_path / "b", tmp_path / "a")
    assert FileHashes(tmp_path / "known.json").of([tmp_path / "a"]) != before


def test_verify_reads_everything(tmp_path, hashed, later):
    (tmp_path / "a").write_bytes(b"bold")
    FileHashes(tmp_path / "known.json").of([tmp_path / "a"])
    FileHashes(tmp_path / "known.json", verify=True).of([tmp_path / "a"])
    assert hashed == ["a", "a"]


@pytest.mark.parametrize("damage", ["", "[1, 2]", '{"a": 3}', "{" * 2000])
def test_a_damaged_memory_costs_time_and_nothing_else(tmp_path, later, damage):
    (tmp_path / "a").write_bytes(b"bold")
    (tmp_path / "known.json").write_text(damage.replace('"a"', f'"{tmp_path}/a"'))
    assert FileHashes(tmp_path / "known.json").of([tmp_path / "a"])[tmp_path / "a"] == file_hash(tmp_path / "a")


def test_a_memory_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(b"bold")
    (tmp_path / "file").write_text("no folder")
    found = FileHashes(tmp_path / "file" / "known.json").of([tmp_path / "a"])
    assert found[tmp_path / "a"] == file_hash(tmp_path / "a")


def test_what_two_processes_have_hashed_is_kept_of_both(tmp_path, hashed, later):
    for name in "ab":
        (tmp_path / name).write_text(name)
    first, second = FileHashes(tmp_path / "known.json"), FileHashes(tmp_path / "known.json")
    first.of([tmp_path / "a"])
    second.of([tmp_path / "b"])
    FileHashes(tmp_path / "known.json").of([tmp_path / "a", tmp_path / "b"])
    assert hashed == ["a", "b"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match=r"absent: cannot be read \(No such file or directory\)"):
        FileHashes(tmp_path / "known.json").of([tmp_path / "absent"])
