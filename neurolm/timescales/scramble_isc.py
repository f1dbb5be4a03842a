"""The same question asked of people: do listeners to a scrambled story respond as to the intact one?

Responses to the scrambled story are put into the order of the intact one and correlated with the
mean of those who heard it: r_SI, the number that `ScrambleWindow.simulate` gives for a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurolm.brain import intersubject_correlation, isc_test
from neurolm.brain.space import Space
from neurolm.checks import bad
from neurolm.statistics import columnwise_correlation
from neurolm.stimuli import Perturbed, Transcript
from neurolm.timescales.window_result import WindowResult, crossing, gated


def unscramble_bold(
    data: np.ndarray, scrambled: Perturbed, story: Transcript, tr_times: Any, to_times: Any, lag_s: float = 5.0
) -> np.ndarray:
    """BOLD of a scrambled story in the order of the intact one.

    Each intact TR takes the response that followed the same words by the same time, linearly
    interpolated.

    Parameters
    ----------
    data : array of shape (..., n_trs, n_voxels)
        Responses to the scrambled story.
    scrambled : Perturbed
        `scramble(story, level, rng)`.
    story : Transcript
    tr_times : array of shape (n_trs,)
        Seconds on the scrambled story's clock.
    to_times : array of shape (n_to,)
        Seconds on the intact story's clock.
    lag_s : float
        How long after a word its response is read.

    Returns
    -------
    data : array of shape (..., n_to, n_voxels)
        NaN where the words were not heard, or their response was not measured.
    """
    tr_times, wanted = np.asarray(tr_times, dtype=np.float64), np.asarray(to_times, dtype=np.float64)
    new_place = np.full(len(story), -1)
    new_place[scrambled.source_index[scrambled.target_index]] = scrambled.target_index
    word = np.searchsorted(story.onsets, wanted - lag_s, side="right") - 1
    place = new_place[np.maximum(word, 0)]
    heard = (word >= 0) & (place >= 0)
    at = wanted - story.onsets[np.maximum(word, 0)] + scrambled.transcript.onsets[np.maximum(place, 0)]
    position = (at - tr_times[0]) / (tr_times[-1] - tr_times[0]) * (len(tr_times) - 1)
    heard &= (position >= 0) & (position <= len(tr_times) - 1)
    below = np.clip(np.floor(position).astype(int), 0, len(tr_times) - 2)
    part = (position - below)[:, None]
    values = (1 - part) * np.take(data, below, axis=-2) + part * np.take(data, below + 1, axis=-2)
    return np.where(heard[:, None], values, np.nan)


def scramble_isc(
    intact: np.ndarray,
    scrambled: Mapping[float, np.ndarray],
    *,
    same_listeners: bool = False,
    criterion: float = 0.75,
    n_null: int = 1000,
    n_bootstrap: int = 1000,
    level: float = 0.05,
    seed: int = 0,
    units: str = "words",
    space: Space | None = None,
) -> WindowResult:
    """Window of each voxel from listeners to intact and scrambled stories.

    Parameters
    ----------
    intact : array of shape (n_subjects, n_trs, n_voxels)
    scrambled : mapping of float to array of shape (n_subjects, n_trs, n_voxels)
        By size of the pieces in `units`: un-scrambled responses, see `unscramble_bold`. TRs that are
        NaN in any of them are left out everywhere.
    same_listeners : bool
        Listener i is the same person in all: the mean of the others is then without i.
    criterion : float
        Share of the intact story's own intersubject correlation that r_SI must reach: noise limits both.
    n_null : int
        Of the intersubject correlation of the intact story, against phase randomisation.
    n_bootstrap : int
        Draws of listeners.

    Returns
    -------
    WindowResult
        curve: mean r_SI over listeners, divided by the mean leave-one-out ISC of the intact story.
        `details["r_si"]` holds the undivided curve and `details["isc"]` the ISC.

    References
    ----------
    Lerner et al. (2011), J Neurosci 31:2906-2915.
    """
    if len(scrambled) < 2:
        raise bad("scrambled", "hold at least two sizes of pieces", list(scrambled))
    sizes = sorted(scrambled)
    intact, groups = _shared_rows(np.asarray(intact), [np.asarray(scrambled[size]) for size in sizes])
    own = intersubject_correlation(intact)  # (n_subjects, n_voxels)
    r_si = [_with_intact(group, intact, same_listeners) for group in groups]
    test = isc_test(intact, n_null=n_null, rng=seed, min_shift=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = np.stack([r.mean(0) for r in r_si]) / own.mean(0)
    rng = np.random.default_rng(seed)
    draws = np.stack([_drawn_window(sizes, own, r_si, criterion, same_listeners, rng) for _ in range(n_bootstrap)])
    return gated(
        "scramble_isc",
        np.array(sizes, dtype=np.float64),
        curve,
        crossing(np.array(sizes), curve, criterion),
        draws,
        test.p_values,
        units,
        level=level,
        n_null=len(test.null),
        details={"isc": own.mean(0), "r_si": np.stack([r.mean(0) for r in r_si]), "criterion": criterion},
        space=space,
    )


def _shared_rows(intact: np.ndarray, groups: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    for data in [intact, *groups]:
        if data.ndim != 3 or data.shape[1:] != intact.shape[1:]:
            raise bad("intact and scrambled", "have the same TRs and voxels", f"{intact.shape} and {data.shape}",
                      "Bring the scrambled responses into the intact order with unscramble_bold.")  # fmt: skip
    everything = np.logical_and.reduce([np.isfinite(data).all(0) for data in [intact, *groups]])  # (n_trs, n_voxels)
    known = everything[:, everything.any(axis=0)].all(axis=1)
    if known.sum() < 10:
        raise bad("TRs that all responses have", "be at least 10", int(known.sum()))
    return intact[:, known], [group[:, known] for group in groups]


def _with_intact(group: np.ndarray, intact: np.ndarray, same_listeners: bool) -> np.ndarray:
    """(n_subjects, n_voxels): each listener to the scrambled story with the mean of the intact ones."""
    if same_listeners and len(group) != len(intact):
        raise bad("scrambled", f"hold the {len(intact)} listeners of the intact story", len(group))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (intact - intact.mean(1, keepdims=True)) / intact.std(1, keepdims=True)
    total = z.sum(0)
    return np.stack([columnwise_correlation(one, total - z[i] if same_listeners else total) for i, one in enumerate(group)])


def _drawn_window(
    sizes: list[float], own: np.ndarray, r_si: list[np.ndarray], criterion: float, same: bool, rng: np.random.Generator
) -> np.ndarray:
    """The window of listeners drawn with replacement; the same people at every size where they are the same."""
    people = rng.integers(len(own), size=len(own))
    drawn = [r[people if same else rng.integers(len(r), size=len(r))].mean(0) for r in r_si]
    with np.errstate(invalid="ignore", divide="ignore"):
        return crossing(np.array(sizes), np.stack(drawn) / own[people].mean(0), criterion)
