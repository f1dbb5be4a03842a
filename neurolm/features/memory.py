"""How much memory is free, and how many tokens a batch may hold."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from neurolm.lm.language_model import LanguageModel

CPU_TOKENS = 2048  # larger batches lose more to page faults than they win in the products
GPU_TOKENS = 32768
RECURRENT_ROWS = 64  # a recurrent model's product is as large as its batch has rows


def free_memory(device: torch.device) -> int:
    """Free bytes of a device: on a CPU without swapping, within the control group."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    return min(_available(), _control_group_left())


def choose_budget(lm: LanguageModel, bytes_per_token: int, lengths: np.ndarray) -> int:
    """Tokens in one batch of passes of these lengths, so that it takes at most a quarter of the free memory."""
    limit = GPU_TOKENS if lm.device.type == "cuda" else CPU_TOKENS
    if lm.max_context is None and len(lengths) > 1:
        limit = max(limit, RECURRENT_ROWS * int(lengths.max()))
    return int(max(256, min(limit, free_memory(lm.device) // 4 // bytes_per_token)))


def bytes_per_token(lm: LanguageModel, n_layers_kept: int, n_logits: int = 0) -> int:
    """What one token of a batch takes beside the weights, roughly.

    Parameters
    ----------
    lm : LanguageModel
    n_layers_kept : int
        Hidden states kept of each token.
    n_logits : int
        Scores kept of each token: the vocabulary where words are predicted, else 0.
    """
    return 4 * (max(layer_widths(lm)) * (n_layers_kept + 2 * lm.n_layers + 16) + 3 * n_logits)


def layer_widths(lm: LanguageModel) -> tuple[int, ...]:
    """Width of every layer, the embeddings first, found by reading one token; recurrent models may have several."""
    with torch.inference_mode():
        ids = torch.zeros(1, 1, dtype=torch.int64, device=lm.device)
        output = lm.step(ids, layers=range(lm.n_layers + 1), logits=False)
    return tuple(int(hidden.shape[-1]) for hidden in output.hidden if hidden is not None)


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _control_group_left() -> int:
    """What a container or a job of a cluster may still take."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return 1 << 62
    return max(int(limit) - used, 0) if limit.isdigit() else 1 << 62
