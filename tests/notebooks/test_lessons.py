"""Every lesson opens with a question, runs, defines nothing and ends with an exercise."""

import ast
import sys
from pathlib import Path

import nbformat
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from lessons import LESSONS, code_of, read, run

EACH = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def quiet_figures(monkeypatch, tmp_path):
    """Figures are drawn and not shown; small products do not gain from a second thread."""
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
    from matplotlib import pyplot

    pyplot.close("all")


def test_lessons_are_numbered_without_a_gap():
    assert [int(path.stem[:2]) for path in LESSONS] == list(range(1, len(LESSONS) + 1))


@EACH
def test_a_lesson_opens_with_a_question_and_ends_with_an_exercise(path):
    cells = read(path).cells
    first, last = cells[0], cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]} · ")
    assert "?**" in first.source.split("\n\n")[1], "the question, in bold, comes right after the title"
    assert "## Exercise" in last.source
    assert any("**What to see.**" in cell.source for cell in cells if cell.cell_type == "markdown")


@EACH
def test_a_lesson_is_valid_and_carries_no_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert len({cell["id"] for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@EACH
def test_a_lesson_defines_nothing_that_the_library_should(path):
    for source in code_of(path):
        defined = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        assert not defined, f"{defined[0].name} belongs into neurolm/"
        assert all(len(line) <= 130 for line in source.splitlines())


@EACH
def test_a_lesson_runs(path):
    names = run(path)
    assert any(name in names for name in ("plt", "draw", "attention_map")), "every lesson has a figure"


@pytest.mark.slow
@EACH
def test_a_lesson_runs_in_a_kernel_of_its_own(path):
    nbclient = pytest.importorskip("nbclient")
    nbclient.NotebookClient(read(path), timeout=300, kernel_name="python3").execute()
