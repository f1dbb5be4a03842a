"""Sphinx settings of the manual: `make docs` builds it without warnings.

Three things are gathered while it builds, so that each lives in one place: the lessons of
notebooks/, the measurements of benchmarks/results/, and the help of every command.
"""

import os
import re
import shutil
from pathlib import Path

from neurolm import __version__

HERE = Path(__file__).parent
LESSONS, RESULTS = HERE.parent / "notebooks", HERE.parent / "benchmarks" / "results"

project = "neurolm"
author = "the neurolm developers"
release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = os.environ.get("NEUROLM_DOCS_LESSONS", "off")  # "force" runs the lessons and shows their figures
nb_execution_timeout = 300
html_math_renderer = "mathml"  # browsers draw it themselves: equations need no network
html_static_path, html_css_files = ["_static"], ["neurolm.css"]
html_theme = "furo"
html_title = f"neurolm {release}"
exclude_patterns = ["_build", "pictures/*.md"]
highlight_language = "text"  # code says what it is; the rest is commands and tables
suppress_warnings = ["config.cache", "mystnb.unknown_mime_type", "ref.python"]
napoleon_google_docstring = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False


def _space_out_fields(app, what, name, obj, options, lines):
    """Short docstrings list fields as `name : meaning`, line under line: give each a paragraph of its own."""
    if any(set(line) == {"-"} for line in lines):
        return  # numpydoc sections are napoleon's
    for i in range(len(lines) - 1, 0, -1):
        if re.match(r"\w[\w, ]* : \S", lines[i]):
            lines.insert(i, "")


def _escape(app, what, name, obj, options, lines):
    """|x| is an absolute value in our docstrings and `coef_` a name; to reStructuredText both mean something else."""
    if what == "module":  # "name   what it does", line under line, stays as it is laid out
        start = next((i for i, line in enumerate(lines) if re.search(r"\S {2,}\S", line)), len(lines))
        lines[start:] = ["::", "", *(f"   {line}" for line in lines[start:])] if start < len(lines) else []
        return
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``|:\w+:`.*?`|`.*?`_*)", line)
        for j in range(0, len(parts), 2):  # between what is marked as code
            parts[j] = re.sub(r"\|(?=\S)|(?<=\S)\|", r"\\|", parts[j])
            parts[j] = re.sub(r"(?<![\\\w])(\w+)_(?!\w)", r"\1\\_", parts[j])
        lines[i] = "".join(parts)


def _copy_lessons(app):
    """Put the notebooks beside the pages; only what changed is touched, so that a second build is quick."""
    for lesson in sorted(LESSONS.glob("*.ipynb")):
        copy = HERE / "lessons" / lesson.name
        if not copy.exists() or copy.read_bytes() != lesson.read_bytes():
            shutil.copyfile(lesson, copy)


def _gather(app, docname, source):
    """Append measurements to the page of benchmarks, and every command's help to the page of commands."""
    if docname == "benchmarks":
        page = (
            "\n```{{include}} ../benchmarks/results/{}\n:heading-offset: 1\n:relative-docs: ../../docs\n:relative-images:\n```\n"
        )
        source[0] += "".join(page.format(result.name) for result in sorted(RESULTS.glob("*.md")))
    if docname == "commands":
        source[0] += "".join(_help_of(path, command) for path, command in _commands())


def _commands():
    """(name with its groups, click command) of all that can be called, in the order of `--help`."""
    import click
    import typer

    from neurolm.cli.main import app

    def walk(path, command):
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from walk([*path, name], inner)
        else:
            yield " ".join(path), command

    return walk(["neurolm"], typer.main.get_command(app))


def _help_of(path, command):
    """One command as Markdown: what it does, its arguments and options, its example."""
    rows = []
    for parameter in command.params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
        meaning = getattr(parameter, "help", None) or f"Left out: {parameter.default}."
        rows.append(f"`{', '.join(names)}`\n: {meaning}\n")
    lines = "\n".join(rows)
    example = (command.epilog or "").removeprefix("Example: ").replace("    (", "   # (")
    return f"\n## `{path}`\n\n{command.help or ''}\n\n{lines}\n```\n{example}\n```\n"


def _mathml(self, node):
    """An equation as MathML; a sign that the converter does not know is an error, not a word on the page."""
    from docutils import nodes
    from latex2mathml.converter import convert

    markup = convert(node.astext(), display="inline" if isinstance(node, nodes.math) else "block")
    unknown = re.findall(r"\\[a-zA-Z]+", markup)
    if unknown:
        raise ValueError(f"{unknown[0]} in {node.astext()!r} cannot be drawn; write it in another way")
    self.body.append(markup)
    raise nodes.SkipNode


def _check_public_names(app, env):
    """Every public name of every package must stand in the API."""
    import importlib
    import types

    from sphinx.util import logging

    described = env.get_domain("py").objects
    for page in sorted((HERE / "api").glob("[!i]*.md")):
        module = importlib.import_module(f"neurolm.{page.stem}")
        there = (name for name, value in vars(module).items() if name[0] != "_" and not isinstance(value, types.ModuleType))
        for name in getattr(module, "__all__", there):
            if f"neurolm.{page.stem}.{name}" not in described:
                logging.getLogger(__name__).warning("neurolm.%s.%s is public and not in the API", page.stem, name)


def setup(app):
    app.connect("autodoc-process-docstring", _space_out_fields, priority=100)
    app.connect("autodoc-process-docstring", _escape, priority=900)
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
    app.connect("builder-inited", _copy_lessons)
    app.connect("source-read", _gather)
    app.connect("env-check-consistency", _check_public_names)
