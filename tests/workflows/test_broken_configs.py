"""Whatever a config says, it is carried out or refused with one line: wrong types, extreme numbers, empty lists, broken folders."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolm.checks import InputError
from neurolm.datasets import load_dataset
from neurolm.workflows.config import read_config_as
from neurolm.workflows.kinds import config_class, kind_of, plan_of
from neurolm.workflows.preflight import findings
from neurolm.workflows.preflight_data import Opened
from neurolm.workflows.training import read_train_config

from .test_preflight import BASES

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(CONFIGS.rglob("*.yaml"))
NASTY = (
    st.sampled_from(
        [
            "no",
            "off",
            "1:30",
            "010",
            "0x10",
            "1_000",
            "2024-01-01",
            "~",
            "''",
            "[]",
            "{}",
            "[[]]",
            "{a: 1}",
            ".inf",
            "-.inf",
            ".nan",
            "true",
        ]
        + [
            "-1",
            "0",
            "1.5",
            "1e999",
            "1e-400",
            "-0.0",
            "4294967296",
            "9223372036854775807",
            "99999999999999999999",
            "text",
            "[1, no]",
        ]
        + [
            "!!binary aGk=",
            "!!timestamp 2024-01-01",
            "!!set {a}",
            "!!int x",
            "&a [*a]",
            "*b",
            "'" + "x" * 300 + "'",
            "'a\\0b'",
            "../..",
            "😀",
        ]
    )
    | st.integers().map(str)
    | st.floats().map(str)
)


def leaves(value, way=()):
    """The way to every value of nested keys, and to every section."""
    if way:
        yield way
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*way, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*way, i))


def spoilt(values, way, text):
    """The YAML of a config in which one place holds `text`, unquoted."""
    values = copy.deepcopy(values)
    at = values
    for key in way[:-1]:
        at = at[key]
    at[way[-1]] = "SPOILT-HERE"
    return yaml.safe_dump(values).replace("SPOILT-HERE", text)


def one_line(error, names=""):
    said = str(error)
    assert str(names) in said
    assert len(said) > 20, said
    assert "\n" not in said, said
    assert "pydantic" not in said


def read(path):
    return read_train_config(path) if kind_of(path) == "training" else read_config_as(config_class(kind_of(path)), path)


QUICK = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda p: p.stem)
@QUICK
@given(data=st.data())
def test_a_config_with_any_value_anywhere_is_read_or_refused_with_one_line(shipped, data, tmp_path):
    values = yaml.safe_load(shipped.read_text())
    path = tmp_path / "c.yaml"
    path.write_text(spoilt(values, data.draw(st.sampled_from(list(leaves(values)))), data.draw(NASTY)), encoding="utf-8")
    try:
        read(path)
    except InputError as error:
        one_line(error, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BASES)
@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_config_that_is_read_is_planned_and_checked_or_refused_with_one_line(kind, data, tmp_path):
    (tmp_path / "norms.csv").write_text(
        "word,rating\n" + "".join(f"word{'abcdefghij'[i % 10]}{'abcdef'[i // 10]},{i}\n" for i in range(60))
    )
    values = {"analysis": kind, "output": str(tmp_path / "out")} | copy.deepcopy(BASES[kind])
    text = spoilt(values, data.draw(st.sampled_from(list(leaves(values)))), data.draw(NASTY)).replace(
        "NORMS", str(tmp_path / "norms.csv")
    )
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        plan = plan_of(path, output=None, look=False)[1]
        said = [str(finding) for finding in findings(Opened(plan, is_dry=True)) if finding.level == "problem"]
    except InputError as error:
        said = [str(error)]
    for line in said:
        one_line(line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_subjects": "x"}, "option n_subjects of simulated must be a whole number; got 'x'"),
        ({"n_subjects": True}, "must be a whole number; got True"),
        ({"n_subjects": 0}, "must be a whole number from 1 to 10,000"),
        ({"n_subjects": 10**12}, "must be a whole number from 1 to 10,000"),
        ({"seed": -1}, "option seed of simulated must be >= 0"),
        ({"n_subject": 3}, "Did you mean 'n_subjects'"),
    ],
)
def test_options_of_a_data_set_have_their_types(options, message):
    with pytest.raises(InputError, match=message):
        load_dataset("simulated", **options)


@pytest.mark.parametrize("command", ["run", "encode"])
def test_a_seed_beyond_all_generators_is_refused(command, neurolm_here):
    code, _, complained = neurolm_here(command, CONFIGS / "demo.yaml", "--seed", 2**32, "--dry-run")
    assert (code, "--seed must be a value that the config may hold; got 4294967296" in complained) == (2, True)
