"""Names as BIDS and file systems allow them."""

from __future__ import annotations

import re

from neurolm.checks import bad


def label(name: str) -> str:
    """A name as BIDS allows it in a file name: letters and digits only."""
    cleaned = re.sub(r"[^A-Za-z0-9]", "", name)
    if not cleaned:
        raise bad("a subject's or story's name", "hold at least one letter or digit", name)
    return cleaned


def model_label(model: str) -> str:
    """A model's name for file names: `openai-community/gpt2` is `gpt2`."""
    return label(model.rstrip("/").rsplit("/", 1)[-1])
