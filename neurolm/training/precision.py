"""Which number formats a device really has, and threads and random numbers that a run pins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from neurolm.checks import bad, check_choice

PRECISIONS = ("float32", "bf16")


def check_precision(precision: str, device: torch.device) -> str:
    """Return `precision` if the device computes in it at full speed.

    Raises
    ------
    InputError
        For bf16 on a device without it. CPUs without AVX512-BF16 or AMX imitate it: a plain
        product of matrices was measured 140 to 480 times slower there than in float32.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "bf16" and not has_bf16(device):
        raise bad(
            "precision",
            f"be float32 on this {device.type} device",
            precision,
            "It has no bf16 arithmetic (AVX512-BF16, AMX or a GPU), and imitating it is up to hundreds of times slower.",
        )
    return precision


def has_bf16(device: torch.device) -> bool:
    """Does the device multiply bf16 in hardware?"""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})
    return False


def cpu_flags(path: str | Path = "/proc/cpuinfo") -> set[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}


def check_compile(device: torch.device) -> None:
    """Refuse torch.compile where it was measured to give nothing."""
    if device.type != "cuda":
        raise bad("compile", f"be false on a {device.type} device", True, "On CPUs it was measured to give no speed.")


@contextlib.contextmanager
def pinned(device: torch.device, n_threads: int | None = None) -> Iterator[None]:
    """Inside, torch's random numbers and threads are the run's own; after it, the caller's again."""
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
