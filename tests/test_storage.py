import errno
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from neurolm.checks import FileError
from neurolm.processes import ProcessIdentity, this_process
from neurolm.storage import content_hash, read_h5, read_json, remove_parts, whole_file, write_h5, write_json


def test_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def dead_process():
    """The identity of a process of this machine that has ended."""
    code = "from neurolm.processes import this_process; print(*this_process())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return ProcessIdentity(said[0], int(said[1]), int(said[2]))


def test_only_temporary_files_of_dead_processes_of_this_machine_are_removed(tmp_path):
    dead, mine = dead_process(), this_process()
    names = {
        "dead": dead,
        "mine": mine,
        "id taken again": dead._replace(pid=mine.pid, started=mine.started - 1),
        "elsewhere": dead._replace(machine="0123456789ab"),
        "elsewhere, my id": mine._replace(machine="0123456789ab"),
    }
    parts = {who: tmp_path / f".a.h5.{p.machine}-{p.pid}-{p.started}-0000000{i}.part" for i, (who, p) in enumerate(names.items())}
    for part in parts.values():
        part.touch()
    assert set(remove_parts(tmp_path)) == {parts["dead"], parts["id taken again"]}
    assert parts["mine"].exists()
    assert parts["elsewhere"].exists()
    assert parts["elsewhere, my id"].exists()


def test_a_temporary_file_of_another_machine_goes_after_a_week_without_a_write(tmp_path):
    for days in (6, 8):
        part = tmp_path / f".a.h5.0123456789ab-1-1-0000000{days}.part"
        part.touch()
        os.utime(part, (0, time.time() - days * 86400))
    assert [part.name[-6] for part in remove_parts(tmp_path)] == ["8"]


def test_two_writers_with_one_process_id_both_write_the_whole_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    with whole_file(path) as first:
        first.write_text("first")
        monkeypatch.setattr("neurolm.processes.machine_name", lambda: "0123456789ab")  # another container, the same pid
        with whole_file(path) as second:
            assert second != first
            second.write_text("second")
        monkeypatch.undo()
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of Unix")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_get_the_mode_of_the_umask_whatever_their_writer_made(tmp_path, umask):
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "weights") as part:
            part.unlink()
            part.touch(mode=0o600)  # as safetensors does
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("exists", [True, False])
def test_a_target_that_is_a_symbolic_link_stays_one(tmp_path, exists):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "a.txt", tmp_path / "link.txt"
    if exists:
        target.write_text("old")
    link.symlink_to(target)
    with whole_file(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path / "disk") == ["a.txt"]
    with pytest.raises(RuntimeError), whole_file(link) as part:
        raise RuntimeError
    assert target.read_text() == "new"


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(FileError, match="is a symbolic link to itself"), whole_file(tmp_path / "a"):
        pass


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


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + b'{"RepetitionTime": 2.0}')
    assert read_json(tmp_path / "a.json") == {"RepetitionTime": 2.0}


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
    dead = dead_process()
    for name in ("a.json", "b.json"):
        (tmp_path / f".{name}.{dead.machine}-{dead.pid}-{dead.started}-00000000.part").write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert sorted(p.name[:7] for p in tmp_path.iterdir()) == [".b.json", "a.json"]


def test_hash_tells_content_dtype_and_nesting_apart():
    values = [np.zeros(2), np.zeros(2, np.float32), [0.0, 0.0], "00", {"a": 1}, {"a": "1"}, [["a"], ["b"]], [["a", "b"]], None]
    assert len({content_hash(v) for v in values}) == len(values)
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})


def test_an_h5_file_that_is_being_written_is_not_to_be_deleted(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", locking=True):
        code = "import sys; from neurolm.storage import read_h5\ntry: read_h5(sys.argv[1])\nexcept ValueError as e: print(e)"
        said = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.h5")], capture_output=True, text=True, check=True)
    assert "is being written by another process. Wait for it" in said.stdout
