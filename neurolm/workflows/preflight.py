"""Checks that run before anything is computed: one list for `run`, every `--dry-run`, `data check` and `stimuli check`.

A check is a function of the `Opened` plan that yields findings, or raises the `InputError` that the analysis itself would
raise later. `check_lists` holds the list of each kind of analysis. A problem stops the command before a file is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from neurolm.checks import InputError
from neurolm.datasets.dataset import Finding
from neurolm.progress import progress, say
from neurolm.workflows import preflight_data as data
from neurolm.workflows import preflight_fits as fits
from neurolm.workflows import preflight_models as models
from neurolm.workflows.preflight_data import Opened
from neurolm.workflows.run_processes import RUN_ID

Check = Callable[[Opened], Iterable[Finding]]


def check_lists() -> dict[str, tuple[Check, ...]]:
    """The checks of each kind of analysis, in the order in which they are gone through."""
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
            if check in data.FOUNDATIONS:
                return


def preflight(plan: Any, *, is_dry: bool = False, is_elsewhere: bool = False, only_reads: bool = False) -> None:
    """Go through the checks of a plan before it is carried out; say what they found.

    Under `neurolm run`, which did this before the first step, its steps do not repeat it.

    Raises
    ------
    InputError
        With every problem, one line each.
    """
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
