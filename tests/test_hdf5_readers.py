"""Every reader of HDF5 files: one that is being written is waited for, and a file system without locks is no obstacle."""

import errno
import os

import h5py
import numpy as np
import pytest

from neurolm.checks import FileError
from neurolm.datasets import load_dataset
from neurolm.decoding.tang2023 import Tang2023
from neurolm.encoding.ridge.targets import open_targets, store_targets
from neurolm.features import cache_file
from neurolm.storage import read_h5, write_h5

from .test_broken_files import GRID

fcntl = pytest.importorskip("fcntl")
ROWS = 15


def stored(path):
    write_h5(path, {"r": np.zeros(3)})
    return lambda: read_h5(path)


def cached(path):
    cache_file._lay_out(path, {"layer_00": (2, 3)}, {"label": ["story"]})
    return lambda: cache_file.dataset_names(path)


def targets(path):
    store_targets(path, [np.zeros((4, 2))])

    def read():
        with open_targets(path) as (bold, _):
            return bold[:]

    return read


def responses(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.ones((ROWS, 3))


def lebel2023(path):
    root = path.parent / "ds003020"
    place = root / "derivative/preprocessed_data/UTS01/souls.hf5"
    for folder in (place.parent, root / "derivative/TextGrids"):
        folder.mkdir(parents=True)
    (root / "derivative/respdict.json").write_text('{"souls": 35}')
    (root / "derivative/TextGrids/souls.TextGrid").write_text(GRID)
    path.symlink_to(place)
    responses(place)
    return lambda: load_dataset("lebel2023", folder=root).bold("UTS01", "souls")


def tang2023(path):
    place = path.parent / "ds004510/derivative/preprocessed_data/UTS01/perceived_speech/alpha.hf5"
    place.parent.mkdir(parents=True)
    path.symlink_to(place)
    responses(place)
    return lambda: Tang2023(path.parent / "ds004510").bold("UTS01", "perceived_speech", "alpha")


@pytest.mark.parametrize("make", [stored, cached, targets, lebel2023, tang2023])
def test_a_file_that_another_process_writes_is_waited_for_and_not_deleted_or_fetched_again(make, tmp_path):
    read = make(tmp_path / "file.h5")
    read()
    with open(tmp_path / "file.h5", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FileError, match=r"is being written by another process. Wait for it") as caught:
            read()
    assert not any(word in str(caught.value) for word in ("Delete", "Make it again", "Fetch"))
    read()


@pytest.mark.parametrize("make", [stored, cached, targets, lebel2023, tang2023])
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_files_are_written_and_read_where_the_file_system_has_no_locks(make, number, tmp_path, monkeypatch):
    whole = h5py.File

    def without_locks(name, mode="r", *, locking=None, **more):
        if locking is not False and not str(name).endswith(".hf5"):  # the last: as the data set came
            raise OSError(number, f"unable to lock file, errno = {number}, error message = {os.strerror(number)!r}")
        return whole(name, mode, locking=False, **more)

    monkeypatch.setattr(h5py, "File", without_locks)
    make(tmp_path / "file.h5")()


def test_a_writer_that_was_killed_is_named_as_a_possible_reason(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"")

    def marked(*_, **__):
        raise OSError("unable to open file (file is already open for write or SWMR write)")

    monkeypatch.setattr(h5py, "File", marked)
    with pytest.raises(FileError, match="If nothing writes it, its writer was killed: `h5clear -s FILE` unlocks it"):
        read_h5(tmp_path / "a.h5")
