import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neurolm.checks import FileError
from neurolm.lm.lstm import LSTM
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.training import checkpoint as files


def tensors(n=1000):
    rng = np.random.default_rng(0)
    return {"model.w": torch.tensor(rng.standard_normal(n)), "rng.cpu0": torch.get_rng_state()}


def test_what_is_written_comes_back_and_equal_content_gives_equal_bytes(tmp_path):
    facts = {"step": 3, "position": {"rng": {"state": 2**127 + 1}}, "loss": 0.1}
    for name in ("a", "b"):
        files.save_checkpoint(tmp_path / name, tensors(), facts)
    back, read = files.load_checkpoint(tmp_path / "a")
    assert read == facts
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors().items())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damage_anywhere_is_noticed(tmp_path):
    path = tmp_path / "c.safetensors"
    files.save_checkpoint(path, tensors(50), {"step": 3})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(whole), 20):
        path.write_bytes(whole[:cut])
        with pytest.raises(FileError, match=r"is damaged|not a training checkpoint"):
            files.load_checkpoint(path)
    start = len(whole) - 50 * 8 - 5056
    for place in rng.integers(start, len(whole), 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FileError, match="is damaged"):
            files.load_checkpoint(path)


def test_a_checkpoint_of_a_newer_format_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", "neurolm training checkpoint 2")
    files.save_checkpoint(tmp_path / "a.safetensors", {"w": torch.zeros(2)}, {})
    monkeypatch.undo()
    with pytest.raises(
        FileError, match=r"has the format 'neurolm training checkpoint 2', this neurolm reads .* 1'. Update neurolm."
    ):
        files.load_checkpoint(tmp_path / "a.safetensors")


def test_foreign_files_are_refused(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(FileError, match="is not a training checkpoint of neurolm"):
        files.load_checkpoint(tmp_path / "other.safetensors")
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04\x95" + bytes(200))
    with pytest.raises(FileError, match="is damaged"):
        files.load_checkpoint(tmp_path / "pickle.pt")
    with pytest.raises(FileError, match="no such file"):
        files.load_checkpoint(tmp_path / "none")


def test_tied_weights_stay_one_storage():
    lm = LSTM(WordTokenizer(["a", "b"]), 6, 1)
    lm.copy_of_head = nn.Linear(6, lm.tokenizer.vocab_size, bias=False)
    lm.copy_of_head.weight = lm.embedding.weight
    packed = files.pack_module(lm)
    assert "copy_of_head.weight" not in packed
    files.unpack_module(lm, {name: torch.ones_like(tensor) for name, tensor in packed.items()}, "memory")
    assert lm.copy_of_head.weight.data_ptr() == lm.embedding.weight.data_ptr()
    assert bool((lm.embedding.weight == 1).all())


def test_states_come_back_as_they_nest():
    state = ((torch.ones(2, 3), torch.zeros(2, 3)), (torch.full((2, 1), 5.0), 7))
    packed, shape = files.pack_state(state)
    back = files.unpack_state(packed, shape, torch.device("cpu"))
    assert back[1][1] == 7
    assert torch.equal(back[0][0], state[0][0])
    assert torch.equal(back[1][0], state[1][0])
    joined = files.concatenate_states([state, state])
    assert joined[0][0].shape == (4, 3)


SAVE_TWICE = """
import resource, signal, sys, torch
from neurolm.checks import FileError
from neurolm.training.checkpoint import save_checkpoint
path, limit = sys.argv[1], int(sys.argv[2])
save_checkpoint(path, {"model.w": torch.zeros(1000)}, {"step": 1})
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    save_checkpoint(path, {"model.w": torch.zeros(1_000_000)}, {"step": 2})
except FileError as error:
    print(error)
"""


def check_previous_survives(folder, limit):
    path = folder / "c.safetensors"
    done = subprocess.run([sys.executable, "-c", SAVE_TWICE, path, str(limit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout
    assert "Free space" in done.stdout
    assert files.load_checkpoint(path)[1] == {"step": 1}
    assert [file.name for file in folder.iterdir()] == ["c.safetensors"]


def test_the_previous_checkpoint_survives_a_limit_on_file_size(tmp_path):
    check_previous_survives(tmp_path, 200_000)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_the_previous_checkpoint_survives_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a small file system")
    try:
        check_previous_survives(disk, 0)
    finally:
        subprocess.run(["umount", disk], check=True)
