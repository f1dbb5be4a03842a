"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import neurolm

ROOT = Path(neurolm.__file__).parent
MODULES = sorted(
    ".".join(("neurolm", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_hold(module):
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed
