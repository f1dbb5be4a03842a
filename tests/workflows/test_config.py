from pathlib import Path

import pytest

from neurolm.checks import FileError
from neurolm.workflows.config import read_config, valid_keys
from neurolm.workflows.decoding_config import read_decode_config
from neurolm.workflows.yaml_file import read_value, read_yaml

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
            r"my\.yaml:4: 'features.context.unit' must be 'words', 'tokens', 'sliding' or 'story'; got letters",
        ),
        ("features: {}\n", r"'dataset' is missing"),
        ("dataset: {name: alice}\ndataset: {name: b}\n", r"^\S*my\.yaml:2: 'dataset' is given twice. Keep one.$"),
        ("dataset: {name: alice\n", r"my\.yaml:\d: is not valid YAML"),
        ("", r"my\.yaml: holds no keys"),
        ("- a\n", r"holds no keys"),
        ("dataset: {name: alice}\nencode: {alphas: {low: 10, high: 1}}\n", "high must be at least low"),
        ("dataset: {name: alice}\ndesign:\n  delays: [-1]\n", r"my\.yaml:3: 'design.delays.0'"),
        (
            "dataset: {name: alice}\npreprocess:\n  detrend_degree: no\n",
            r"my\.yaml:3: 'preprocess.detrend_degree' must be a whole number; got no",
        ),
        ("dataset: {name: alice}\nencode: {gap: 1:30}\n", r"my\.yaml:2: 'encode.gap' must be a whole number; got 1:30"),
        ("dataset: {name: alice}\nseed: 010\n", r"my\.yaml:2: 'seed' must be a whole number; got 010"),
        ("dataset: {name: alice}\nseed: 0x10\n", r"my\.yaml:2: 'seed' must be a whole number; got 0x10"),
        ("dataset: {name: alice}\nseed: 1_000\n", r"my\.yaml:2: 'seed' must be a whole number; got 1_000"),
        ("dataset: {name: alice}\nseed: 2024-01-01\n", r"my\.yaml:2: 'seed' must be a whole number; got 2024-01-01"),
        ("dataset: {name: alice}\nseed: yes\n", r"my\.yaml:2: 'seed' must be a whole number; got yes"),
        ("dataset: {name: alice}\nseed: true\n", r"my\.yaml:2: 'seed' must be a whole number; got True"),
        ("dataset: {name: alice}\nseed:\n", r"my\.yaml:2: 'seed' must be a whole number; got None"),
        ("dataset: {name: alice}\nseed: 1.0\n", r"my\.yaml:2: 'seed' must be a whole number; got 1.0"),
        ("dataset: {name: alice}\nseed: -1\n", r"my\.yaml:2: 'seed' must be >= 0; got -1"),
        ("dataset: {name: alice}\nseed: 4294967296\n", r"my\.yaml:2: 'seed' must be <= 4294967295"),
        ("dataset: {name: alice}\nseed: 99999999999999999999\n", r"my\.yaml:2: 'seed' is too large a number"),
        ("dataset: {name: alice}\nencode: {alphas: {high: .inf}}\n", r"my\.yaml:2: 'encode.alphas.high' must be finite"),
        (
            "dataset: {name: alice}\ndesign: {delays: [yes, 2]}\n",
            r"my\.yaml:2: 'design.delays.0' must be a whole number; got yes",
        ),
        ("dataset: {name: alice}\ndesign: {delays: []}\n", r"my\.yaml:2: 'design.delays' must hold at least 1"),
        ("dataset: {name: alice}\nencode:\n", r"my\.yaml:2: 'encode' must be a section of keys; got None"),
        ("dataset: {name: alice}\noverride: lag\n", r"my\.yaml:2: 'override' must be a list; got lag"),
        (
            "dataset: {name: alice}\npreprocess: {zscore: 'no'}\n",
            r"my\.yaml:2: 'preprocess.zscore' must be true or false; got no",
        ),
        ("dataset: {name: alice}\npreprocess: {zscore: 0}\n", r"my\.yaml:2: 'preprocess.zscore' must be true or false; got 0"),
        ("dataset: {name: alice}\ntitle: 12\n", r"my\.yaml:2: 'title' must be text; got 12. Put it into quotes."),
        ("dataset:\n  name: alice\n  subjects: []\n", r"my\.yaml:3: 'dataset.subjects' must hold at least 1; got \[\]"),
        ("dataset:\n  name: alice\n  stories: []\n", r"my\.yaml:3: 'dataset.stories' must hold at least 1; got \[\]"),
        (
            "dataset:\n  name: alice\n  subjects: [1, 2]\n",
            r"my\.yaml:3: 'dataset.subjects.0' must be text; got 1. Put it into quotes.",
        ),
        ("dataset:\n  name: alice\n  subjects: 5\n", r"my\.yaml:3: 'dataset.subjects' must be 'all' or a list; got 5"),
        ("dataset: {name: alice}\nfeatures: {layers: []}\n", r"my\.yaml:2: 'features.layers' must hold at least 1"),
        (
            "dataset: {name: alice}\nfeatures: {layers: [yes, 8]}\n",
            r"my\.yaml:2: 'features.layers.0' must be a whole number; got yes",
        ),
        ("dataset: {name: alice}\nseed: !!int abc\n", r"my\.yaml: is not valid YAML"),
        ("dataset: {name: alice, options: {a: !!binary aGk=}}\n", r"my\.yaml:1: 'dataset.options.a' is neither text, a number"),
        ("dataset: {name: alice, options: {1: 2}}\n", r"my\.yaml:1: the key 1 is not text"),
        ("dataset: {name: !!python/object/apply:os.system [ls]}\n", r"my\.yaml:1"),
    ],
)
def test_every_mistake_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(FileError, match=message):
        read_config(write(tmp_path, text))


