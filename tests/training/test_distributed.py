"""Two processes on one global batch give the loss curve of one process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurolm.checks import FileError
from neurolm.storage import read_json

SCRIPT = Path(__file__).with_name("train_together.py")
CASES = ["lstm-streams-1", "lstm-streams-2", "transformer-windows-1", "lstm-uneven-1"]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    out = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT), str(out), *CASES]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("train_together", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_losses_of_one(together, run, tmp_path, case):
    model, batches, accumulate = case.split("-")
    alone = [line["loss"] for line in run(tmp_path, model, batches, int(accumulate)).log]
    np.testing.assert_allclose(read_json(together / "losses.json")[case], alone, rtol=1e-5, atol=1e-5)
    assert abs(alone[-1] - alone[0]) > 1e-3, "the losses moved"


def test_processes_that_stopped_go_on_with_the_same_bytes(together):
    whole, parts = together / "lstm-streams-1", together / "parts"
    assert (whole / "checkpoint.safetensors").read_bytes() == (parts / "checkpoint.safetensors").read_bytes()


def test_another_number_of_processes_is_refused(together, run):
    with pytest.raises(FileError, match=r"other settings \(processes: 2 there, 1 here\)"):
        run(together / "lstm-streams-1", "lstm", "streams", 1)
