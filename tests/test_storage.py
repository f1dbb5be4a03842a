import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from neurolm.checks import FileError
from neurolm.storage import content_hash, exclusive_lock, read_h5, read_json, remove_parts, whole_file, write_h5, write_json


def test_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_parts_of_dead_processes_are_removed_and_those_of_living_ones_kept(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    (tmp_path / f".a.h5.{dead.stdout.strip()}.part").touch()
    mine = tmp_path / f".a.h5.{os.getpid()}.part"
    mine.touch()
    assert len(remove_parts(tmp_path)) == 1
    assert mine.exists()


def test_h5_round_trip_gives_equal_bytes(tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "group/names": np.array(["a", "é"])}
    for name in ("one.h5", "two.h5"):
        write_h5(tmp_path / name, arrays, {"settings": {"n": 1}})
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    back, attributes = read_h5(tmp_path / "one.h5")
    np.testing.assert_array_equal(back["x"], arrays["x"])
    assert back["group/names"].tolist() == ["a", "é"]
    assert attributes == {"settings": {"n": 1}}


def test_a_cut_h5_file_and_broken_json_are_named(tmp_path):
    write_h5(tmp_path / "a.h5", {"x": np.zeros(1000)})
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:900])
    with pytest.raises(FileError, match=r"a\.h5"):
        read_h5(tmp_path / "a.h5")
    write_json(tmp_path / "b.json", {"b": np.float64(1)})
    assert read_json(tmp_path / "b.json") == {"b": 1}
    (tmp_path / "b.json").write_text('{\n"b": }')
    with pytest.raises(FileError, match=r"b\.json:2"):
        read_json(tmp_path / "b.json")


def test_an_h5_file_of_a_newer_version_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("neurolm.storage.VERSION", 2)
    write_h5(tmp_path / "a.h5", {"x": np.zeros(3)})
    monkeypatch.undo()
    with pytest.raises(FileError, match=r"a\.h5: has version 2 of the format, this neurolm reads up to 1. Update neurolm."):
        read_h5(tmp_path / "a.h5")


def test_a_full_disk_is_noticed_before_hdf5_writes_and_leaves_the_old_file(tmp_path, monkeypatch):
    write_h5(tmp_path / "a.h5", {"x": np.zeros(3)})
    before, asked = (tmp_path / "a.h5").read_bytes(), []

    def full(descriptor, start, n_bytes):
        asked.append(n_bytes)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    arrays = {"x": np.zeros(10_000), "names": np.array(["a long name"] * 5000)}
    with pytest.raises(FileError, match=r"a\.h5: could not be written \(No space left on device\). Free space"):
        write_h5(tmp_path / "a.h5", arrays, {"settings": {"n": 1}})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == before
    write_h5(tmp_path / "a.h5", arrays, {"settings": {"n": 1}})
    assert asked[0] >= (tmp_path / "a.h5").stat().st_size


def test_what_a_dead_writer_of_the_same_file_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (tmp_path / f".a.json.{pid}.part").write_text("half")
    (tmp_path / f".b.json.{dead.pid}.part").write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f".a.json.{os.getppid()}.part", f".b.json.{dead.pid}.part", "a.json"]
    )


def test_hash_tells_content_dtype_and_nesting_apart():
    values = [np.zeros(2), np.zeros(2, np.float32), [0.0, 0.0], "00", {"a": 1}, {"a": "1"}, [["a"], ["b"]], [["a", "b"]], None]
    assert len({content_hash(v) for v in values}) == len(values)
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})


def test_a_lock_is_exclusive_and_dies_with_its_process(tmp_path):
    code = "import sys, neurolm.storage as s\nwith s.exclusive_lock(sys.argv[1], wait=False) as held: print(held)"
    ask = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with exclusive_lock(tmp_path / "lock"):
        assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "False"
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "True"
