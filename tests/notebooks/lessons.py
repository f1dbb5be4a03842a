"""Lessons as tests see them: read, and run in this process, since a kernel each would import torch each."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in read(path).cells if cell.cell_type == "code"]


def run(path: Path) -> dict[str, Any]:
    """Run every code cell in one fresh namespace, the values of last lines included; returns that namespace."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for i, source in enumerate(code_of(path)):
        tree = ast.parse(source)
        shown = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        where = f"{path.name}, cell {i}"
        exec(compile(tree, where, "exec"), names)
        if shown is not None:
            value = eval(compile(shown, where, "eval"), names)
            getattr(value, "_repr_svg_", lambda: None)()
    return names
