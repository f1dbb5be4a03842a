from pathlib import Path

import pytest

from neurolm.checks import FileError
from neurolm.cli.config import read_config, read_yaml, valid_keys
from neurolm.cli.decode_config import read_decode_config

CONFIGS = Path(__file__).parents[2] / "configs"


def write(tmp_path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_valid_and_says_what_it_is_in_its_first_line(path):
    values, _ = read_yaml(path)
    if values.get("analysis") == "encoding":  # other analyses check their own keys
        read_config(path)
    elif values.get("analysis") in ("decoding", "identification"):
        read_decode_config(path)
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: {name: alice}\nencode:\n  alfas: 3\n", r"my\.yaml:3: unknown key 'encode.alfas'. Did you mean 'alphas'\?"),
        (
            "dataset: {name: alice}\nfeatures:\n  context:\n    unit: letters\n",
            r"my\.yaml:4: 'features.context.unit': Input should be 'words'",
        ),
        ("features: {}\n", r"'dataset' is missing"),
        ("dataset: {name: alice}\ndataset: {name: b}\n", r"my\.yaml:2: 'dataset' is given twice"),
        ("dataset: {name: alice\n", r"my\.yaml:\d: is not valid YAML"),
        ("", r"my\.yaml: holds no keys"),
        ("- a\n", r"holds no keys"),
        ("dataset: {name: alice}\nencode: {alphas: {low: 10, high: 1}}\n", "high must be at least low"),
        ("dataset: {name: alice}\ndesign:\n  delays: [-1]\n", r"my\.yaml:3: 'design.delays.0'"),
        ("dataset: {name: !!python/object/apply:os.system [ls]}\n", r"my\.yaml:1"),
    ],
)
def test_every_mistake_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(FileError, match=message):
        read_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_config(tmp_path / "none.yaml")


def test_valid_keys_of_a_section_are_known():
    assert "unit" in valid_keys(("features", "context"))
