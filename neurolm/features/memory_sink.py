"""Numbers kept in memory as a reading plan gives them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurolm.features.reading import Reads
from neurolm.features.reading_plan import ReadingPlan


class MemorySink:
    """Arrays of shape (n_words, width), or (n_contexts, n_words, width), by name."""

    def __init__(self, n_words: int, n_contexts: int = 1) -> None:
        self.shape = (n_contexts, n_words)
        self.arrays: dict[str, np.ndarray] = {}

    def begin(self, plan: ReadingPlan, budget: int) -> tuple[int, int]:
        return 0, budget

    def write(self, reads: Reads, values: Mapping[str, np.ndarray]) -> None:
        for name, rows in values.items():
            if name not in self.arrays:
                self.arrays[name] = np.empty((*self.shape, rows.shape[1]), dtype=rows.dtype)
            self.arrays[name][reads.contexts, reads.words] = rows

    def done(self, n_passes: int) -> None: ...

    def halved(self, budget: int) -> None: ...

    def read(self, name: str, context: int = 0) -> np.ndarray:
        """(n_words, width)."""
        return self.arrays[name][context]
