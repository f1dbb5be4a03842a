"""A model that has learned nothing: the same architecture and tokenizer, weights as they were drawn."""

from __future__ import annotations

from typing import Any

import torch

from neurolm.lm.transformers_model import TransformersModel
from neurolm.lm.weights import build_model


def untrained(lm: Any, *, seed: int = 0) -> Any:
    """The model before training: what its results owe to the architecture alone.

    Parameters
    ----------
    lm : a model of neurolm, or a TransformersModel
    seed : int
        Of the weights; torch's own generator is left as it was.
    """
    name = f"{lm.name}, untrained"
    if not isinstance(lm, TransformersModel):
        return build_model(lm.config, lm.tokenizer, seed=seed, name=name).to(lm.device).eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = type(lm.model)(lm.model.config)
    return TransformersModel(model.to(lm.device).eval(), lm.tokenizer, name=name, fast_products=True)
