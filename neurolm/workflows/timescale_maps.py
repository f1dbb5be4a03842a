"""Timescales: the plan of a config, with one stage for each estimator of temporal receptive windows and one for the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from neurolm.datasets import Dataset
from neurolm.progress import progress, say
from neurolm.workflows.alignment import alignment_stage
from neurolm.workflows.output_folder import write_if_new, write_workflow
from neurolm.workflows.stage_inputs import Reads
from neurolm.workflows.stages import Stage, is_current
from neurolm.workflows.study import description, runs_settings, settle
from neurolm.workflows.timescales_config import TimescalesConfig
from neurolm.workflows.timescales_data import listeners, stage_reads, stage_settings, transcripts
from neurolm.workflows.timescales_estimators import Bench
from neurolm.workflows.timescales_files import write_isc, write_page, write_windows


@dataclass(frozen=True)
class TimescalesPlan:
    """A config of timescales with every choice made, and where results go; subjects, stories and data set as in `Study`."""

    config: TimescalesConfig
    output: Path
    subjects: tuple[str, ...]
    stories: tuple[str, ...]
    dataset: Dataset
    workflow: str = "timescales"

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.dataset, self.subjects, self.stories)

    @cached_property
    def bench(self) -> Bench:
        """Models and features that the estimators share."""
        return Bench(self)

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    def stages(self) -> list[Stage]:
        """Everything that is made, in order."""
        return [alignment_stage(self), *map(self.estimator_stage, self.config.estimators), self.page_stage()]

    def estimator_stage(self, name: str) -> Stage:
        """One estimator for everyone."""
        return Stage(
            name=name,
            rule="map",
            folder=self.output,
            makes=(f"timescales/{name}.json",),
            what=f"{name}: {len(self.subjects)} subjects, {len(self.stories)} stories",
            settings={**runs_settings(self), **stage_settings(self, name)},
            inputs=partial(stage_reads, self, name),
            owns=(
                f"*/*_desc-{name}_timescales.h5",
                f"*/func/*_desc-{name}_stat-window_statmap*",
                *(("timescales/isc.csv",) if name == "isc" else ()),
            ),
            function=partial(self._estimate, name),
        )

    def page_stage(self) -> Stage:
        """Figures and the page of all estimators."""
        return Stage(
            name="report",
            rule="report",
            folder=self.output,
            makes=("report.html",),
            what="one HTML file",
            settings=self.config.model_dump(mode="json", exclude={"output", "threads", "device"}),
            after=(alignment_stage(self), *map(self.estimator_stage, self.config.estimators)),
            draws=("figures/*",),
            function=self.write_page,
        )

    def finished(self) -> list[str]:
        """Estimators whose results are there and belong to the data and settings as they are."""
        return [name for name in self.config.estimators if is_current(self.estimator_stage(name))]

    def write_page(self) -> None:
        """Figures and report.html from the estimators that are finished."""
        say(f"Report: {write_page(self, self.finished())}")

    def _estimate(self, name: str) -> None:
        with progress(name) as report:
            if name == "isc":
                write_isc(self, report)
            else:
                write_windows(self, self.bench, name, report)

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        write_workflow(self.output, self.config, estimators=list(self.config.estimators))
        write_if_new(self.output / "dataset_description.json", description(self))


def make_timescales_plan(config: TimescalesConfig, *, output: str | Path | None = None) -> TimescalesPlan:
    """Open the data set (or its fallback) and settle what is analysed."""
    settled, dataset = settle(config, output)
    return TimescalesPlan(settled, Path(settled.output), tuple(settled.dataset.subjects), tuple(settled.dataset.stories), dataset)


def estimate_timescales(plan: TimescalesPlan, asked: list[str]) -> Iterator[str]:
    """Sizes of each estimator, for a dry run."""
    everyone, config = listeners(plan), plan.config
    words = sum(len(story) for story in transcripts(plan))
    trs = sum(run.n_trs for run in everyone[0].runs)
    columns = everyone[0].space.n_voxels
    yield f"{len(plan.subjects)} subjects ({', '.join(who.stem for who in everyone[:8])}), {trs} TRs x {columns} columns"
    sizes = {
        "context": f"{words:,} passes of {config.context.words[-1]} words through layers 1 to {config.features.layer}",
        "surprisal": f"{words:,} passes of {config.surprisal.words[-1] + 1} words through the whole model",
        "bands": f"{len(config.bands.time_constants) + 1} bands",
        "scramble": f"{1 + len(config.scramble.levels) * config.scramble.orders} readings of each story in silico",
        "swap": f"{2 * config.swap.swaps} excerpts of {config.swap.past + config.swap.lags + 1} words",
        "switch": f"{4 * config.switch.segments} excerpts of {config.switch.past + config.switch.words} words",
        "forecast": f"{2 * len(config.forecast.distances) + 1} fits, each of {config.forecast.draws} simulated data sets too",
        "isc": f"{config.fit.permutations} surrogates of {len(plan.subjects)} listeners",
    }
    for name in asked:
        yield f"{name:<10}{sizes[name]} -> timescales/{name}.json"
    yield f"-> {plan.output / 'report.html'}"
