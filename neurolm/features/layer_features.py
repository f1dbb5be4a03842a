"""Arrays of hidden states as `Features`: one layer, layers side by side, a sweep over contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from neurolm.checks import bad
from neurolm.features.cache import Stored
from neurolm.features.feature_space import Features
from neurolm.features.reading_plan import ReadingPlan
from neurolm.stimuli.transcript import Transcript


def layer_name(layer: int) -> str:
    """What a layer is called in files."""
    return f"layer_{layer:02d}"


def layer_features(
    values: np.ndarray, layer: int, transcript: Transcript, plan: ReadingPlan, settings: Mapping[str, Any], context: int = 0
) -> Features:
    """One layer's rows (n_words, width), for the plan's context of this index."""
    return Features(
        values,
        transcript.mid_times,
        tuple(f"layer{layer}_{i}" for i in range(values.shape[1])),
        {f"layer{layer}": slice(0, values.shape[1])},
        plan.seen[context],
        plan.shortened[context],
        {**settings, "layers": [layer]},
        transcript.words,
    )


def side_by_side(by_layer: Mapping[int, Features]) -> Features:
    """Layers as bands of one Features."""
    first = next(iter(by_layer.values()))
    if len(by_layer) == 1:
        return first
    slices, begin = {}, 0
    for layer, part in by_layer.items():
        slices[f"layer{layer}"] = slice(begin, begin + part.n_features)
        begin += part.n_features
    return Features(
        np.concatenate([part.values for part in by_layer.values()], axis=1),
        first.times,
        tuple(name for part in by_layer.values() for name in part.names),
        slices,
        first.context,
        first.shortened,
        {**first.settings, "layers": list(by_layer)},
        first.words,
    )


class SweptStates(Mapping[int, Features]):
    """Features by number of words of context; each is read from disk when it is asked for.

    `swept[20]` has the layers side by side, as `LMStates(...).extract` gives them with 20 words;
    `swept.layers(20)` has each by itself.
    """

    def __init__(
        self,
        stored: Stored,
        contexts: Sequence[int],
        layers: Sequence[int],
        transcript: Transcript,
        plan: ReadingPlan,
        settings: Mapping[str, Any],
    ) -> None:
        self._stored, self._layers, self._transcript = stored, tuple(layers), transcript
        self._plan, self._settings = plan, settings
        self._index = {context: i for i, context in enumerate(contexts)}

    def __getitem__(self, context: int) -> Features:
        return side_by_side(self.layers(context))

    def __iter__(self) -> Iterator[int]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def layers(self, context: int) -> dict[int, Features]:
        """{layer: Features} with this many words of context."""
        return {layer: self.layer(context, layer) for layer in self._layers}

    def layer(self, context: int, layer: int) -> Features:
        """One layer with this many words of context."""
        if context not in self._index:
            raise bad("context", f"be one that was swept ({', '.join(map(str, self._index))})", context)
        if layer not in self._layers:
            raise bad("layer", f"be one that was swept ({', '.join(map(str, self._layers))})", layer)
        index = self._index[context]
        settings = {**self._settings, "context": f"{context} words"}
        values = self._stored.read(layer_name(layer), index)
        return layer_features(values, layer, self._transcript, self._plan, settings, index)
