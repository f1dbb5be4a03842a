"""Words and phrases that may not come back into code, manual, configs and lessons: the field's own terms are there for them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTEAD = {
    r"anew": "again; recomputed",
    r"by (him|her)self": "for each subject separately",
    r"who never was": "simulated",
    r"ha(s|ve) no say": "does not enter the fit",
    r"told apart": "discriminated, identified, distinct",
    r"at hand": "available",
    r"stands? beside": "is reported with",
    r"(is|are) told": "is predicted, is given, is described",
    r"can(not)? be had": "is (not) available",
    r"goes on after a": "resumes after",
}
ALLOWED = {"tests/test_language.py"}


def texts():
    for folder in ("neurolm", "docs", "configs", "notebooks", "pipelines", "benchmarks", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            is_made = {"_build", "__pycache__", "lessons"} & set(path.parts)  # copies for the manual
            if path.suffix in (".py", ".md", ".yaml", ".ipynb", ".smk") and not is_made:
                yield path
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))


@pytest.mark.parametrize("phrase", INSTEAD)
def test_quaint_phrases_do_not_come_back(phrase):
    pattern = re.compile(rf"\b{phrase}\b")
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for path in texts()
        if (name := str(path.relative_to(ROOT))) not in ALLOWED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"write {INSTEAD[phrase]!r} instead:\n" + "\n".join(found)
