"""The toolbox starts fast because what is heavy is imported where it is used (timed in benchmarks/import_time.py)."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "sklearn", "scipy", "pandas", "nilearn", "nibabel", "matplotlib", "snakemake", "tokenizers"}


@pytest.mark.parametrize("module", ["neurolm", "neurolm.cli.main"])
def test_nothing_heavy_is_imported_at_the_start(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)
