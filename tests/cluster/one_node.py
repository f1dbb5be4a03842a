"""A real SLURM of one node on this machine, for as long as a test takes.

Needs Debian's `slurm-wlm` and `munge` and root (`make test-slurm` installs the packages).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

INSTALLED = Path("/etc/slurm/slurm.conf")  # where srun looks inside a job, whose SLURM_CONF the executor takes away
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
SchedulerParameters=sched_interval=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:1
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no SLURM can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "a one-node SLURM needs root"
    if INSTALLED.exists():
        return "this machine has a SLURM of its own"
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "squeue") if not shutil.which(name)]
    return f"not installed: {', '.join(lacking)} (make test-slurm)" if lacking else ""


class OneNode:
    """The running cluster; `start_controller` and `kill_controller` play a power cut of the head node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.submitted = folder / "submitted.txt"

    def start_controller(self) -> None:
        subprocess.run(["slurmctld"], env=self.environment, check=True)

    def kill_controller(self, saved_since: float = 0.0) -> None:
        """Not before it has saved its jobs (it does so every few seconds): it would start again what runs, and drain the node."""
        jobs = self.folder / "state" / "job_state"
        while saved_since and not (jobs.exists() and jobs.stat().st_mtime > saved_since):
            time.sleep(0.1)
        _kill(self.folder / "slurmctld.pid")

    def jobs(self) -> list[str]:
        """Ids of jobs that are queued or running; an empty list also while no controller answers."""
        answer = subprocess.run(["squeue", "-h", "-o", "%A"], env=self.environment, capture_output=True, text=True)
        return answer.stdout.split()

    def note_submissions(self) -> None:
        """From now on every command line of sbatch is a line of `submitted` before it is carried out."""
        commands = self.folder / "bin"
        commands.mkdir()
        (commands / "sbatch").write_text(f'#!/bin/sh\necho "$@" >> {self.submitted}\nexec {shutil.which("sbatch")} "$@"\n')
        (commands / "sbatch").chmod(0o755)
        self.environment["PATH"] = f"{commands}:{self.environment['PATH']}"

    def cancel(self, job: str) -> None:
        subprocess.run(["scancel", "--signal=KILL", "--full", job], env=self.environment, check=True)


@contextlib.contextmanager
def one_node(folder: Path, cpus: int = 2, memory_mb: int = 8000) -> Iterator[OneNode]:
    """Start munge, the controller and the node daemon; end them whatever happens."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    ports = {"port": _free_port(), "node_port": _free_port()}
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, cpus=cpus, memory_mb=memory_mb, **ports))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")  # a GPU in name only, to be asked for
    INSTALLED.parent.mkdir(exist_ok=True)
    INSTALLED.unlink(missing_ok=True)  # a link that leads nowhere, left by a test that was killed
    INSTALLED.symlink_to(folder / "slurm.conf")
    started_munge = _start_munge()
    node = OneNode(folder)
    try:
        node.start_controller()
        subprocess.run(["slurmd"], env=node.environment, check=True)
        _wait_until_idle(node)
        yield node
    finally:
        subprocess.run(["scancel", "--user", "root"], env=node.environment, capture_output=True, timeout=20)
        node.kill_controller()
        _kill(folder / "slurmd.pid")
        INSTALLED.unlink()
        if started_munge:
            subprocess.run(["pkill", "munged"], capture_output=True)


def _start_munge() -> bool:
    if subprocess.run(["pgrep", "munged"], capture_output=True).returncode == 0:
        return False
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run(["mungekey", "--create"], check=True)
    subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True)
    return True


def _wait_until_idle(node: OneNode, seconds: float = 60) -> None:
    for _ in range(int(seconds)):
        answer = subprocess.run(["sinfo", "-h", "-o", "%T"], env=node.environment, capture_output=True, text=True)
        if answer.stdout.strip() == "idle":
            return
        time.sleep(1)
    logs = "\n".join((node.folder / name).read_text()[-2000:] for name in ("slurmctld.log", "slurmd.log"))
    raise RuntimeError(f"the node did not become idle\n{logs}")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _kill(pid_file: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(pid_file.read_text()), 9)
        pid_file.unlink()
