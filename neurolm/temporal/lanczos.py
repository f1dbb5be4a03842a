"""Lanczos resampling from word times to TR times."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.checks import bad, check_finite


def lanczos_matrix(from_times: Any, to_times: Any, lobes: int = 3) -> np.ndarray:
    """Weights that resample word-rate features to TRs, low-passed at the TR rate.

    Parameters
    ----------
    from_times : array of shape (n_from,)
        Seconds; where the words are. Need not be evenly spaced.
    to_times : array of shape (n_to,)
        Seconds; where the TRs are, evenly spaced, at least two.
    lobes : int
        Lobes of the kernel on each side; 3 in the published pipelines.

    Returns
    -------
    weights : array of shape (n_to, n_from)
        float64. With u = (to - from) / TR the weight is lobes * sin(pi u) * sin(pi u / lobes) /
        (pi u)^2, 1 at u = 0 and 0 beyond `lobes` on either side. Rows are *not* normalised: more words in a TR
        give larger values, as in Huth et al.

    References
    ----------
    Huth et al. (2016), Nature 532:453-458; LeBel et al. (2023), Scientific Data 10:555.

    Examples
    --------
    >>> import numpy as np
    >>> word_times, tr_times = np.arange(0.25, 10, 0.5), np.arange(1.0, 9.0, 2.0)
    >>> weights = lanczos_matrix(word_times, tr_times)  # (n_trs, n_words)
    >>> weights.shape
    (4, 20)
    """
    from_times = np.asarray(from_times, dtype=np.float64).reshape(-1)
    to_times = np.asarray(to_times, dtype=np.float64).reshape(-1)
    check_finite("from_times", from_times)
    check_finite("to_times", to_times)
    steps = np.diff(to_times)
    if len(to_times) < 2 or (steps <= 0).any():
        raise bad("to_times", "hold at least two times and rise", to_times, "The kernel's width is the TR.")
    if not isinstance(lobes, (int, np.integer)) or lobes < 1:
        raise bad("lobes", "be an integer >= 1", lobes)
    u = (to_times[:, None] - from_times[None, :]) / steps.mean()
    return np.where(np.abs(u) <= lobes, np.sinc(u) * np.sinc(u / lobes), 0.0)
