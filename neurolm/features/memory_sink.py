"""Numbers kept in memory as a reading plan gives them."""

from __future__ import annotations

import numpy as np


class MemorySink:
    """Arrays of shape (n_words, width), or (n_contexts, n_words, width), by name."""

    def __init__(self, n_words: int, n_contexts: int = 1) -> None:
        self.shape = (n_contexts, n_words)
        self.arrays: dict[str, np.ndarray] = {}

    def begin(self, budget: int) -> tuple[int, int]:
        return 0, budget

    def write(self, name: str, contexts: np.ndarray, words: np.ndarray, values: np.ndarray) -> None:
        if name not in self.arrays:
            self.arrays[name] = np.empty((*self.shape, values.shape[1]), dtype=values.dtype)
        self.arrays[name][contexts, words] = values

    def done(self, n_passes: int) -> None: ...

    def halved(self, budget: int) -> None: ...

    def read(self, name: str, context: int = 0) -> np.ndarray:
        """(n_words, width)."""
        return self.arrays[name][context]
