"""One run for each stimulus: repeats of a story, by their words and times, are averaged on the rows that all have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.brain.transients import EdgeRows

SAME_TIMES_S = 0.1


@dataclass(frozen=True, eq=False)
class HeardStories:
    """What is fitted and predicted.

    names : the stories of each stimulus; more than one where it was heard again
    runs : for each subject one run for each stimulus, the mean over its repeats
    dropped : rows that were dropped as transients, of every run
    repeats : for each subject and stimulus the runs that were averaged
    """

    names: tuple[tuple[str, ...], ...]
    runs: dict[str, list[BoldRun]]
    repeats: dict[str, list[list[BoldRun]]]
    dropped: EdgeRows

    @property
    def stories(self) -> tuple[str, ...]:
        """One name for each stimulus."""
        return tuple(names[0] for names in self.names)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which stories were averaged, and which rows were dropped."""
        averaged = tuple(f"{', '.join(names)} have the same words: averaged." for names in self.names if len(names) > 1)
        rows = (
            f"dropped as transients: {self.dropped.start} rows at the beginning and {self.dropped.end} at the end of every run."
        )
        return (*averaged, rows) if self.dropped else averaged


def stimuli(plan: Any) -> tuple[tuple[str, ...], ...]:
    """The stories of a plan, those with the same words at the same times together."""
    groups: list[list[str]] = []
    for story in plan.stories:
        mine = plan.dataset.transcript(story)
        for group in groups:
            other = plan.dataset.transcript(group[0])
            if mine.words == other.words and np.abs(mine.onsets - other.onsets).max() <= SAME_TIMES_S:
                group.append(story)
                break
        else:
            groups.append([story])
    return tuple(tuple(group) for group in groups)


def heard_stories(plan: Any) -> HeardStories:
    """Every subject's runs after the config's per-run steps, repeats averaged."""
    from neurolm.brain.preprocess import common_rows, mean_run, zscore_run
    from neurolm.cli.stimuli import runs_of
    from neurolm.cli.transients import dropped_rows

    names, dropped = stimuli(plan), dropped_rows(plan)
    found = HeardStories(names, {s: [] for s in plan.subjects}, {s: [] for s in plan.subjects}, dropped)
    for group in names:
        measured = [(subject, run) for story in group for subject, run in runs_of(plan, story, dropped).items()]
        rows = common_rows([run for _, run in measured])
        if plan.config.preprocess.zscore:
            rows = [zscore_run(run) for run in rows]
        for subject in plan.subjects:
            own = [run for (who, _), run in zip(measured, rows, strict=True) if who == subject]
            found.repeats[subject].append(own)
            found.runs[subject].append(own[0] if len(own) == 1 else mean_run(own, subject))
    return found
