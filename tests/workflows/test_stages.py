"""Stages are made again exactly when what they are made from has changed."""

import os
import time
from dataclasses import replace

import pytest

from neurolm.checks import FileError
from neurolm.workflows.output_folder import earlier_folders
from neurolm.workflows.stages import Judge, Stage, check_before, is_current, making, set_aside_unplanned


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def stages(tmp_path):
    """features <- words; encode <- features, bold; report <- encode."""
    for name in ("words", "bold"):
        (tmp_path / name).write_text(name)
    out = tmp_path / "out"
    features = Stage("features", "features", out, ("f.h5",), "", {"model": "m"}, lambda: {"words": tmp_path / "words"})
    encode = Stage(
        "encode",
        "encode",
        out,
        ("scores",),
        "",
        {"encode": {"gap": 5}, "seed": 0},
        lambda: {"bold": tmp_path / "bold"},
        (features,),
        owns=("sub-*.html",),
    )
    return [features, encode, Stage("report", "report", out, ("page",), "", {"title": "T"}, after=(encode,))]


def make(stage, text="made", also=()):
    with making(stage):
        stage.folder.mkdir(exist_ok=True)
        for name in (*stage.makes, *also):
            (stage.folder / name).unlink(missing_ok=True)
            (stage.folder / name).write_text(text)


def outdated(stages):
    reasons = Judge().outdated(stages)
    return {stage.name: reasons[stage.record] for stage in stages if stage.record in reasons}


@pytest.fixture
def made(stages):
    for stage in stages:
        make(stage)
    assert outdated(stages) == {}
    return stages


def test_nothing_is_there_at_first(stages):
    assert outdated(stages) == dict.fromkeys(("features", "encode", "report"), "not made yet")


@pytest.mark.parametrize(("name", "again"), [("words", ["features", "encode", "report"]), ("bold", ["encode", "report"])])
def test_a_changed_input_makes_its_stages_and_those_after_them_again(made, tmp_path, name, again):
    status = (tmp_path / name).stat()
    (tmp_path / name).write_text(name[::-1])
    os.utime(tmp_path / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = outdated(made)
    assert list(found) == again
    assert found[again[0]] == f"{name} changed"
    (tmp_path / name).write_text(name)
    assert outdated(made) == {}


@pytest.mark.parametrize("hours", [-1, 1])
def test_clocks_have_no_say(made, tmp_path, hours):
    then = time.time() + 3600 * hours
    for path in tmp_path.rglob("*"):
        os.utime(path, (then, then))
    assert outdated(made) == {}


def test_a_changed_key_is_named(made):
    changed = replace(made[1], settings={"encode": {"gap": 6}, "seed": 0})
    assert outdated([made[0], changed, replace(made[2], after=(changed,))]) == {
        "encode": "encode.gap differs in the config",
        "report": "encode was made again",
    }


@pytest.mark.parametrize("change", ["delete", "edit"])
def test_a_result_that_is_gone_or_edited_is_made_again(made, change):
    path = made[0].folder / "f.h5"
    path.unlink() if change == "delete" else path.write_text("edited")
    found = outdated(made)
    assert list(found) == ["features", "encode", "report"]
    assert found["features"] == ("f.h5 is missing" if change == "delete" else "f.h5 is not what was made")


def test_an_input_that_changes_while_a_stage_works_is_noticed_by_the_next_run(made, tmp_path):
    with making(made[0]):
        (tmp_path / "words").write_text("other")
        (made[0].folder / "f.h5").write_text("made of what was there")
    assert not is_current(made[0])


def test_a_stage_that_is_made_again_makes_those_after_it_outdated(made, tmp_path):
    (tmp_path / "words").write_text("other")
    make(made[0])
    assert outdated(made)["encode"] == "features was made again"


def test_a_stage_that_fails_keeps_its_old_record(made, tmp_path):
    (tmp_path / "bold").write_text("other")
    with pytest.raises(OSError, match="disk"), making(made[1]):
        raise OSError("disk")
    assert outdated(made)["encode"] == "bold changed"
    (tmp_path / "bold").write_text("bold")
    assert outdated(made) == {}


def test_results_of_an_outdated_stage_are_not_worked_on(made, tmp_path):
    check_before(made[2])
    (tmp_path / "words").write_text("other")
    with pytest.raises(FileError, match=r"f\.h5: is out of date: words changed\. Run `neurolm run CONFIG`"):
        check_before(made[2])


def test_options_of_a_single_command_are_no_reason_to_refuse(made):
    other = replace(made[1], settings={**made[1].settings, "seed": 3})
    check_before(replace(made[2], after=(other,)))
    assert not is_current(other)


@pytest.mark.parametrize("damage", ["", "[]", '{"settings": {}}', '{"settings": 1, "inputs": {}, "after": {}, "outputs": {}}'])
def test_a_damaged_record_is_none(made, damage):
    made[0].record.write_text(damage)
    assert outdated(made)["features"] == "not finished, or made by an older neurolm"


def test_what_a_stage_no_longer_makes_is_set_aside_and_named(made, capsys):
    encode = made[1]
    make(encode, also=("sub-01.html", "sub-02.html"))
    make(encode, also=("sub-01.html",))
    (place,) = earlier_folders(encode.folder)
    assert [path.name for path in place.iterdir()] == ["sub-02.html"]
    assert not list(encode.folder.rglob("sub-02*"))
    assert f"1 file of an earlier config moved to {place}: sub-02.html" in capsys.readouterr().err


def test_what_a_killed_stage_left_is_set_aside_too_and_files_of_others_stay(made):
    encode = made[1]
    (encode.folder / "sub-09.html").write_text("of a run that was killed")
    (encode.folder / "notes.txt").write_text("mine")
    make(encode)
    assert not (encode.folder / "sub-09.html").exists()
    assert (encode.folder / "notes.txt").exists()


def test_results_of_stages_that_the_config_no_longer_has_are_set_aside(made):
    set_aside_unplanned(made[0].folder, made[1:])
    assert not (made[0].folder / "f.h5").exists()
    assert not made[0].record.exists()
    assert [path.name for path in earlier_folders(made[0].folder)[0].iterdir()] == ["f.h5"]
    assert (made[0].folder / "scores").exists()
