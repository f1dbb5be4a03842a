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
