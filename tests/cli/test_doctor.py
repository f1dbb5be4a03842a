"""`neurolm doctor` tries to write where commands will have to."""

import errno
import os

import huggingface_hub.constants
import pytest

from neurolm.cli.doctor import writing_problem


def test_a_folder_that_can_be_written_has_no_problem_and_keeps_nothing(tmp_path):
    assert writing_problem(tmp_path / "not" / "there" / "yet") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in writing_problem(tmp_path / "file" / "cache")


def test_a_file_system_without_locks_is_a_problem(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    assert "has no locks" in writing_problem(tmp_path)


@pytest.mark.parametrize(
    ("place", "setting"),
    [("cache", "NEUROLM_CACHE"), ("hub models", "HF_HOME"), ("temporary", "TMPDIR"), ("results", "--output")],
)
def test_each_folder_that_cannot_be_written_is_named_with_its_setting(place, setting, tmp_path, monkeypatch, neurolm_here):
    (tmp_path / "file").write_text("")
    broken = str(tmp_path / "file" / "below")
    monkeypatch.setenv("NEUROLM_CACHE", broken if place == "cache" else str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", broken if place == "hub models" else str(tmp_path))
    monkeypatch.setattr("tempfile.gettempdir", lambda: broken if place == "temporary" else str(tmp_path))
    monkeypatch.setattr("pathlib.Path.cwd", lambda: tmp_path / ("file/below" if place == "results" else ""))
    code, said, _ = neurolm_here("doctor")
    assert code == 1
    assert f"! {place} {broken}: cannot be written" in said
    assert setting in said
    assert "All well" not in said
