"""One file that holds everything a training run needs to go on: tensors and JSON, never a pickle.

The file is safetensors. Its tensors are named `model.*`, `optimizer.*`, `average.*`, `state.*`
and `rng.*`; the rest (step, position in the data, history, settings) is JSON in its header,
with a hash of the tensors. It is written whole: a process killed at any instant, or a full disk,
leaves the checkpoint of before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from neurolm.checks import bad_file
from neurolm.lm.language_model import State
from neurolm.storage import content_hash, whole_file

FORMAT = "neurolm training checkpoint 1"
_HEADER = "neurolm"  # one key only: safetensors keeps several in no fixed order


def save_checkpoint(path: str | Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and JSON-able facts as a whole; equal content gives equal bytes.

    Raises
    ------
    FileError
        If it cannot be written, as on a full disk. What was there before is still there.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "hash": content_hash(tensors), "facts": facts}
    with whole_file(path) as part:
        try:
            save_file(tensors, part, metadata={_HEADER: json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_checkpoint(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read back (tensors, facts).

    Raises
    ------
    FileError
        If the file is missing, cut short, changed, or was not written by `save_checkpoint`.
    """
    if not Path(path).is_file():
        raise bad_file(path, "no such file")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise bad_file(path, f"is damaged ({error})", "Delete it; training then begins again.") from None
    written = str(header.get("format", "")) if isinstance(header, dict) else ""
    if written != FORMAT and written.startswith(FORMAT.rstrip("0123456789")):
        raise bad_file(path, f"has the format {written!r}, this neurolm reads {FORMAT!r}", "Update neurolm.")
    if written != FORMAT:
        raise bad_file(path, "is not a training checkpoint of neurolm", "Give the folder of a training run.")
    if content_hash(tensors) != header["hash"]:
        raise bad_file(
            path, "is damaged (its tensors do not have the hash in its header)", "Delete it; training then begins again."
        )
    return tensors, header["facts"]


def pack_module(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer once; tied ones under their first name."""
    packed, seen = {}, set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            packed[name] = tensor.detach()
    return packed


def unpack_module(module: nn.Module, tensors: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Copy tensors into a module of the same architecture, in place, so that ties stay tied.

    Raises
    ------
    FileError
        If the names or shapes are those of another architecture.
    """
    own = pack_module(module)
    ours = {name: tuple(tensor.shape) for name, tensor in own.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if ours != theirs:
        name = next(name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name))
        raise bad_file(
            path,
            f"is of another architecture ({name}: {theirs.get(name, 'absent')} in the file, {ours.get(name, 'absent')} in the model)",
            "Give the model the settings it was trained with.",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimiser as tensors named `<parameter>.<quantity>` and the JSON of its groups."""
    content = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value
        for index, quantities in content["state"].items()
        for name, value in quantities.items()
        if isinstance(value, torch.Tensor)
    }
    return tensors, {"groups": content["param_groups"]}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Put back what `pack_optimizer` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, quantity = name.split(".", 1)
        state.setdefault(int(index), {})[quantity] = tensor
    groups = [
        {name: tuple(value) if isinstance(value, list) and name != "params" else value for name, value in group.items()}
        for group in facts["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def pack_state(state: State) -> tuple[dict[str, torch.Tensor], Any]:
    """A recurrent state as numbered tensors and the JSON of how they nest."""
    tensors: dict[str, torch.Tensor] = {}

    def shape_of(part: State) -> Any:
        if isinstance(part, torch.Tensor):
            tensors[str(len(tensors))] = part
            return {"tensor": str(len(tensors) - 1)}
        if isinstance(part, tuple):
            return [shape_of(inner) for inner in part]
        return {"value": part}

    return tensors, shape_of(state)


def unpack_state(tensors: Mapping[str, torch.Tensor], shape: Any, device: torch.device) -> State:
    """Put back what `pack_state` gave."""
    if isinstance(shape, list):
        return tuple(unpack_state(tensors, inner, device) for inner in shape)
    return tensors[shape["tensor"]].to(device) if "tensor" in shape else shape["value"]


def concatenate_states(states: Sequence[State]) -> State:
    """Row after row of several states of the same form: the state of the whole batch."""
    first = states[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(states))
    if isinstance(first, tuple):
        return tuple(concatenate_states(parts) for parts in zip(*states))
    return first


def named(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those that are named `prefix.name`, without the prefix."""
    start = prefix + "."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
