"""Runs with invented BOLD, by which an analysis is rehearsed before the real one."""

from __future__ import annotations

import numpy as np

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import Unplaced, space_hash


def invented_run(run: BoldRun, n_voxels: int, *, story: int = 0, subject: int = 0) -> BoldRun:
    """A run with the row times of another and invented BOLD: a signal that all subjects share, and noise of each.

    Runs of different spaces stay different, so that a rehearsal refuses what the analysis would.

    Parameters
    ----------
    run : BoldRun
        Its times, space and names are taken; its BOLD is not read.
    n_voxels : int
    story, subject : int
        Seeds of the signal and of the noise.

    Returns
    -------
    run : BoldRun of shape (n_trs, n_voxels), float32
    """
    signal = np.random.default_rng([0, story]).standard_normal((run.n_trs, n_voxels))
    noise = np.random.default_rng([1, story, subject]).standard_normal((run.n_trs, n_voxels))
    space = Unplaced(space_hash(run.space), n_voxels)
    return BoldRun((signal + noise).astype(np.float32), run.tr_times, space, run.subject, run.story)
