"""Checks that run before anything is computed: one list for `run`, every `--dry-run`, `data check` and `stimuli check`.

A check is a function of the `Opened` plan that yields findings, or raises the `InputError` that the analysis itself would
raise later. `check_lists` holds the list of each kind of analysis. A problem stops the command before a file is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neurolm.checks import InputError
from neurolm.cli.terminal import progress, say
from neurolm.datasets.dataset import Finding
from neurolm.progress import Progress, silent

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.stimuli import Transcript

Check = Callable[["Opened"], Iterable[Finding]]


class Opened:
    """A plan with what its checks look at, each thing opened when it is first used.

    plan : the plan of any kind of analysis
    is_dry : no model is fetched, and estimates are wanted
    is_elsewhere : the steps run on other machines (a cluster): nothing is said of this one's devices and memory
    only_reads : the command writes no results: the output folder may be read-only
    """

    def __init__(self, plan: Any, *, is_dry: bool = False, is_elsewhere: bool = False, only_reads: bool = False) -> None:
        self.plan, self.is_dry, self.is_elsewhere, self.only_reads = plan, is_dry, is_elsewhere, only_reads
        self.report: Progress = silent
        self.models: dict[tuple[str, str | None], Any] = {}  # by name and vocabulary, those that were loaded for a check
        self.feature_bytes = 0  # what the features will take on disk; counted when the models have been looked at

    @property
    def kind(self) -> str:
        return str(self.plan.workflow)

    @cached_property
    def analyses(self) -> dict[str, Any]:
        """The plans that extract features, by the name of their model: one, or those of a comparison."""
        return dict(self.plan.analyses) if self.kind == "comparison" else {"": self.plan}

    @property
    def study(self) -> Any:
        """The plan that says which subjects, stories and per-run steps."""
        return next(iter(self.analyses.values()))

    @property
    def reads_words(self) -> bool:
        """Whether words are laid against the BOLD: intersubject correlation alone needs none."""
        return self.kind != "timescales" or list(self.plan.config.estimators) != ["isc"]

    @cached_property
    def transcripts(self) -> list[Transcript]:
        return [self.study.dataset.transcript(story) for story in self.study.stories]

    @cached_property
    def runs(self) -> dict[str, list[BoldRun]]:
        """Every subject's runs after trimming, as stand-ins: times and space are true, the BOLD takes no memory."""
        from neurolm.cli.preflight_data import stand_in

        study, runs = self.study, dict[str, list["BoldRun"]]()
        n = len(study.subjects) * len(study.stories)
        for subject in study.subjects:
            runs[subject] = []
            for story in study.stories:
                runs[subject].append(stand_in(study, subject, story))
                self.report(sum(map(len, runs.values())), n, "runs", f"{subject} {story}")
        return runs

    @cached_property
    def fitted(self) -> tuple[list[Transcript], dict[str, list[BoldRun]]]:
        """Transcripts and every subject's stand-ins as they are fitted: on the rows that all have, and where repeats of a
        story are averaged (encoding, comparison) once for each stimulus."""
        from neurolm.cli.story_runs import stimuli

        study = self.study
        if self.kind not in ("encoding", "comparison"):
            return self.transcripts, self.common
        places = [[study.stories.index(story) for story in group] for group in stimuli(study)]
        return [self.transcripts[group[0]] for group in places], self._on_common_rows(places)

    @cached_property
    def common(self) -> dict[str, list[BoldRun]]:
        """Every subject's stand-ins, each story's on the rows that all subjects have."""
        return self._on_common_rows([[i] for i in range(len(self.study.stories))])

    def _on_common_rows(self, groups: Iterable[list[int]]) -> dict[str, list[BoldRun]]:
        """One run of every subject for each group of stories that share their words."""
        from neurolm.brain.preprocess import common_rows

        found: dict[str, list[BoldRun]] = {subject: [] for subject in self.runs}
        for group in groups:
            runs = common_rows([self.runs[subject][i] for subject in self.runs for i in group])
            for subject, run in zip(self.runs, runs[:: len(group)]):
                found[subject].append(run)
        return found


def check_lists() -> dict[str, tuple[Check, ...]]:
    """The checks of each kind of analysis, in the order in which they are gone through."""
    from neurolm.cli import preflight_data as data
    from neurolm.cli import preflight_fits as fits
    from neurolm.cli import preflight_models as models

    place = (data.output_folder, models.device)
    study = (*place, data.overrides, data.labels, *data.FOUNDATIONS)
    return {
        "encoding": (*study, fits.permutations, fits.encoding, models.readings, data.disk),
        "comparison": (*study, fits.comparison, models.readings, data.disk),
        "timescales": (*study, fits.timescales, fits.held_out, models.readings),
        "contrast": (*study, fits.contrast, fits.held_out, models.readings),
        "identification": (*study, fits.identification, models.states),
        "decoding": (*place, fits.decoding, models.states),
        "training": (*place, fits.training),
    }


def findings(opened: Opened) -> Iterator[Finding]:
    """What every check of the plan says; an error that a check raises is a problem, said once.

    What rests on stories and runs that cannot be read, or do not fit each other, is not gone through: it would say the same
    in other words. Models, which take long to load, are looked at where nothing else is wrong.
    """
    from neurolm.cli.preflight_data import FOUNDATIONS

    said: set[str] = set()
    for check in check_lists()[opened.kind]:
        if said and check.__module__.endswith("preflight_models"):
            continue
        try:
            yield from check(opened)
        except InputError as error:
            if str(error) not in said:
                said.add(str(error))
                yield Finding("problem", str(error))
            if check in FOUNDATIONS:
                return


def preflight(plan: Any, *, is_dry: bool = False, is_elsewhere: bool = False, only_reads: bool = False) -> None:
    """Go through the checks of a plan before it is carried out; say what they found.

    Under `neurolm run`, which did this before the first step, its steps do not repeat it.

    Raises
    ------
    InputError
        With every problem, one line each.
    """
    from neurolm.cli.run_processes import RUN_ID

    if RUN_ID in os.environ:
        return
    opened = Opened(plan, is_dry=is_dry, is_elsewhere=is_elsewhere, only_reads=only_reads)
    with progress("preflight") as report:
        opened.report = report
        found = list(findings(opened))
    for finding in found:
        if finding.level != "problem" and (is_dry or finding.level != "ok"):
            say(str(finding))
    problems = [str(finding).removeprefix("problem: ") for finding in found if finding.level == "problem"]
    if problems:
        raise InputError("\n".join(problems))
