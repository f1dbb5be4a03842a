"""What `neurolm status` says of a run, from the log and the heartbeats that it left."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time

import psutil
import pytest

from neurolm.checks import InputError
from neurolm.locks import exclusive_lock, held_file
from neurolm.processes import this_process
from neurolm.workflows.engine import WorkflowState, _environment, _failure, run_workflow
from neurolm.workflows.run_processes import RUN_ID, cancel_jobs, end_processes, record_run, run_processes
from neurolm.workflows.run_status import status

PLANNED = """\
Building DAG of jobs...
Job stats:
job         count
--------  -------
all             1
check           1
encode          1
features        3
total           6

"""
CHECKED = "localrule check:\n    input: a\nFinished jobid: 2 (Rule: check)\n"
TWO_STARTED = "rule features:\n    input: a\nrule features:\n    input: b\n"


@pytest.fixture
def home(tmp_path):
    """A function that lays out what a run left behind."""
    folder = tmp_path / ".neurolm"
    (folder / "heartbeats").mkdir(parents=True)

    def write(log, errors="", beats=()):
        (folder / "snakemake.log").write_text(log)
        (folder / "errors.txt").write_text(errors)
        record_run(folder)
        for i, beat in enumerate(beats):
            (folder / "heartbeats" / f"{i}.json").write_text(json.dumps(beat))
        return folder

    return write


def beat(**changes):
    about = {"stage": "features", "done": 1, "total": 4, "unit": "passes", "note": "", "used_s": 40.0, "here": 1, "here_s": 30.0}
    return about | {"process": this_process(), "time": time.time()} | changes


def said(home, capsys):
    status(home.parent)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_run_at_work_shows_what_is_done_running_and_waiting_with_the_time_left(home, capsys):
    folder = home(PLANNED + CHECKED + TWO_STARTED + "Finished jobid: 3 (Rule: features)\n", beats=[beat()])
    with exclusive_lock(folder / "run.lock"):
        lines = said(folder, capsys)
    assert lines[:4] == [
        "a run is at work here",
        "done check",
        "done features 1 of 3",
        "running features 25 % 1 of 4 passes 1 min 30 s left",
    ]
    assert lines[4:] == ["waiting encode", "waiting features x 1"]


def test_a_job_in_a_queue_counts_as_started(home, capsys):
    folder = home(PLANNED + CHECKED + TWO_STARTED)
    with exclusive_lock(folder / "run.lock"):
        assert "started features: no progress told yet, or in the cluster's queue" in said(folder, capsys)


def test_a_failure_is_shown_with_its_reason(home, capsys):
    folder = home(PLANNED + CHECKED + TWO_STARTED + "Error in rule features:\n", errors="layer must lie in 0..2; got 9.\n")
    lines = said(folder, capsys)
    assert lines[0] == "no run is at work here"
    assert lines[1:3] == ["failed features", "layer must lie in 0..2; got 9."]


def test_a_step_that_went_well_when_it_was_tried_again_has_not_failed(home, capsys):
    retried = "rule encode:\nError in rule encode:\nrule encode:\nFinished jobid: 4 (Rule: encode)\n"
    folder = home(PLANNED + CHECKED + retried, errors="killed\n")
    with exclusive_lock(folder / "run.lock"):
        lines = said(folder, capsys)
    assert "done encode" in lines
    assert not [line for line in lines if "failed" in line or "killed" in line]


def test_heartbeats_of_the_dead_are_not_believed_those_of_other_machines_are(home):
    mine = this_process()
    dead, elsewhere = mine._replace(started=mine.started - 1), mine._replace(machine="0123456789ab", pid=1)
    folder = home(PLANNED, beats=[beat(process=dead), beat(process=elsewhere), beat(done=4)])
    assert [b["process"][0] for b in WorkflowState.read(folder).beats] == ["0123456789ab"]


def test_heartbeats_in_a_copy_of_the_folder_are_those_of_the_original(home, tmp_path):
    folder = home(PLANNED, beats=[beat()])
    assert WorkflowState.read(folder).beats
    shutil.copytree(folder, tmp_path / "copy" / ".neurolm")
    assert not WorkflowState.read(tmp_path / "copy" / ".neurolm").beats


def test_a_status_writes_nothing_and_needs_no_locks(home, capsys, monkeypatch):
    def no_locks(descriptor, **_):
        raise OSError(errno.ENOLCK, "No locks available")

    folder = home(PLANNED + CHECKED)
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr("filelock.lock_descriptor", no_locks)
    assert said(folder, capsys)[0] == "no run is at work here"
    assert sorted(folder.rglob("*")) == before
    held_file(folder / "run.lock").touch()
    (folder / "run.lock").touch()
    assert said(folder, capsys)[0] == "a run is at work here"  # this process wrote run.json, and is alive
    record = json.loads((folder / "run.json").read_text())
    record["process"]["started"] -= 1
    (folder / "run.json").write_text(json.dumps(record))
    assert said(folder, capsys)[0] == "no run is at work here"


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    with exclusive_lock(tmp_path / ".neurolm" / "run.lock"):
        with pytest.raises(InputError, match="output must have one run at a time"):
            run_workflow("encoding", tmp_path, cores=1, watch=lambda state: None)


def test_cluster_jobs_that_a_killed_run_left_are_cancelled_by_the_name_of_that_run(home, tmp_path, monkeypatch):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("scancel", "squeue"):
        (commands / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/called\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    folder = home("SLURM run ID: 1234-abcd\n" + PLANNED)
    cancel_jobs(folder)
    called = "scancel --name=1234-abcd\nsqueue --noheader --name=1234-abcd\n"
    assert (tmp_path / "called").read_text() == called
    shutil.copytree(folder, tmp_path / "copy" / ".neurolm")
    cancel_jobs(tmp_path / "copy" / ".neurolm")  # the jobs are those of the original
    assert (tmp_path / "called").read_text() == called


STEP = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"


@pytest.fixture
def step(home, tmp_path):
    """A step of a run of the folder, which has started a process of its own; and the folder."""
    folder = home(PLANNED)
    environment = os.environ | {RUN_ID: record_run(folder)}
    process = subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path / "config.json")], env=environment)
    while len(psutil.Process(process.pid).children()) < 1:
        time.sleep(0.01)
    yield process, folder
    for child in psutil.Process(process.pid).children() if process.poll() is None else []:
        child.kill()
    process.kill()
    process.wait()


def test_what_a_killed_run_left_is_found_and_ended_with_its_children(step, capsys):
    process, folder = step
    child = psutil.Process(process.pid).children()[0]
    assert {p.pid for p in run_processes(folder)} == {process.pid, child.pid}
    assert f"{process.pid}" in said(folder, capsys)[1]
    end_processes(folder)
    process.wait(5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("change", ["copy", "host", "start", "id", "inode"])
def test_a_run_finds_no_process_of_another_folder_host_or_time(step, tmp_path, change):
    process, folder = step
    record = json.loads((folder / "run.json").read_text())
    if change == "copy":
        folder = shutil.copytree(folder, tmp_path / "copy" / ".neurolm")
    elif change == "host":
        record["process"]["machine"] = "0123456789ab"
    elif change == "start":
        record["process"]["started"] += 10**9
    elif change == "id":
        record["id"] = "another"
    else:
        record["folder"]["inode"] += 1
    (folder / "run.json").write_text(json.dumps(record))
    assert run_processes(folder) == []
    end_processes(folder)
    assert process.poll() is None


def test_an_engine_that_stops_without_a_step_shows_the_end_of_its_log(tmp_path):
    (tmp_path / "log").write_text("".join(f"line {i}\n\n" for i in range(50)) + "FileNotFoundError: '/proc/.cache'\n")
    (tmp_path / "errors").write_text("")
    message = str(_failure(tmp_path / "errors", tmp_path / "log"))
    assert message.startswith(f"The workflow stopped, and no step said why. The end of {tmp_path / 'log'}:\n")
    assert message.splitlines()[-1] == "  FileNotFoundError: '/proc/.cache'"
    assert len(message.splitlines()) == 21


def test_the_engine_is_spared_what_would_stop_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    environment = _environment(tmp_path)
    assert "PYTHONWARNINGS" not in environment
    assert environment["PYTHONUTF8"] == "1"
    assert environment["XDG_CACHE_HOME"] == str(tmp_path / "cache")
    show = "import os; from neurolm.cli.app import settle; settle(); print(os.environ.get('XDG_CACHE_HOME'))"
    for before in (None, "/mine"):
        if before:
            monkeypatch.setenv("XDG_CACHE_HOME", before)
        step = subprocess.run(
            [sys.executable, "-c", show], env=_environment(tmp_path), capture_output=True, text=True, check=True
        )
        assert step.stdout.strip() == str(before)  # a step looks for its models where they always are


def test_the_time_left_grows_while_no_step_is_completed(home):
    folder = home(PLANNED, beats=[beat(done=3, total=4, here=3, here_s=60.0, time=time.time() - 180)])
    assert WorkflowState.read(folder).beats[0]["left_s"] == pytest.approx(80, abs=2)
