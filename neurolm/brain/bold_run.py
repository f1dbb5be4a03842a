"""One run of BOLD: what was measured, when, and where."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurolm.arrays import constant_columns
from neurolm.brain.space import Space, check_fits, space_hash
from neurolm.checks import bad, check_finite, check_real, check_same_length
from neurolm.storage import content_hash


@dataclass(frozen=True, eq=False)
class BoldRun:
    """BOLD responses of one run, with the times of the rows that are really there.

    Parameters
    ----------
    data : array of shape (n_trs, n_voxels)
        NaN and constant voxels are allowed and reported (`bad_voxels`); their results are NaN.
    tr_times : array of shape (n_trs,)
        Seconds on the story's clock at which each row's acquisition began, evenly spaced.
        Trimmed volumes are simply not there: Alice begins at 20 s.
    space : Space
        Where each column is.
    subject, story : str
        Labels for messages and files.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolm.brain import Regions
    >>> run = BoldRun(np.zeros((8, 2), np.float32), 4.0 + 2.0 * np.arange(8), Regions(("left", "right")), "s01", "tale")
    >>> run.n_trs, run.tr, float(run.tr_times[0])  # the first two volumes were discarded
    (8, 2.0, 4.0)
    """

    data: np.ndarray
    tr_times: np.ndarray
    space: Space
    subject: str = field(default="")
    story: str = field(default="")

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        times = np.asarray(self.tr_times, dtype=np.float64).reshape(-1)
        if data.ndim != 2:
            raise bad("data", "have shape (n_trs, n_voxels)", data.shape, "Extract a 4-D image with its mask first.")
        check_real("data", data)
        check_same_length("data", len(data), "tr_times", len(times), "Give one time for each row that is really there.")
        check_fits(self.space, data.shape[1], f"data of {self.subject or 'the run'}")
        check_finite("tr_times", times)
        steps = np.diff(times)
        if len(times) < 2 or (steps <= 0).any() or np.abs(steps - steps.mean()).max() > 1e-3 * steps.mean():
            raise bad(
                "tr_times",
                "hold at least two rows and rise in equal steps",
                times,
                "A gap inside a run is an error: split the run there.",
            )
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "tr_times", times)

    @property
    def tr(self) -> float:
        """Repetition time in seconds."""
        return float((self.tr_times[-1] - self.tr_times[0]) / (len(self.tr_times) - 1))

    @property
    def n_trs(self) -> int:
        return len(self.data)

    @property
    def n_voxels(self) -> int:
        return self.data.shape[1]

    @property
    def bad_voxels(self) -> np.ndarray:
        """(n_voxels,) True where a voxel is constant or holds NaN: nothing can be said of it."""
        return constant_columns(self.data)

    def with_data(self, data: np.ndarray) -> BoldRun:
        """The same run after a per-run step such as detrending."""
        return BoldRun(data, self.tr_times, self.space, self.subject, self.story)

    def content_hash(self) -> str:
        return content_hash("bold", self.data, self.tr_times, space_hash(self.space))
