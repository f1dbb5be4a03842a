"""Blocks of a refitted null, each on the disk as soon as it is scored: what a killed run had finished is not fitted again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurolm import __version__
from neurolm.storage import content_hash, read_h5, write_h5

Block = tuple[np.ndarray, np.ndarray]  # outer and inner scores, each (n_surrogates, n_folds, n_targets)


class NullBlocks:
    """The blocks that depend on the same things: X, Y, folds, settings, seed.

    Parameters
    ----------
    folder : path
        Blocks of other X and Y may lie there too; whoever has the whole result removes it.
    depends_on
        Everything that decides their bytes. The number of threads is added.
    """

    def __init__(self, folder: Path, *depends_on: Any) -> None:
        import torch

        self.folder = folder
        self.key = content_hash(__version__, torch.get_num_threads(), *depends_on)

    def get(self, index: int, score: Callable[[], Block]) -> Block:
        """Block `index` from the disk, or scored now and written."""
        path = self.folder / f"{self.key}-{index}.h5"
        if path.is_file():
            arrays, _ = read_h5(path, ["outer", "inner"])
            return arrays["outer"], arrays["inner"]
        outer, inner = score()
        write_h5(path, {"outer": outer, "inner": inner})
        return outer, inner
