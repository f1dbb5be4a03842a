import errno
import os
import subprocess
import sys
import threading
import warnings

import pytest

from neurolm.checks import FileError
from neurolm.locks import exclusive_lock, held_file, is_locked

ASK = """
import sys, warnings, neurolm.locks as locks
warnings.simplefilter("ignore")
with locks.exclusive_lock(sys.argv[1], wait=False) as held:
    print(held, flush=True)
    if len(sys.argv) > 2:
        input()
"""


def ask(path, *options, **settings):
    return subprocess.run(
        [sys.executable, "-c", ASK, str(path), *options], capture_output=True, text=True, check=True, **settings
    )


def refuse(number):
    def lock_descriptor(descriptor, **_):
        raise OSError(number, os.strerror(number))

    return lock_descriptor


def test_a_lock_is_exclusive_and_dies_with_its_process(tmp_path):
    path = tmp_path / "lock"
    with exclusive_lock(path) as held:
        assert held
        assert is_locked(path)
        assert ask(path).stdout.strip() == "False"
    holder = subprocess.Popen(
        [sys.executable, "-c", ASK, str(path), "stay"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline().strip() == "True"
    assert is_locked(path)
    holder.kill()
    holder.communicate()
    assert not is_locked(path)


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path):
    got = []

    def wait():
        with exclusive_lock(tmp_path / "lock") as held:
            got.append(held)

    with exclusive_lock(tmp_path / "lock"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.15)
        assert got == []
    waiting.join(5)
    assert got == [True]


def test_asking_whether_a_lock_is_held_writes_nothing(tmp_path):
    assert not is_locked(tmp_path / "lock")
    assert os.listdir(tmp_path) == []
    with exclusive_lock(tmp_path / "lock"):
        pass
    before = (tmp_path / "lock").stat()
    (tmp_path / "lock").chmod(0o444)
    assert not is_locked(tmp_path / "lock")
    assert (tmp_path / "lock").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_file_takes_their_place_with_a_warning(tmp_path, monkeypatch, number):
    monkeypatch.setattr("filelock.lock_descriptor", refuse(number))
    path = tmp_path / "run.lock"
    assert not is_locked(path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with exclusive_lock(path, wait=False) as held:
            assert held
            assert is_locked(path)
            with exclusive_lock(path, wait=False) as second:
                assert not second
    assert f"{path}: this file system has no locks" in str(said[0].message)
    assert "run.lock.held takes their place" in str(said[0].message)
    assert not is_locked(path)
    assert not held_file(path).exists()


@pytest.mark.filterwarnings("ignore:.*has no locks")
def test_what_a_killed_process_of_this_machine_left_in_place_of_a_lock_is_ignored(tmp_path, monkeypatch):
    code = "import os, sys, filelock\nlock = filelock.SoftFileLock(sys.argv[1])\nlock.acquire()\nos._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(held_file(tmp_path / "lock"))], check=True)
    assert held_file(tmp_path / "lock").exists()
    monkeypatch.setattr("filelock.lock_descriptor", refuse(errno.ENOLCK))
    with exclusive_lock(tmp_path / "lock") as held:
        assert held


def test_a_folder_that_cannot_be_written_is_named_with_the_settings(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"file/lock: cannot be locked \(.*\). Choose a folder .*`output`.*NEUROLM_CACHE"):
        with exclusive_lock(tmp_path / "file" / "lock"):
            pass
