"""Process identity: which process of which machine wrote a file, and whether it still runs.

A process id alone names many processes: those of other hosts and containers, and later ones of the
same host. Here a process is its machine (host name, boot and process-id namespace), its id and the
time at which it started.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path
from typing import NamedTuple

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


class ProcessIdentity(NamedTuple):
    """One process, for ever.

    machine : hexadecimal name of the host, its boot and the container's process ids
    pid : process id on that machine
    started : when it started, in the unit of `start_time`; 0 where this cannot be known
    """

    machine: str
    pid: int
    started: int

    def is_here(self) -> bool:
        """True for a process of this machine, boot and container: only then can it be looked for."""
        return self.machine == machine_name()

    def is_running(self) -> bool:
        """True while this very process runs here; False for a process of another machine."""
        if not self.is_here():
            return False
        started = start_time(self.pid)
        return started is not None and (started == self.started or 0 in (started, self.started))


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    return ProcessIdentity(machine_name(), os.getpid(), start_time(os.getpid()) or 0)


def machine_name() -> str:
    """Twelve hexadecimal digits that differ between hosts, between boots of one host and between containers."""
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        boot = str(uuid.getnode())
    namespace = os.readlink(_NAMESPACE) if _NAMESPACE.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()}\n{boot}\n{namespace}".encode()).hexdigest()[:12]


def start_time(pid: int) -> int | None:
    """When a process of this machine started; None if it has ended, 0 if this cannot be known.

    On Linux clock ticks since boot, which do not move when the clock is set; elsewhere seconds since 1970.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no such process, one of another user that /proc hides, or a system without /proc
        return _start_time_elsewhere(pid)
    fields = status.rpartition(")")[2].split()  # from field 3 on; the name in brackets may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def _start_time_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        if os.name == "posix":
            os.kill(pid, 0)
        return 0 if _NAMESPACE.is_symlink() else int(psutil.Process(pid).create_time())
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None
    except (PermissionError, OverflowError, psutil.Error):
        return 0
