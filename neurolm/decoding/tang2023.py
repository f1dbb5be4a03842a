"""The files of the published decoding study (OpenNeuro ds004510), as runs and stories.

    derivative/preprocessed_data/<subject>/<experiment>/<task>.hf5     responses, key `data`, (n_trs, n_voxels)
    derivative/TextGrids/<experiment>/<task>.TextGrid                  what was heard, imagined or shown

Training data are those of LeBel et al. (2023), ds003020: `load_dataset("lebel2023")`. A repeat of a task
("alpha_repeat-1") has the task's TextGrid ("alpha"). What the study's repository adds: a file of
evaluation segments ({task: [start, end]}, seconds) and, for each subject, a file of voxel indices by
region ({"speech": [...], "auditory": [...]}).

References
----------
Tang, LeBel, Jain & Huth (2023), Nature Neuroscience 26:858-866.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from neurolm.brain import BoldRun, Space, Unplaced
from neurolm.checks import bad, bad_file, check_choice, check_file
from neurolm.datasets import Dataset
from neurolm.stimuli import Transcript, read_textgrid
from neurolm.stimuli.word_entries import lower_case_words
from neurolm.storage import open_h5, read_json

TR = 2.0


@dataclass(frozen=True)
class Experiment:
    """What differs between the study's experiments.

    first_row_s : story time at which the first row of a matrix was acquired
    rate_region : region from which the word rate is predicted
    features : "perceived" or "imagined", which of the study's two language models was used
    """

    first_row_s: float
    rate_region: str
    features: str = "perceived"


EXPERIMENTS: Mapping[str, Experiment] = {
    "perceived_speech": Experiment(10.0, "auditory"),
    "imagined_speech": Experiment(0.0, "speech", "imagined"),
    "perceived_movie": Experiment(10.0, "speech"),
    "perceived_multispeaker": Experiment(10.0, "auditory"),
}

PUBLISHED_SCORES: Mapping[str, Mapping[str, float]] = {
    "null": {"wer": 0.9637, "bleu1": 0.1908, "meteor": 0.1323, "bertscore": 0.7899},
    "S1": {"wer": 0.9407, "bleu1": 0.2331, "meteor": 0.1621, "bertscore": 0.8077},
    "S2": {"wer": 0.9354, "bleu1": 0.2426, "meteor": 0.1677, "bertscore": 0.8104},
    "S3": {"wer": 0.9243, "bleu1": 0.2470, "meteor": 0.1703, "bertscore": 0.8116},
    "translated to Mandarin and back": {"wer": 0.7459, "bleu1": 0.4363, "meteor": 0.3991, "bertscore": 0.8797},
}
"""Table 1 of the paper, story "Where There's Smoke": targets, not reproduced by this project."""


class Tang2023:
    """A local copy of ds004510, or a part of it.

    Parameters
    ----------
    folder : path
        Holds `derivative`, as OpenNeuro publishes it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._derivative = self.folder / "derivative"
        if not self._derivative.is_dir():
            raise bad_file(folder, "holds no folder `derivative`", "Name the folder that holds the files of ds004510.")

    def tasks(self, subject: str, experiment: str) -> list[str]:
        """Tasks of which this subject's matrix is here, repeats by themselves."""
        check_choice("experiment", experiment, EXPERIMENTS)
        return sorted(path.stem for path in (self._derivative / "preprocessed_data" / subject / experiment).glob("*.hf5"))

    def find(self, subject: str, experiment: str, task: str) -> Path:
        """The file of a task's responses.

        Raises
        ------
        FileError
            If it is not here, with the tasks that are.
        """
        check_choice("experiment", experiment, EXPERIMENTS)
        path = self._derivative / "preprocessed_data" / subject / experiment / f"{task}.hf5"
        return check_file(path, f"Here are: {', '.join(self.tasks(subject, experiment)) or 'none of this experiment'}.")

    def bold(self, subject: str, experiment: str, task: str, space: Space | None = None) -> BoldRun:
        """One task's responses, on the clock of its TextGrid.

        Parameters
        ----------
        space : Space, optional
            That of the training runs, whose voxels these matrices hold; default: known by column alone.
        """
        path = self.find(subject, experiment, task)
        with open_h5(path, "cannot be read", "Fetch it again.") as file:
            matrix = file["data"]
            if not isinstance(matrix, h5py.Dataset) or matrix.ndim != 2 or matrix.dtype.kind not in "fi":
                raise bad_file(path, "`data` is not a matrix of numbers", "Fetch it again.")
            data = matrix.astype(np.float32)[:]
        if space is not None and space.n_voxels != data.shape[1]:
            problem = f"has {data.shape[1]} voxels, the training data {space.n_voxels}"
            raise bad_file(path, problem, "Take training and test data of the same subject.")
        times = EXPERIMENTS[experiment].first_row_s + TR * np.arange(len(data))
        return BoldRun(data, times, space or Unplaced(f"lebel2023 {subject}", data.shape[1]), subject, story_of(task))

    def transcript(self, experiment: str, task: str) -> Transcript:
        """The words of a task, in lower case."""
        return lower_case_words(read_textgrid(self.transcript_file(experiment, task)))

    def transcript_file(self, experiment: str, task: str) -> Path:
        """The TextGrid of a task."""
        check_choice("experiment", experiment, EXPERIMENTS)
        path = self._derivative / "TextGrids" / experiment / f"{story_of(task)}.TextGrid"
        return check_file(path, "It is part of ds004510: fetch it.")


