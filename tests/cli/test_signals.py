"""Commands end when they are asked to, with what they started."""

import io
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from neurolm.cli.app import Terminated, _terminate
from neurolm.workflows import engine as workflow

# a command that waits for a child, as `neurolm run` does for its engine
COMMAND = """
import contextlib, subprocess, sys, time
from neurolm.cli.app import app, carry_out, settle

@app.command()
def wait():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:  # before the test knows of the child: its signal must not come in between
        print(child.pid, flush=True)
        time.sleep(60)
    finally:
        child.kill()
        child.wait()

settle()
carry_out(lambda: app(["wait"]))
"""


def start(**options):
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_the_command_and_its_children_in_one_line(name):
    number = getattr(signal, name)  # its default, whatever this test was started under (nohup ignores SIGHUP)
    process, child = start(preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert said.count("\n") == 1
    assert said.startswith("neurolm: Stopped")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_nohup_is_respected_and_sigint_reaches_what_a_script_started_in_the_background():
    def as_nohup_in_a_script():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process, _ = start(preexec_fn=as_nohup_in_a_script)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_a_signal_that_comes_while_the_engine_starts_ends_the_engine_too(tmp_path, monkeypatch):
    started = []

    def start_and_be_asked_to_end(command, **options):
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        return started[0]

    before = signal.signal(signal.SIGTERM, _terminate)
    monkeypatch.setattr(workflow, "subprocess", types.SimpleNamespace(**vars(subprocess) | {"Popen": start_and_be_asked_to_end}))
    (tmp_path / ".neurolm").mkdir()
    try:
        with pytest.raises(Terminated):
            workflow._start(["engine"], tmp_path / ".neurolm", lambda state: None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].poll() is not None


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_what_a_terminal_cannot_show_is_escaped(encoding):
    code = "from neurolm.cli.app import settle; settle(); print('\\u00e9t\\u00e9 \\udcff')"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    shown = b"\\xe9t\\xe9 \\udcff" if encoding == "ascii" else "\u00e9t\u00e9 ".encode() + b"\xff"
    assert ended.stdout.strip() == shown
    assert io.BytesIO(ended.stderr).read() == b""
