"""What a number of permutations could have found at all, in words: a page must not say 0 where nothing could be found."""

from __future__ import annotations

import math

from neurolm.statistics import smallest_share


def least_findable(n_null: int, n_tested: int, level: float) -> int:
    """How many of the tests must reach the smallest p for any to pass the false discovery rate; 0 where it is not known."""
    if not n_null or not n_tested:
        return 0
    return math.ceil(smallest_share(n_null, level) * n_tested - 1e-9)


def could_be_found(n_null: int, n_tested: int, level: float, columns: str) -> str:
    """What a result of nothing means with so many permutations; empty where a single effect can be found."""
    least = least_findable(n_null, n_tested, level)
    if least > n_tested:
        return f"Nothing could have been found: no p is smaller than 1/{n_null + 1:,} with {n_null:,} permutations."
    if least > 1:
        return (
            f"With {n_null:,} permutations an effect in fewer than {least:,} of {n_tested:,} {columns} could not have been "
            "found, however strong."
        )
    return ""