def training_data(dataset: Dataset, subject: str, leave_out: Collection[str] = ("wheretheressmoke",)) -> TrainingData:
    """All runs and stories (words in lower case) of a subject but those left out, from LeBel et al. (2023).

    Raises
    ------
    InputError
        If fewer than two stories remain.
    """
    names = [name for name in dataset.stories(subject) if name not in leave_out]
    if len(names) < 2:
        raise bad(
            "stories",
            f"be at least two for {subject} besides {', '.join(sorted(leave_out))}",
            names,
            "Add stories with other words.",
        )
    stories = [dataset.transcript(name) for name in names]
    return TrainingData([dataset.bold(subject, name) for name in names], [lower_case_words(story) for story in stories])


class TrainingData(NamedTuple):
    """What `WordDecoder.fit` takes."""

    runs: list[BoldRun]
    stories: list[Transcript]


def story_of(task: str) -> str:
    """The story that a task tells: "alpha_repeat-1" tells "alpha"."""
    return task.split("_repeat-")[0]


def read_segment(path: str | Path, task: str) -> tuple[float, float]:
    """The part of a task (s) that is evaluated, from a file of {task: [start, end]}."""
    segments = read_json(check_file(path, "It comes with the study's test data."))
    if not isinstance(segments, dict):
        raise bad_file(path, "does not map tasks to [start, end]", "Take the study's eval_segments.json.")
    found = segments.get(task, segments.get(story_of(task)))
    if not (isinstance(found, list) and len(found) == 2 and all(isinstance(t, (int, float)) for t in found)):
        raise bad_file(path, f"has no [start, end] for {task!r}", f"It has: {', '.join(sorted(segments))}.")
    return float(found[0]), float(found[1])


def read_region(path: str | Path, region: str) -> np.ndarray:
    """Voxel columns of a region, from a file of {region: [columns]}."""
    regions = read_json(check_file(path, "It comes with the study's encoding model data."))
    if not isinstance(regions, dict) or not isinstance(regions.get(region), list):
        names = ", ".join(sorted(regions)) if isinstance(regions, dict) else "none"
        raise bad_file(path, f"has no list of voxels for {region!r}", f"It has: {names}.")
    columns = np.asarray(regions[region])
    if columns.ndim != 1 or columns.dtype.kind not in "iu" or not len(columns) or (columns < 0).any():
        raise bad_file(path, f"the voxels of {region!r} are no column numbers", "Take the study's file for this subject.")
    return columns.astype(np.int64)