@pytest.mark.parametrize("label", ["01", "010", "1:30", "no", "0x10", "1_000", "2024-01-01", "007"])
def test_a_subjects_label_stays_as_it_was_typed(label, tmp_path):
    config = read_config(write(tmp_path, f"dataset: {{name: alice, subjects: [{label}, s2]}}\n"))
    assert config.dataset.subjects == [label, "s2"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1e-05", 1e-5),
        (".5", 0.5),
        ("-2", -2),
        ("+3", 3),
        ("0", 0),
        ("~", None),
        ("TRUE", True),
        ("0.10", 0.1),
        ("", None),
    ],
)
def test_numbers_null_and_booleans_are_those_of_yaml_1_2(text, value):
    found = read_value(text)
    assert (found, type(found)) == (value, type(value))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_config(tmp_path / "none.yaml")


def test_valid_keys_of_a_section_are_known():
    assert "unit" in valid_keys(("features", "context"))


@pytest.mark.parametrize("written", ["~/x", "$SCRATCH/x", "${SCRATCH}/x", "/top/$SCRATCH_NAME/x"])
def test_a_home_and_variables_in_any_path_of_a_config_are_put_in(tmp_path, monkeypatch, written):
    monkeypatch.setenv("HOME", "/scratch/me")
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("SCRATCH_NAME", "scratch")
    config = tmp_path / "c.yaml"
    config.write_text(
        f'title: "costs $SCRATCH"\ndataset: {{name: alice, options: {{folder: "{written}"}}}}\noutput: "{written}"\n'
    )
    read = read_config(config)
    expected = "/top/scratch/x" if written.startswith("/top") else "/scratch/me/x"
    assert read.output == read.dataset.options["folder"] == expected
    assert read.title == "costs $SCRATCH"


def test_an_undefined_variable_in_a_path_is_refused_with_its_line(tmp_path, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    config = tmp_path / "c.yaml"
    config.write_text('dataset: {name: alice}\noutput: "$NOWHERE/x"\n')
    with pytest.raises(FileError, match=r"c.yaml:2: \$NOWHERE in .* is not known here"):
        read_config(config)


def read_text(tmp_path, text):
    return read_config(write(tmp_path, text))


def test_the_grid_of_penalties_extends_itself_unless_it_is_given(tmp_path):
    assert read_text(tmp_path, "dataset: {name: alice}\n").encode.alphas.extend
    given = read_text(tmp_path, "dataset: {name: alice}\nencode: {alphas: {low: 1, high: 100, count: 3}}\n").encode.alphas
    assert (given.grid(), given.extend) == ((1, 10, 100), False)
    with pytest.raises(FileError, match="two different penalties"):
        read_text(tmp_path, "dataset: {name: alice}\nencode: {alphas: {low: 5, high: 5, count: 1, extend: true}}\n")
