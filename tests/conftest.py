import os
import subprocess
import sys

import pytest


@pytest.fixture
def neurolm():
    """Run the command line as a user would: neurolm("run", "demo", env={...})."""

    def call(*arguments, env=None, cwd=None, timeout=300):
        return subprocess.run(
            [sys.executable, "-m", "neurolm", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | (env or {}),
            cwd=cwd,
            timeout=timeout,
        )

    return call


@pytest.fixture(autouse=True)
def on_terminal():
    """Analyses that a test calls as functions show their messages as a command does."""
    from neurolm.cli.terminal import Terminal
    from neurolm.progress import shown_on

    with shown_on(Terminal()):
        yield


@pytest.fixture
def neurolm_here(monkeypatch, capsys):
    """Run the command line in this process: (exit code, what it said, what it complained of)."""
    from neurolm.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["neurolm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call
