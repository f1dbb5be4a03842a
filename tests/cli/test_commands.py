import re

import pytest

COMMANDS = ["doctor", "data", "stimuli", "features", "encode", "decode", "report", "run", "status"]
SUBCOMMANDS = ["data list", "data fetch", "data check", "stimuli check", "stimuli show", "features extract"]


@pytest.mark.parametrize("command", ["", *COMMANDS, *SUBCOMMANDS])
def test_every_command_has_help_with_an_example(neurolm, command):
    shown = neurolm(*command.split(), "--help")
    assert shown.returncode == 0
    if command in {"data", "stimuli", "features"}:
        assert "Commands" in shown.stdout
    else:
        assert re.search(r"Example: neurolm|Start with: neurolm", shown.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "missing.yaml"], "missing.yaml: no such file"),
        (["data", "check", "alcie"], "Did you mean 'alice'?"),
        (["status", "/nowhere"], "must be the output folder of a run"),
        (["stimuli", "show", "no.TextGrid"], "no.TextGrid"),
        (["encode", "missing.yaml"], "no such file"),
        (["decode", "missing.yaml"], "no such file"),
    ],
)
def test_bad_input_ends_in_one_message_and_code_2(neurolm, arguments, message):
    ended = neurolm(*arguments)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_an_unknown_key_is_named_with_its_line(neurolm, tmp_path):
    (tmp_path / "my.yaml").write_text("dataset: {name: alice}\nfeatures: {modle: gpt2}\n")
    ended = neurolm("run", tmp_path / "my.yaml")
    assert ended.returncode == 2
    assert "my.yaml:2: unknown key 'features.modle'. Did you mean 'model'?" in ended.stderr


def test_data_sets_are_listed_with_their_licences(neurolm):
    listed = neurolm("data", "list")
    assert "alice" in listed.stdout
    assert "CC-BY 4.0" in listed.stdout


def test_what_a_table_leaves_untimed_is_said(neurolm, tmp_path):
    (tmp_path / "words.csv").write_text("word,onset,offset\nonce,1,1.5\nupon,,\na,2,2.1\n")
    shown = neurolm("stimuli", "show", tmp_path / "words.csv")
    assert "2 words" in shown.stdout
    assert "left out: 'untimed' 1 times" in shown.stdout
