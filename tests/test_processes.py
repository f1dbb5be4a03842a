import os
import subprocess
import sys

import pytest

from neurolm.processes import machine_name, start_time, this_process


def test_this_process_runs_and_one_with_its_id_that_started_earlier_does_not():
    me = this_process()
    assert me.pid == os.getpid()
    assert me.is_running()
    assert not me._replace(started=me.started - 1).is_running()
    assert me._replace(started=0).is_running()  # unknown: taken to be the same


def test_a_process_of_another_machine_is_not_looked_for():
    elsewhere = this_process()._replace(machine="0123456789ab")
    assert not elsewhere.is_here()
    assert not elsewhere.is_running()


def test_a_process_that_has_ended_has_no_start_even_before_its_parent_knows():
    child = subprocess.Popen([sys.executable, "-c", ""])
    while start_time(child.pid) is not None:
        pass
    child.wait()
    assert start_time(child.pid) is None


def test_start_agrees_with_psutil():
    psutil = pytest.importorskip("psutil")
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("no /proc")
    parent, me = os.getppid(), os.getpid()
    ticks = os.sysconf("SC_CLK_TCK")
    apart = psutil.Process(me).create_time() - psutil.Process(parent).create_time()
    assert (start_time(me) - start_time(parent)) / ticks == pytest.approx(apart, abs=0.02)


def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert start_time(os.getpid()) is not None


def test_containers_of_one_host_have_different_names(monkeypatch):
    here = machine_name()
    assert here == machine_name()
    monkeypatch.setattr("os.readlink", lambda path: "pid:[1]")
    assert machine_name() != here
