"""What README and manual say can be done, can be done: imports, code, commands, configs and links."""

import ast
import importlib
import os
import re
import shlex
from pathlib import Path

import pytest
import typer

from neurolm.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
BLOCK = re.compile(r"(<!-- runs -->\n)?```(\w*)\n(.*?)```", re.DOTALL)


def blocks(page, language):
    """(claims to run, code) of every fenced block in a language."""
    return [(bool(runs), code) for runs, kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands_on(page):
    """Every `neurolm ...` in a plain block or between backticks, as words."""
    text = page.read_text(encoding="utf-8")
    plain = [code for language in ("", "bash", "text") for _, code in blocks(page, language)]
    lines = [line for code in plain for line in code.splitlines() if line.startswith("neurolm ")]
    lines += re.findall(r"(?<!`)`(neurolm [^`\n]+)`(?!`)", text)
    for line in lines:
        yield shlex.split(re.split(r"\s{2,}|#", line)[0])


@EACH
def test_code_is_python_and_imports_what_is_there(page):
    for _, code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("neurolm"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- runs -->" in page.read_text()], ids=lambda page: page.stem)
def test_code_that_claims_to_run_runs(page):
    names = {"__name__": "__main__"}
    for runs, code in blocks(page, "python"):
        if runs:
            exec(compile(code, page.name, "exec"), names)


@pytest.mark.slow
def test_the_readme_runs_on_real_data(capsys):
    folder = os.environ.get("NEUROLM_DATA")
    if not folder or not (Path(folder) / "alice2016").is_dir():
        pytest.skip("NEUROLM_DATA does not hold alice2016")
    ((_, code),) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    scores = [float(word) for word in re.findall(r"-?\d*\.\d+", capsys.readouterr().out)]
    assert len(scores) == 6
    assert max(scores) > 0.1


@EACH
def test_every_command_exists_with_the_options_shown(page):
    for words in commands_on(page):
        command, path = typer.main.get_command(app), words[1:]
        if any(mark in words for mark in ("|", "COMMAND")):
            continue  # a list of commands, which the next test reads
        while path and hasattr(command, "commands") and not path[0].startswith("-"):
            assert path[0] in command.commands, f"`{' '.join(words)}`: there is no {path[0]!r}"
            command, path = command.commands[path[0]], path[1:]
        known = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
        for option in (word.split("=")[0] for word in path if word.startswith("-")):
            assert option in known, f"`{' '.join(words)}`: there is no {option}"


def test_the_readme_names_commands_that_exist():
    there = typer.main.get_command(app).commands
    section = (ROOT / "README.md").read_text().split("## On the command line")[1].split("```")[1]
    for line in section.strip().splitlines():
        first, *others = re.split(r"\s{2,}", line)[0].removeprefix("neurolm ").split(" | ")
        inside = getattr(there[first.split()[0]], "commands", {})
        for name in (*first.split()[1:], *others):
            assert name.isupper() or name.split()[0] in there or name in inside, f"{line}: there is no {name!r}"


@EACH
def test_every_config_and_file_that_is_named_is_there(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\b((?:configs|benchmarks|pipelines|notebooks|tests)/[\w./-]*\w/?)", text):
        assert (ROOT / name).exists() or "results" in name, f"{page.name} names {name}"
    for target in re.findall(r"\]\((?!http|#)([^)#]+)\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_table_of_models_is_the_one_that_the_manual_shows():
    measured = (ROOT / "docs" / "pictures" / "models.md").read_text()
    assert measured.split("\n\n")[0] in (ROOT / "README.md").read_text()
    assert "SmolLM2-135M" in measured


def test_every_package_has_its_page_in_the_api():
    there = {page.stem for page in (ROOT / "docs" / "api").glob("*.md")} - {"index"}
    packages = {p.parent.name for p in (ROOT / "neurolm").glob("*/__init__.py")} - {"cli"}
    assert there == packages
    index = (ROOT / "docs" / "api" / "index.md").read_text()
    assert all(re.search(rf"^{name}$", index, re.MULTILINE) for name in there)
