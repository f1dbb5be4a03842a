"""Our model folders: `model.safetensors`, `config.json` and `tokenizer.json`, nothing pickled.

`config.json` says which model and tokenizer it is and holds the SHA-256 of the other two files,
so that a mixture of two models, or half of one, is noticed.
"""

from __future__ import annotations

import json
import math
import typing
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neurolm.checks import InputError, bad, bad_file, check_choice
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer
from neurolm.lm.char_tokenizer import CharTokenizer
from neurolm.lm.dropout import RecurrentDropout
from neurolm.lm.feed_forward import FeedForward
from neurolm.lm.lstm import LSTM
from neurolm.lm.mt_lstm import MultiTimescaleLSTM
from neurolm.lm.rnn import RNN
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.transformer import Transformer
from neurolm.lm.transformers_tokenizer import TransformersTokenizer
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.storage import file_hash, read_json, whole_file

FORMAT, VERSION = "neurolm-model", 1
WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
MODELS: dict[str, Any] = {model.__name__: model for model in (RNN, LSTM, MultiTimescaleLSTM, Transformer, FeedForward)}
TOKENIZERS: dict[str, Any] = {
    tokenizer.kind: tokenizer for tokenizer in (WordTokenizer, CharTokenizer, BytePairTokenizer, TransformersTokenizer)
}


def build_model(config: dict[str, Any], tokenizer: Tokenizer, *, seed: int = 0, name: str | None = None) -> Any:
    """A model of ours from its `config`, with fresh weights.

    Raises
    ------
    InputError
        If the config is of no model of ours, or of another vocabulary than the tokenizer's.
    """
    settings = dict(config)
    model = MODELS[check_choice("kind of model", settings.pop("kind", None), MODELS)]
    vocab_size = settings.pop("vocab_size", None)
    if vocab_size != tokenizer.vocab_size:
        raise bad("tokenizer", f"have the model's {vocab_size} tokens", tokenizer.vocab_size)
    if name is not None:
        settings["name"] = name
    try:
        if isinstance(settings.get("dropout"), dict):
            settings["dropout"] = RecurrentDropout(**_of_their_types(RecurrentDropout, settings["dropout"]))
        return model(tokenizer, seed=seed, **_of_their_types(model, settings))
    except TypeError as error:
        raise bad("config", f"hold the settings of {model.__name__}", str(error).splitlines()[0]) from None
    except (MemoryError, RuntimeError) as error:
        raise bad("config", f"be of a {model.__name__} that fits in memory", str(error).splitlines()[0]) from None


