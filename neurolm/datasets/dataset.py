"""What a data set is: its facts, its listeners, its stories, and where its files come from.

DatasetInfo    what is known about it, in one place: design, format, licence, known problems
Dataset        a local copy that can be read: transcript(story), bold(subject, story), check()
Finding        one thing that `check()` saw
Regressors     columns at TR times that some data sets publish
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from neurolm.brain import BoldRun
from neurolm.checks import FileError, bad
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript


class DatasetNotFound(FileError):
    """No copy of a data set on this machine, and it could not be downloaded."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set before any file is opened.

    Parameters
    ----------
    name : str
        As `load_dataset` takes it.
    description, design, format : str
        What it holds; who heard what; which files hold it.
    licence, citation, url : str
    facts : tuple of str
        Known problems and what neurolm does about each: onset shifts, missing runs, empty files.
    is_downloadable : bool
        Whether `fetch` gets it; else `fetch` says how to.
    is_simulated : bool
        True if no person was measured.
    """

    name: str
    description: str
    design: str
    format: str
    licence: str
    citation: str
    url: str
    facts: tuple[str, ...] = ()
    is_downloadable: bool = False
    is_simulated: bool = False


@dataclass(frozen=True, eq=False)
class Regressors:
    """Columns that a data set publishes at TR times, convolved with a haemodynamic response: they enter a design without delays.

    A data set that has some offers `regressors_of(story) -> Regressors` and `regressor_files(story) -> list[Path]`.

    Parameters
    ----------
    values : mapping of str to array of shape (n_trs,)
        By the names of `neurolm.features.low_level.LOW_LEVEL`.
    tr_times : array of shape (n_trs,)
        s, on the clock of the runs.
    """

    values: Mapping[str, np.ndarray]
    tr_times: np.ndarray

    def at(self, tr_times: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """(n_rows, n_names) at the rows of a run, which may have been trimmed."""
        tr = float(np.diff(self.tr_times).mean())
        rows = np.rint((np.asarray(tr_times) - self.tr_times[0]) / tr).astype(int)
        is_there = (rows >= 0) & (rows < len(self.tr_times))
        if not is_there.all() or np.abs(self.tr_times[rows] - tr_times).max() > 0.1 * tr:
            raise bad("tr_times", "be among those of the published regressors", tr_times, "Leave them out: `encode.low_level`.")
        return np.stack([np.asarray(self.values[name])[rows] for name in names], axis=1)


@dataclass(frozen=True)
class Finding:
    """One observation about a local copy.

    Parameters
    ----------
    level : {"ok", "note", "problem"}
        A note is a known fact that analyses respect; a problem is not expected.
    what : str
        What was seen, with numbers.
    where : str
        The file or the part it is about.
    """

    level: str
    what: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what}" if self.where else f"{self.level}: {self.what}"


@runtime_checkable
class Dataset(Protocol):
    """A data set that can be read; every plug-in of `neurolm.datasets` is one."""

    @property
    def info(self) -> DatasetInfo: ...

    @property
    def is_simulated(self) -> bool:
        """True if no person was measured: say so wherever results are shown."""
        ...

    @property
    def folder(self) -> Path | None:
        """Where the files are; None for what is made in memory."""
        ...

    def subjects(self) -> list[str]:
        """Listeners whose data can be used."""
        ...

    def stories(self, subject: str | None = None) -> list[str]:
        """Stories, all or those that one listener heard."""
        ...

    def transcript(self, story: str) -> Transcript:
        """What was heard, on the clock of `bold(...).tr_times`."""
        ...

    def bold(self, subject: str, story: str) -> BoldRun:
        """What was measured, as published: preprocessing is the caller's explicit step."""
        ...

    def files(self, story: str, subject: str | None = None) -> list[Path]:
        """Every file that `transcript(story)` reads, or `bold(subject, story)` where a subject is named.

        Results are made again when the content of one of them changes. None for what is made in memory.
        """
        ...

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Read the local copy and say what is there, what is known, and what is wrong."""
        ...
