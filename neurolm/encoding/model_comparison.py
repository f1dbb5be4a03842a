"""What a comparison of language models says: one score for each, its interval, and every pair's difference.

ModelComparison
├── ModelScore ...    best layer, share of the noise ceiling, bits per byte
└── PairedTest ...    one model less another, in the same listeners
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.space import Space, space_arrays, space_from_arrays
from neurolm.storage import read_h5, write_h5


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelScore:
    """One model.

    Parameters
    ----------
    name : str
    layers : tuple of str
        All that were tried; `taken` holds the one that each fold took, by scores of its training part.
    score : float
        Mean held-out correlation of single listeners over voxels, divided by their mean noise ceiling.
    interval : (float, float)
        Student's, over subjects; the ceiling is taken as known.
    r : array of shape (n_subjects, n_voxels)
        Held-out correlations behind it.
    by_voxel : array of shape (n_voxels,), by_voxel_interval (2, n_voxels)
        The same share in each voxel; NaN where there is no ceiling.
    layer_scores : array of shape (n_layers,)
        The score of every layer by itself. The highest of them is not the model's score: it was
        looked for on the rows that it is scored on.
    bits_per_byte : float
        NaN where the model has none.
    """

    name: str
    layers: tuple[str, ...]
    taken: tuple[str, ...]
    score: float
    interval: tuple[float, float]
    r: np.ndarray
    by_voxel: np.ndarray
    by_voxel_interval: np.ndarray
    layer_scores: np.ndarray
    bits_per_byte: float

    @property
    def best_layer(self) -> str:
        """The layer that most folds took; the earlier one of equals."""
        return max(Counter(sorted(self.taken, key=self.layers.index)).items(), key=lambda pair: pair[1])[0]


@dataclass(frozen=True)
class PairedTest:
    """One model's score less another's, listener by listener.

    first, second : names
    difference : mean over listeners; Student's interval over subjects
    p : two-sided; p_corrected : for all pairs at once
    by : "shifts" of all subjects' BOLD by the same lags with every fit repeated, or "sign flips" of subjects, which hold for
        this stimulus
    smallest_p : no p can be smaller
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_corrected: float
    by: str = "sign flips"
    smallest_p: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelComparison:
    """Models side by side on the same listeners.

    Parameters
    ----------
    models : tuple of ModelScore
    pairs : tuple of PairedTest
    subjects : tuple of str
    space : Space
    ceiling : array of shape (n_voxels,)
        Of a single listener.
    used : array of bool of shape (n_voxels,)
        Voxels with a ceiling above 0 that vary in every listener: all models are averaged over these.
    settings : mapping
    """

    models: tuple[ModelScore, ...]
    pairs: tuple[PairedTest, ...]
    subjects: tuple[str, ...]
    space: Space
    ceiling: np.ndarray
    used: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write everything to one HDF5 file, as a whole."""
        arrays, space = space_arrays(self.space)
        arrays |= {"ceiling": self.ceiling, "used": self.used, "subjects": np.array(self.subjects, dtype=object)}
        plain: list[dict[str, Any]] = []
        for i, model in enumerate(self.models):
            values = {f.name: getattr(model, f.name) for f in fields(model)}
            arrays |= {f"models/{i}/{name}": value for name, value in values.items() if isinstance(value, np.ndarray)}
            plain.append({name: value for name, value in values.items() if not isinstance(value, np.ndarray)})
        pairs = [{f.name: getattr(pair, f.name) for f in fields(pair)} for pair in self.pairs]
        write_h5(path, arrays, {"space": space, "models": plain, "pairs": pairs, "settings": dict(self.settings)})

    @classmethod
    def load(cls, path: str | Path) -> ModelComparison:
        """Read what `save` wrote."""
        arrays, attributes = read_h5(path)
        models = []
        for i, plain in enumerate(attributes["models"]):
            values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
            values |= {f.name: arrays[f"models/{i}/{f.name}"] for f in fields(ModelScore) if f.name not in plain}
            models.append(ModelScore(**values))
        pairs = [PairedTest(**{**pair, "interval": tuple(pair["interval"])}) for pair in attributes["pairs"]]
        return cls(
            models=tuple(models),
            pairs=tuple(pairs),
            subjects=tuple(str(s) for s in arrays["subjects"]),
            space=space_from_arrays(arrays, attributes["space"]),
            ceiling=arrays["ceiling"],
            used=arrays["used"].astype(bool),
            settings=attributes["settings"],
        )
