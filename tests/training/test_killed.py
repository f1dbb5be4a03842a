"""A run that is killed (kill -9) at any instant and started again ends with the same bytes."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("run_to_be_killed.py")
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("run_to_be_killed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trainer_process():
    """Trains in processes of its own: `train(folder, n_steps, kill_after)` gives how the process ended."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, str(SCRIPT)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"

        def train(folder, n_steps, kill_after=None):
            process.stdin.write(f"{folder} {n_steps}\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            if kill_after is not None:
                time.sleep(kill_after)
                with contextlib.suppress(ProcessLookupError):  # it had ended already
                    os.kill(child, signal.SIGKILL)
            return int(process.stdout.readline())

        yield train
        process.stdin.close()


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "per_s"} for line in lines]


def check_same_end(train, folder, whole, n_steps, n_kills, rng):
    """Kill at instants spread over the run, most of them while it trains or writes; then let it end."""
    began = time.perf_counter()
    assert train(whole, n_steps) == 0
    took = time.perf_counter() - began
    kills = 0
    for _ in range(n_kills):
        kills += train(folder, n_steps, rng.uniform(0, 2 * took / n_kills)) == -signal.SIGKILL
    assert train(folder, n_steps) == 0
    assert kills >= n_kills / 2, "the run ended before it could be killed"
    assert (folder / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()
    assert log_of(folder) == log_of(whole)
    assert not list(folder.glob(".*.part")), "what a killed writer left is cleared away"


def test_a_killed_run_ends_with_the_same_bytes(trainer_process, tmp_path):
    check_same_end(trainer_process, tmp_path / "killed", tmp_path / "whole", 100, 5, np.random.default_rng(0))


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_bytes(trainer_process, tmp_path):
    check_same_end(trainer_process, tmp_path / "killed", tmp_path / "whole", 1500, 20, np.random.default_rng(1))


@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_n_plus_m_steps_equal_n_then_m(script, tmp_path, stop):
    script.run(tmp_path / "parts", 12, until=stop)
    parts, _ = script.run(tmp_path / "parts", 12)
    whole, _ = script.run(tmp_path / "whole", 12)
    assert parts.weights_hash() == whole.weights_hash()
    assert (tmp_path / "parts" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()
    assert log_of(tmp_path / "parts") == log_of(tmp_path / "whole")


def test_a_finished_run_is_left_as_it_is(script, tmp_path):
    script.run(tmp_path, 9)
    before = (tmp_path / CHECKPOINT).read_bytes()
    _, trainer = script.run(tmp_path, 9)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert trainer.fit().step == 9
