"""Read a model folder of transformers: config, weights and tokenizer, each failure one message.

Nothing in a folder is executed: an architecture that exists only as code in the folder is refused
without a question. Weights are read from safetensors only. Everything that transformers, tokenizers,
safetensors and peft raise on a folder becomes one `FileError` here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from neurolm.checks import FileError, InputError, bad_file
from neurolm.lm.reading_check import RememberedChecks, refuse_non_causal
from neurolm.lm.tokenizer import Tokenizer

_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load_transformers(
    folder: Path, *, name: str, dtype: torch.dtype, device: torch.device, tokenizer: Tokenizer | None = None
) -> Any:
    """The causal model of a folder as a `TransformersModel`.

    Raises
    ------
    FileError
        If the folder cannot be read, lacks a weight (transformers would draw it at random), or
        holds a model whose states depend on later words.
    """
    from neurolm.lm.transformers_model import TransformersModel

    check_weight_files(folder)
    config = read_config(folder)
    refuse_non_causal(config, folder)
    model = _read_model(folder, config, dtype)
    tokenizer = tokenizer or load_transformers_tokenizer(folder)
    with reading(folder, f"cannot be moved to {device} as {str(dtype).removeprefix('torch.')}"):
        model.to(device, dtype).eval()
    checks = RememberedChecks(folder, dtype, device)
    try:
        made = TransformersModel(model, tokenizer, name=name, fast_products=True, carries_state=checks.known())
    except FileError:
        raise
    except InputError as error:
        raise bad_file(folder, f"cannot be used: {error}") from None
    checks.keep(made.carries_state)
    return made


def read_config(folder: Path) -> Any:
    """The folder's config, as transformers understands it."""
    from transformers import AutoConfig

    with reading(folder, "holds a config.json that transformers cannot use", "Check config.json, or download the model again."):
        return AutoConfig.from_pretrained(folder, **_LOCAL)


def load_transformers_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer as transformers reads it."""
    from transformers import AutoTokenizer

    from neurolm.lm.transformers_tokenizer import TransformersTokenizer

    hint = "Add tokenizer.json, or give `tokenizer`."
    with reading(folder, "holds no tokenizer that can be read", hint):
        tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # what transformers makes of no file at all
        raise bad_file(folder, "holds no tokenizer (its vocabulary would be empty)", hint)
    return TransformersTokenizer(tokenizer)


def check_weight_files(folder: Path) -> None:
    """Refuse adapters without their model, and weights that are pickled."""
    has_weights = any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json"))
    if (folder / "adapter_config.json").is_file():
        if not has_weights:
            problem = "holds adapters of peft without the model that they adapt"
            raise bad_file(folder, problem, "Merge them into the model (merge_and_unload) and save that with save_pretrained.")
        if not (folder / "adapter_model.safetensors").is_file():
            raise bad_file(folder, "holds adapters of peft that are not safetensors", "Save them with safe_serialization=True.")
    elif not has_weights:
        problem = "holds no model.safetensors and no model.safetensors.index.json"
        raise bad_file(folder, problem, "Only safetensors are read: convert other weight files with save_pretrained.")


@contextlib.contextmanager
def reading(folder: Path, problem: str, hint: str = "Save or download it again.") -> Iterator[None]:
    """Turn whatever a library raises about this folder into one `FileError`, and keep its progress bars quiet.

    The libraries raise errors of every kind here (a missing package, a validation error, a bare
    Exception of tokenizers, a panic of its Rust code), none of them a defect of neurolm.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except InputError:
        raise
    except Exception as error:
        raise _worded(folder, problem, hint, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise _worded(folder, problem, hint, error) from error


def _worded(folder: Path, problem: str, hint: str, error: BaseException) -> FileError:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"{text} is missing"
    return bad_file(folder, f"{problem} ({text if len(text) <= 300 else text[:297] + '...'})", hint)


def _read_model(folder: Path, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    problem, hint = "cannot be read as a causal model of transformers", "Save or download it again."
    if quantised := getattr(config, "quantization_config", None):
        method = quantised.get("quant_method", "unnamed") if isinstance(quantised, dict) else type(quantised).__name__
        problem = f"holds weights quantised by {method}, which cannot be read here"
        hint = "Give the model that it was made from, in float32 or bfloat16."
    with reading(folder, problem, hint):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
        )
    for key in ("missing_keys", "mismatched_keys"):
        if report[key]:
            names = ", ".join(sorted(map(str, report[key]))[:3])
            raise bad_file(
                folder, f"lacks weights that its config asks for ({key}: {names} ...)", "Its config is of another architecture."
            )
    return model
