"""The package has the shape that its design asks for."""

import ast
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

import neurolm

ROOT = Path(neurolm.__file__).parent


def imports_of(path, modules):
    """Modules that a file names in any import, at its top, inside functions or for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & modules


def test_no_module_imports_itself_through_others():
    files = {".".join(("neurolm", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")}
    files = {name: path for name, path in files.items() if path.stem != "__init__"}
    names = sorted(files)
    links = np.zeros((len(names), len(names)))
    for name, path in files.items():
        for other in imports_of(path, set(names)):
            links[names.index(name), names.index(other)] = 1
    n_groups, group = connected_components(links, connection="strong")
    cycles = [[name for name, one in zip(names, group, strict=True) if one == g] for g in range(n_groups)]
    assert [cycle for cycle in cycles if len(cycle) > 1] == []


def test_no_module_is_named_as_a_test():
    assert [path for path in ROOT.rglob("*.py") if path.stem.startswith("test_") or path.stem.endswith("_test")] == []


def test_the_command_line_is_thin_and_no_command_imports_another():
    files = {f"neurolm.cli.{path.stem}": path for path in (ROOT / "cli").glob("*.py")}
    assert len(files) <= 12
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files.values()) <= 1800
    shared = {"neurolm.cli.app", "neurolm.cli.terminal"}
    commands = {name: path for name, path in files.items() if name not in (*shared, "neurolm.cli.main", "neurolm.cli.__init__")}
    assert {name: found for name, path in commands.items() if (found := imports_of(path, set(files)) - shared)} == {}


def test_only_the_command_line_knows_a_terminal():
    others = [path for path in ROOT.rglob("*.py") if "cli" not in path.parts]
    assert [path for path in others if imports_of(path, {"typer", "rich"})] == []
