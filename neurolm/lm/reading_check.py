"""Check, on a few tokens, that a model reads left to right and that its state carries what it has read.

Names do not say it: encoders with a causal class, causal models switched to attention in both directions,
and recurrent models whose cache does not hold all of their state load without a word of warning. So each
model reads some tokens in the ways in which features are made of them:

    once more with other later tokens     earlier states must be equal to the bit
    with padding on the right             earlier states must agree
    in chunks that hand on the state      must agree, or the model is read in whole passes

States agree where they differ by less than `tolerance` of their largest value.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from neurolm import __version__
from neurolm.checks import InputError, bad, bad_file
from neurolm.file_hashes import FileHashes
from neurolm.lm.language_model import LMOutput, State
from neurolm.lm.model_files import model_files_in
from neurolm.storage import cache_folder, content_hash, write_json

N_TOKENS = 12
N_ADDED = 4  # tokens of padding
_BOTH_DIRECTIONS = {"xlnet", "reformer"}  # beside those that transformers lists for masked words; Reformer sorts by content
CAUSAL_HINT = "Give a causal (left-to-right) language model, for example 'gpt2' or 'smollm2-135m'."


class _Reads(Protocol):
    name: str
    n_layers: int

    def step(self, ids: torch.Tensor, state: State = None) -> LMOutput: ...


def tolerance(dtype: torch.dtype) -> float:
    """How far states may differ, as a share of their largest value: 1e-4 in float32, more in 16-bit formats."""
    return max(1e-4, 8 * torch.finfo(dtype).eps)


def probe_ids(n_rows: int, avoid: Sequence[int], max_context: int | None) -> torch.Tensor:
    """Some ids (1, T) of a model with `n_rows` embeddings, none of them in `avoid` where others exist."""
    n = N_TOKENS if max_context is None else max(1, min(N_TOKENS, max_context - N_ADDED))
    usable = [i for i in range(min(n_rows, 4096)) if i not in set(avoid)] or list(range(n_rows))
    order = torch.randint(len(usable), (n,), generator=torch.Generator().manual_seed(0))
    return torch.tensor(usable)[order][None]


def check_causal(lm: _Reads, ids: torch.Tensor, *, bound: float, has_experts: bool) -> None:
    """Refuse a model whose states of earlier tokens depend on later ones or on padding.

    Parameters
    ----------
    lm : LanguageModel
    ids : (1, T) from `probe_ids`
    bound : float
        See `tolerance`.
    has_experts : bool
        Tokens routed to one expert share its products, so that in these models later tokens change
        the rounding of earlier ones; states must then agree within `bound`.

    Raises
    ------
    InputError
        If it is not causal.
    """
    n_kept = ids.shape[1] * 2 // 3
    changed = torch.cat([ids[:, :n_kept], ids[:, : ids.shape[1] - n_kept]], 1)
    padded = torch.cat([ids, ids.new_zeros(1, N_ADDED)], 1)
    whole = lm.step(ids)
    _compare(lm, whole, lm.step(changed), n_kept, bound if has_experts else 0.0, "later tokens")
    _compare(lm, whole, lm.step(padded), ids.shape[1], bound, "padding")


def carries_state(lm: _Reads, ids: torch.Tensor, *, bound: float) -> bool:
    """Whether reading in chunks, with the state handed on, gives what one pass gives."""
    whole, state, parts = lm.step(ids), None, []
    cuts = [0, ids.shape[1] // 2 - 1, ids.shape[1] // 2, ids.shape[1]]  # several tokens, one token, several tokens
    for start, stop in itertools.pairwise(cuts):
        if stop > start:
            parts.append(lm.step(ids[:, start:stop], state))
            state = parts[-1].state
    joined = [torch.cat(tensors, 1) for tensors in zip(*map(_tensors, parts))]
    return all(_difference(a, b) <= bound for a, b in zip(joined, _tensors(whole)))


def _compare(lm: _Reads, whole: LMOutput, other: LMOutput, n_kept: int, bound: float, what: str) -> None:
    for layer, (a, b) in enumerate(zip(_tensors(whole), _tensors(other))):
        difference = _difference(b[:, :n_kept], a[:, :n_kept])
        if difference > bound:
            raise bad(
                "model",
                f"be causal: {what} must not change the states of earlier words",
                f"{lm.name}, where they change {_place(layer, lm.n_layers)} by {difference:.1g} of the states' scale",
                CAUSAL_HINT,
            )


def _tensors(output: LMOutput) -> list[Any]:
    return [*output.hidden, output.logits]


def _place(layer: int, n_layers: int) -> str:
    return f"layer {layer}" if layer <= n_layers else "the predictions"


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference as a share of the largest value of b; 0 where values are not finite, which features refuse."""
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return 0.0
    scale = float(b.abs().max()) or 1.0
    return float((a.float() - b.float()).abs().max()) / scale


def refuse_non_causal(config: Any, where: str | Path) -> None:
    """Refuse encoders and encoder-decoders, unless the config makes them left-to-right.

    Every encoder of transformers has a `...ForCausalLM` class, which loads its weights and lets
    each word see all others.
    """
    from transformers.models.auto import modeling_auto

    kind = config.model_type
    named = f"{', '.join(config.architectures or ['a model'])} of type {kind}"
    causal, masked, to_sequence = (
        getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES") for task in ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM")
    )
    is_decoder = bool(getattr(config, "is_decoder", False) or getattr(config, "causal", False))
    if getattr(config, "is_encoder_decoder", False):
        problem = f"is an encoder-decoder ({named}), whose states depend on a second text"
    elif kind in _BOTH_DIRECTIONS or (kind in masked and not is_decoder):
        problem = f"reads text in both directions ({named}): the state of a word would depend on later words"
    elif kind not in causal:
        problem = f"is not a causal language model ({named})"
    elif not is_decoder and kind in to_sequence:
        problem = f"is part of an encoder-decoder ({named}), whose states depend on a second text"
    else:
        return
    raise bad_file(where, problem, CAUSAL_HINT)


class RememberedChecks:
    """Results of the check of a folder's model, kept in the user's cache: the check takes seconds at every load.

    What is kept belongs to the content of every file that is read for the model, to the number format and device, and to the
    versions of the libraries. A model that failed is not kept: it is refused again.

    Parameters
    ----------
    folder : path
    dtype, device : of the model when it was checked
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        self.path = cache_folder() / "reading_checks.json"
        libraries = [__version__, torch.__version__, version("transformers")]
        hashes = FileHashes().of(model_files_in(folder))
        files = {str(path.relative_to(folder)): value for path, value in hashes.items()}
        self.key = content_hash(files, str(dtype), device.type, libraries)

    def known(self) -> bool | None:
        """Whether the model carries its state; None if it has not been checked as it is."""
        found = self._read().get(self.key)
        return found if isinstance(found, bool) else None

    def keep(self, carries_state: bool) -> None:
        """Keep what the check found; a cache that cannot be written is left alone."""
        known = self._read()
        if known.get(self.key) is not carries_state:
            with contextlib.suppress(InputError, OSError):
                write_json(self.path, known | {self.key: carries_state})

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}
