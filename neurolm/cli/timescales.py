"""`neurolm timescales`: how much of the past each region uses, and experiments on fitted models."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolm.checks import check_choice
from neurolm.cli.main import app
from neurolm.cli.preflight import preflight
from neurolm.cli.stages import making, say_states, set_aside_unplanned
from neurolm.cli.terminal import progress, say, seconds_text

if TYPE_CHECKING:
    from neurolm.cli.timescales_plan import TimescalesPlan

timescales = typer.Typer(help="How much of the past each region uses; contrasts; units of gated models.", no_args_is_help=True)
app.add_typer(timescales, name="timescales")

ConfigPath = Annotated[str, typer.Argument(help="A YAML file, or the name of a config that comes with neurolm.")]
Output = Annotated[Path | None, typer.Option(help="Folder for the results, instead of the config's.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda, instead of the config's.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be computed, with sizes; compute nothing.")]


@timescales.command("map", epilog="Example: neurolm timescales map configs/timescales_alice.yaml --estimator context")
def map_(
    config: ConfigPath,
    estimator: Annotated[list[str] | None, typer.Option(help="Only this one (again for more), of the config's.")] = None,
    output: Output = None,
    device: Device = None,
    seed: Seed = None,
    page: Annotated[bool, typer.Option("--report/--no-report", help="Write figures and page when they are made.")] = True,
    dry_run: DryRun = False,
) -> None:
    """Estimate windows: maps, curves and a page. What stands already and fits the config is reused."""
    from neurolm.cli.stimuli import check_plan, is_checked
    from neurolm.cli.timescales_files import is_made, write_isc, write_page_stage, write_windows

    plan = _plan(config, output, device, seed)
    asked = [check_choice("--estimator", name, plan.config.estimators) for name in estimator or plan.config.estimators]
    preflight(replace(plan, config=plan.config.model_copy(update={"estimators": asked})), is_dry=dry_run)
    if dry_run:
        say_states(plan.output, [stage for stage in plan.stages() if stage.rule != "map" or stage.name in asked])
        _say_sizes(plan, asked)
        return
    plan.write()
    set_aside_unplanned(plan.output, plan.stages())
    if not is_checked(plan):
        check_plan(plan)
    bench = None
    for name in asked:
        if is_made(plan, name):
            say(f"{name:<10} there already, made with these settings")
            continue
        began = time.monotonic()
        with making(plan.estimator_stage(name)), progress(name) as report:
            if name == "isc":
                write_isc(plan, report)
            else:
                if bench is None:
                    from neurolm.cli.timescales_estimators import Bench

                    bench = Bench(plan)
                write_windows(plan, bench, name, report)
        say(f"{name:<10} {seconds_text(time.monotonic() - began)}")
    if page:
        say(f"Report: {write_page_stage(plan)}")


@timescales.command(epilog="Example: neurolm timescales report configs/timescales_alice.yaml")
def report(config: ConfigPath, output: Output = None, dry_run: DryRun = False) -> None:
    """Write maps' figures and the page again, from results that are there."""
    from neurolm.cli.timescales_files import result_files, write_page_stage

    plan = _plan(config, output, None, None)
    if dry_run:
        for path in result_files(plan):
            say(f"{path}")
        return
    say(f"Report: {write_page_stage(plan)}")


@timescales.command(epilog="Example: neurolm timescales contrast configs/contrast_alice.yaml --dry-run")
def contrast(
    config: ConfigPath, output: Output = None, device: Device = None, seed: Seed = None, dry_run: DryRun = False
) -> None:
    """Contrast two kinds of items in silico: alone, in sentences, with a selectivity map and a page."""
    from neurolm.cli.run import find_config
    from neurolm.cli.stimuli import check_plan, is_checked
    from neurolm.cli.timescales_config import read_contrast_config
    from neurolm.cli.timescales_contrast import is_made, run_contrast, write_contrast_page

    plan = _made(read_contrast_config(find_config(config)), output, device, seed)
    items, n_sentences = plan.config.items, len(plan.config.sentences)
    preflight(plan, is_dry=dry_run)
    if dry_run:
        n_side = int(items.candidates * items.share)
        say_states(plan.output, plan.stages())
        say(f"{len(plan.subjects)} subjects, {len(plan.stories)} stories")
        say(f"surprisal of {2 * n_side} candidates in {n_sentences} sentences, to choose {items.pairs} pairs of {items.kind}")
        say(f"{2 * items.pairs} items alone and in {n_sentences} sentences, {plan.config.permutations:,} permutations, "
            f"{plan.config.story_bootstrap} draws of stories")  # fmt: skip
        say(f"-> {plan.output / 'report.html'}")
        return
    plan.write()
    if not is_checked(plan):
        check_plan(plan)
    if is_made(plan):
        say("contrast  there already, made with these settings")
        say(f"Report: {plan.output / 'report.html'}")
        return
    with making(plan.stages()[-1]):
        with progress("contrast") as report_to:
            run_contrast(plan, report_to)
        say(f"Report: {write_contrast_page(plan)}")


def _plan(config: str, output: Path | None, device: str | None, seed: int | None) -> TimescalesPlan:
    from neurolm.cli.run import find_config
    from neurolm.cli.timescales_config import read_timescales_config

    return _made(read_timescales_config(find_config(config)), output, device, seed)


def _made(settings: Any, output: Path | None, device: str | None, seed: int | None) -> TimescalesPlan:
    from neurolm.cli.kinds import with_options
    from neurolm.cli.timescales_plan import make_timescales_plan

    changed: dict[str, Any] = {"device": device, "seed": seed}
    plan = make_timescales_plan(with_options(settings, **changed), output=output)
    if plan.dataset.is_simulated:
        say("NOTE: these are SIMULATED data with a planted truth; their numbers say nothing about any brain.")
    return plan


def _say_sizes(plan: TimescalesPlan, asked: list[str]) -> None:
    from neurolm.cli.timescales_plan import listeners

    everyone, config = listeners(plan), plan.config
    words = sum(len(story) for story in plan.transcripts())
    trs = sum(run.n_trs for run in everyone[0].runs)
    columns = everyone[0].space.n_voxels
    say(f"{len(plan.subjects)} subjects ({', '.join(who.stem for who in everyone[:8])}), {trs} TRs x {columns} columns")
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
        say(f"{name:<10}{sizes[name]} -> timescales/{name}.json")
    say(f"-> {plan.output / 'report.html'}")
