"""What `neurolm status` says of a run, from the log and the heartbeats that it left."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from neurolm.checks import InputError
from neurolm.cli.status import status
from neurolm.cli.workflow import WorkflowState, _cancel_jobs, run_workflow
from neurolm.locks import exclusive_lock

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
        for i, beat in enumerate(beats):
            (folder / "heartbeats" / f"{i}.json").write_text(json.dumps(beat))
        return folder

    return write


def beat(**changes):
    about = {"stage": "features", "done": 1, "total": 4, "unit": "passes", "note": "", "used_s": 10.0, "left_s": 90.0}
    return about | {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()} | changes


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
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = home(PLANNED, beats=[beat(pid=dead.pid), beat(pid=dead.pid, host="another"), beat(done=4)])
    assert [b["host"] for b in WorkflowState.read(folder).beats] == ["another"]


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
    _cancel_jobs(folder / "snakemake.log")
    assert (tmp_path / "called").read_text() == "scancel --name=1234-abcd\nsqueue --noheader --name=1234-abcd\n"
