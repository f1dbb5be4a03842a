"""neurolm: language models as models of the brain.

From a transcript and a BOLD run to a brain map, and from a BOLD run back to words.

load_dataset, read_transcript   BOLD and words
load, LMStates, ContextWindow   a language model, and its hidden states at every word
Design, EncodingModel           word time to TR time, and the voxelwise encoding model
correlation_score, VoxelMap     scores, and one number for each voxel as a file
run                             a whole analysis from its config

Names are imported when they are first used, so that this import stays fast.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ContextWindow": "neurolm.stimuli",
    "Design": "neurolm.encoding",
    "EncodingModel": "neurolm.encoding",
    "LMStates": "neurolm.features",
    "VoxelMap": "neurolm.brain",
    "correlation_score": "neurolm.encoding",
    "load": "neurolm.lm",
    "load_dataset": "neurolm.datasets",
    "read_transcript": "neurolm.stimuli",
    "run": "neurolm.workflows",
}

__all__ = [
    "ContextWindow",
    "Design",
    "EncodingModel",
    "LMStates",
    "VoxelMap",
    "correlation_score",
    "load",
    "load_dataset",
    "read_transcript",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'neurolm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
