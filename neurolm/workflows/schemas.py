"""JSON Schemas of configs, for editors: python -m neurolm.workflows.schemas configs/schemas

A config names its schema in a comment, `# yaml-language-server: $schema=schemas/encoding.json`; an
editor with a YAML language server then completes its keys, explains them and marks mistakes.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from neurolm.storage import write_json
from neurolm.workflows.kinds import KINDS, config_class
from neurolm.workflows.yaml_file import VERSION


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind of config."""
    made = TypeAdapter(config_class(kind)).json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    if kind == "training":  # a dataclass of the library: what the command line adds is not in it
        for name, text in (("version", "Version of this format of configs."), ("analysis", "Which workflow.")):
            made["properties"][name] = {"const": VERSION if name == "version" else kind, "description": text}
    for section in (made, *made["$defs"].values()):
        if section["type"] == "object":
            section["additionalProperties"] = False
            _describe(section)
    return made


def _describe(section: dict[str, Any]) -> None:
    """Take descriptions of keys from the section's docstring, where they are written there, and leave its first line."""
    text = inspect.cleandoc(section.get("description", ""))
    section["description"] = text.partition("\n")[0]
    for names, kind, more in re.findall(r"^([\w, ]+) : (.*)((?:\n +.*)*)$", text, re.MULTILINE):
        for name in names.split(", "):
            if name in section["properties"]:
                said = f"{kind}: {more}" if more and kind.startswith("{") else more or kind
                section["properties"][name].setdefault("description", " ".join(said.split()))


def write_schemas(folder: Path) -> None:
    """Write the schema of every kind as <folder>/<kind>.json."""
    for kind in KINDS:
        write_json(folder / f"{kind}.json", schema(kind))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "configs/schemas"))
