"""The JSON Schemas in configs/ are those of the code, and every config that ships fits and names its own."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from neurolm.workflows.kinds import KINDS, kind_of
from neurolm.workflows.schemas import schema

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_current_and_explains_every_key(kind):
    path = CONFIGS / "schemas" / f"{kind}.json"
    made = schema(kind)
    assert json.loads(path.read_text()) == json.loads(json.dumps(made)), "run python -m neurolm.workflows.schemas configs/schemas"
    for section in (made, *made["$defs"].values()):
        for key, value in section.get("properties", {}).items():
            assert "description" in value or "$ref" in json.dumps(value), f"{section['title']}.{key}"


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.stem)
def test_a_config_fits_the_schema_that_it_names(path):
    up = "../" * (len(path.relative_to(CONFIGS).parts) - 1)
    assert f"# yaml-language-server: $schema={up}schemas/{kind_of(path)}.json\n" in path.read_text()
    jsonschema.validate(yaml.safe_load(path.read_text()), schema(kind_of(path)))


def test_an_unknown_key_does_not_fit():
    wrong = yaml.safe_load((CONFIGS / "demo.yaml").read_text()) | {"alfas": 1}
    with pytest.raises(jsonschema.ValidationError, match="alfas"):
        jsonschema.validate(wrong, schema("encoding"))
