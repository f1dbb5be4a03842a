"""`load` a language model by name or folder.

    load("smollm2-135m")            the model of the demo; no hub needed
    load("neurolm/lstm-small")      a small model that ships with this package
    load("gpt2")                    from the Hugging Face hub, or its cache
    load("path/to/folder")          saved by neurolm or by transformers

What is on this machine is used without asking the network. Weights are read from safetensors
only, and no code of a model folder is ever run.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import torch

from neurolm.checks import InputError, bad, bad_file, check_choice, nearest
from neurolm.lm.gpt2 import is_standard_gpt2, load_gpt2
from neurolm.lm.heads import module_of
from neurolm.lm.language_model import LanguageModel
from neurolm.lm.model_files import HUB_NAMES, MODEL_FILES, SHIPPED
from neurolm.lm.smollm2 import smollm2_folder
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.transformers_folder import check_weight_files, load_transformers
from neurolm.lm.weights import is_model_folder, load_model
from neurolm.progress import Progress, silent
from neurolm.storage import read_json

DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    tokenizer: Tokenizer | None = None,
    implementation: str = "auto",
    trainable: bool = False,
    progress: Progress = silent,
) -> LanguageModel:
    """Load a language model, ready for use.

    Parameters
    ----------
    name_or_path : str or Path
        See the top of this file.
    device : str or torch.device
        "cpu", "cuda", ..., or "auto": a GPU where there is one.
    dtype : {"float32", "float64", "float16", "bfloat16"}
        float32 is what features should be made with.
    tokenizer : Tokenizer, optional
        Instead of the one in the folder.
    implementation : {"auto", "neurolm", "transformers"}
        Who computes a GPT-2 of transformers: "auto" takes our `Transformer` (the same numbers
        within 1e-5, faster to start and to write), "transformers" the adapter, which peft needs.
    trainable : bool
        True keeps gradients and dropout on; else the model is in evaluation mode, without gradients.
    progress : Progress
        Told about downloads and conversions.

    Raises
    ------
    InputError
        If the model is not available; the message says what to do.

    Examples
    --------
    >>> lm = load("neurolm/lstm-small")
    >>> lm.n_layers
    2
    >>> load("gpt2")  # doctest: +SKIP
    """
    check_choice("dtype", dtype, DTYPES)
    check_choice("implementation", implementation, ("auto", "neurolm", "transformers"))
    name = str(name_or_path)
    place = pick_device(device)
    model = _load_folder(find_model(name, progress), name, DTYPES[dtype], place, tokenizer, implementation)
    module = module_of(model)
    module.to(place, DTYPES[dtype])
    module.train(trainable).requires_grad_(trainable)
    if model is module and not trainable and place.type == "cpu":  # ours; transformers' keep their bits
        lay_out_for_reading(module)
    return model


def lay_out_for_reading(module: torch.nn.Module) -> None:
    """Keep the matrices of linear maps in memory as (inputs, outputs), whatever their shape says; no number changes.

    One token at a time, a processor does little but fetch weights, and torch's product of a single row fetches
    them half again as fast in this order. Embeddings are such matrices where the output map is tied to them.
    """
    for part in module.modules():
        if isinstance(part, (torch.nn.Linear, torch.nn.Embedding)):
            part.weight.data = part.weight.data.t().contiguous().t()


def pick_device(device: str | torch.device) -> torch.device:
    """A device that is really there; "auto" is a GPU if there is one.

    Raises
    ------
    InputError
        If the device does not exist on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise bad("device", "exist on this machine", f"{device} ({reason})", "Use 'auto' or 'cpu'.") from None
    return torch.device(device)


def find_model(name: str, progress: Progress = silent) -> Path:
    """The folder of a model by the names that `load` takes; one on the hub is downloaded.

    Raises
    ------
    InputError
        If the model is not available; the message says what to do.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name == "smollm2-135m":
        return smollm2_folder(progress)
    if name.startswith("neurolm/"):
        return _shipped_folder(name)
    if path.is_file() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        problem = "is a file, not a model folder" if path.is_file() else "no such folder"
        raise bad_file(path, problem, "Give a folder with config.json and model.safetensors, or a model's name.")
    return hub_folder(HUB_NAMES.get(name, name), progress)


def _shipped_folder(name: str) -> Path:
    shipped = sorted(f"neurolm/{folder.name}" for folder in SHIPPED.glob("*/")) if SHIPPED.is_dir() else []
    if name not in shipped:
        raise bad("model", f"be one that ships with neurolm ({', '.join(shipped)})", name, nearest(name, shipped))
    return SHIPPED / name.removeprefix("neurolm/")


def _load_folder(
    folder: Path, name: str, dtype: torch.dtype, device: torch.device, tokenizer: Tokenizer | None, implementation: str
) -> Any:
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            check_weight_files(folder)
        raise bad_file(folder, "holds no config.json", "A model folder has config.json, model.safetensors and tokenizer.json.")
    if is_model_folder(folder):
        return load_model(folder, tokenizer=tokenizer, name=name)
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise bad_file(folder / "config.json", "names no model_type", "It is a model neither of neurolm nor of transformers.")
    if implementation == "neurolm":
        return load_gpt2(folder, tokenizer=tokenizer, name=name)
    if implementation == "auto" and is_standard_gpt2(config) and not (folder / "adapter_config.json").is_file():
        with contextlib.suppress(InputError):  # what our Transformer cannot hold, transformers may; else it says why
            return load_gpt2(folder, tokenizer=tokenizer, name=name)
    return load_transformers(folder, name=name, dtype=dtype, device=device, tokenizer=tokenizer)


def hub_folder(repository: str, progress: Progress = silent) -> Path:
    """The snapshot of a hub model: from the local cache, else downloaded."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    advice = (
        "Check the name; without a network give a local model folder, "
        "or use 'smollm2-135m', which comes from the Python package index."
    )
    try:
        cached = Path(snapshot_download(repository, allow_patterns=[*MODEL_FILES], local_files_only=True))
        if any(cached.glob("*.safetensors")):  # else somebody fetched a part of it only
            return cached
    except HFValidationError:
        raise bad("model", "be a hub name (owner/name), a known name or a folder", repository, advice) from None
    except LocalEntryNotFoundError:
        pass
    if constants.HF_HUB_OFFLINE:
        raise bad("model", "be in the local cache while HF_HUB_OFFLINE is set", repository, advice)
    _check_hub(constants.ENDPOINT, repository, advice)
    progress(0, 1, "", f"downloading {repository}")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return Path(snapshot_download(repository, allow_patterns=[*MODEL_FILES]))
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise bad("model", "be on the hub and open to you", f"{repository} ({reason})", advice) from error


def _check_hub(endpoint: str, repository: str, advice: str) -> None:
    """One quick knock: the hub's own client would try again and again for half a minute."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=5)
    except Exception as error:  # which one depends on the HTTP library that the hub's client uses
        raise bad("model", "be in the local cache while the hub cannot be reached", f"{repository} ({error})", advice) from None