def _of_their_types(kind: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a class whose numbers are what its signature says: whole, finite, true or false.

    Raises
    ------
    InputError
        With the name of the setting.
    """
    hints = typing.get_type_hints(kind.__init__)
    for name, value in settings.items():
        allowed = typing.get_args(hints.get(name)) or (hints.get(name),)
        if value is None and type(None) in allowed:
            continue
        if bool in allowed and not isinstance(value, bool):
            raise bad(f"model setting {name}", "be true or false", value)
        if int in allowed and (isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**31):
            raise bad(f"model setting {name}", "be a whole number below 2^31", value)
        if float in allowed and (isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)):
            raise bad(f"model setting {name}", "be a finite number", value)
    return settings


def save_model(lm: Any, folder: str | Path, *, dtype: torch.dtype = torch.float32, about: dict[str, Any] | None = None) -> None:
    """Write a model of ours to a folder; files in it that are not of the model stay.

    Parameters
    ----------
    lm : RNN, LSTM, MultiTimescaleLSTM, Transformer or FeedForward
    folder : path
    dtype : torch.dtype
        How the weights are stored; float16 halves the file. They load as float32.
    about : dict, optional
        Whatever else `config.json` should tell (how it was trained, on what).

    Raises
    ------
    FileError
        If the disk is full or the folder cannot be written; what was there stays.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    check_choice("kind of model", lm.config["kind"], MODELS)
    folder = Path(folder)
    stored = {name: _stored(tensor, dtype) for name, tensor in lm.state_dict().items()}
    with (
        whole_file(folder / CONFIG) as config_part,
        whole_file(folder / TOKENIZER) as tokenizer_part,
        whole_file(folder / WEIGHTS) as weights_part,
    ):
        try:
            save_file(stored, weights_part, metadata={"format": "pt"})
        except SafetensorError as error:
            raise bad_file(folder / WEIGHTS, f"could not be written ({error})", "Free space; nothing was changed.") from error
        tokenizer_part.write_text(json.dumps(lm.tokenizer.to_dict(), sort_keys=True), encoding="utf-8")
        content = {
            "format": FORMAT,
            "version": VERSION,
            "model": lm.config,
            "sha256": {WEIGHTS: file_hash(weights_part), TOKENIZER: file_hash(tokenizer_part)},
            "about": about or {},
        }
        config_part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def is_model_folder(folder: str | Path) -> bool:
    """Whether `save_model` wrote this folder (and not, say, transformers)."""
    path = Path(folder) / CONFIG
    content = read_json(path) if path.is_file() else None
    return isinstance(content, dict) and content.get("format") == FORMAT


def load_model(folder: str | Path, *, tokenizer: Tokenizer | None = None, name: str | None = None) -> Any:
    """Read a model that `save_model` wrote.

    Raises
    ------
    FileError
        If the folder is damaged, foreign, of a newer format or of another architecture.
    """
    folder = Path(folder)
    content = read_json(folder / CONFIG)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise bad_file(folder / CONFIG, "is not of a model that neurolm saved", "Use neurolm.lm.load for models of transformers.")
    if content.get("version") != VERSION:
        problem = f"has format version {content.get('version')}, this neurolm reads {VERSION}"
        raise bad_file(folder / CONFIG, problem, "Update neurolm.")
    for file, recorded in content["sha256"].items():
        if not (folder / file).is_file():
            raise bad_file(folder / file, "no such file", "Save or copy the model again.")
        if file_hash(folder / file) != recorded:
            raise bad_file(folder / file, "is damaged or of another model", "Save or copy the model again.")
    try:
        lm = build_model(content["model"], tokenizer or load_tokenizer(folder / TOKENIZER), name=name or folder.name)
    except InputError as error:
        raise bad_file(folder / CONFIG, str(error)) from None
    read_weights(lm, folder / WEIGHTS)
    return lm


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer that `save_model` wrote."""
    content = read_json(path)
    try:
        return TOKENIZERS[content["kind"]].from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        raise bad_file(path, f"is not a tokenizer of neurolm ({error!r})", "Save the model again.") from None


def read_weights(module: nn.Module, path: str | Path) -> None:
    """Fill a module from a safetensors file that has exactly its weights."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise bad_file(path, f"is not a whole safetensors file ({error})", "Save or copy the model again.") from None
    fill_weights(module, stored, path)


def fill_weights(module: nn.Module, stored: dict[str, torch.Tensor], path: str | Path, *, assign: bool = False) -> None:
    """Copy `stored` into a module, in the module's precision; every name and shape must fit.

    With `assign` the tensors become the module's own, in the precision that they have.
    """
    own = module.state_dict()
    differing = sorted(stored.keys() ^ own.keys())
    if differing:
        problem = f"does not have the weights of this architecture ({differing[0]} and {len(differing) - 1} other names differ)"
        raise bad_file(path, problem, "Load it as what it was saved.")
    for name, tensor in own.items():
        if tensor.shape != stored[name].shape:
            problem = f"is of another size ({name} is {tuple(stored[name].shape)}, not {tuple(tensor.shape)})"
            raise bad_file(path, problem, "Load it as what it was saved.")
    module.load_state_dict(stored, assign=assign)


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
