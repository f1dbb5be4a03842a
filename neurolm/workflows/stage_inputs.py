"""What the stages of an analysis read: files of the data set, words of the stories, files of language models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurolm.datasets import Dataset

Inputs = dict[str, Path | str]


def dataset_settings(section: Mapping[str, Any]) -> dict[str, Any]:
    """Which data set and which of its options; where its folder lies does not matter, what is in it does."""
    options = {key: value for key, value in section["options"].items() if key != "folder"}
    return {"name": section["name"], "options": options}


class Reads:
    """What an analysis reads of a data set; every transcript is read once, every run's files are listed once."""

    def __init__(self, dataset: Dataset, subjects: Iterable[str], stories: Iterable[str]) -> None:
        self.dataset, self.subjects, self.stories = dataset, tuple(subjects), tuple(stories)
        self.transcript = cache(dataset.transcript)

    def words(self, *stories: str) -> Inputs:
        """The words of stories and their times, as they are read; without names, of all."""
        return {f"words of {story}": self.transcript(story).content_hash() for story in stories or self.stories}

    @cached_property
    def bold(self) -> Inputs:
        """Every file that is read for the runs."""
        return bold_files(self.dataset, self.subjects, self.stories)

    def everything(self) -> Inputs:
        return {**self.words(), **self.bold}


def words_of(dataset: Dataset, stories: Iterable[str]) -> Inputs:
    """The words of stories and their times, as they are read."""
    return Reads(dataset, (), stories).words()


def bold_files(dataset: Dataset, subjects: Iterable[str], stories: Iterable[str]) -> Inputs:
    """Every file that is read for these runs."""
    heard = list(stories)
    return files_of(dataset, (path for subject in subjects for story in heard for path in dataset.files(story, subject)))


def files_of(dataset: Dataset, paths: Iterable[Path]) -> Inputs:
    """Files by their path in the data set, so that a data set may be moved."""
    root = dataset.folder
    named: Inputs = {}
    for path in dict.fromkeys(paths):
        inside = root is not None and path.is_relative_to(root)
        named[str(path.relative_to(root)) if inside and root is not None else str(path)] = path
    return named


def model_inputs(*names: str | None) -> Inputs:
    """The files of language models; of one that is not on this machine yet there are none."""
    from neurolm.lm.model_files import model_files

    return {f"{name}/{path.name}": path for name in names if name for path in model_files(name)}


def section_files(folders: Iterable[Path]) -> Inputs:
    """Results of other analyses that become sections of a report (`neurolm.workflows.report_sections`)."""
    patterns = ("*/*_desc-*_timescales.h5", *(f"decoding/{name}" for name in ("scores.json", "table.csv", "windows.csv")))
    return {str(path): path for folder in folders for pattern in patterns for path in sorted(folder.glob(pattern))}


def vocabularies(*paths: str | None) -> Inputs:
    """Lists of words that stand in for a model's vocabulary."""
    return {path: Path(path) for path in paths if path}
