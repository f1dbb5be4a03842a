"""Analyses as functions: a config in, its result out. The commands of `neurolm` call these.

Each function plans the config, goes through its preflight checks and makes the stages that it needs, in this process; what is
there and belongs to its inputs is reused. `run` has Snakemake make them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.checks import bad, check_choice
from neurolm.progress import say
from neurolm.workflows.config import Source
from neurolm.workflows.kinds import plan_of
from neurolm.workflows.output_folder import lay_plan
from neurolm.workflows.preflight import preflight
from neurolm.workflows.run_processes import RUN_ID
from neurolm.workflows.stages import OPTIONS, Judge, Stage, check_before, making, say_states, set_aside_unplanned
from neurolm.workflows.study import check_stage

if TYPE_CHECKING:
    from neurolm.datasets.alignment_check import AlignmentCheck
    from neurolm.encoding import ModelComparison
    from neurolm.encoding.evaluation import Evaluation
    from neurolm.timescales import WindowResult
    from neurolm.workflows.gated_units import UnitSettings


def carry_out(plan: Any, stages: Sequence[Stage], *, n_targets: int = 1, dry_run: bool = False, checked: Any = None) -> None:
    """Make the last stages of a list, after those before them that are missing or do not belong to their inputs.

    In a step of a run the stages before are made by other steps: where one is missing, that is an error.

    Parameters
    ----------
    n_targets : int
        How many of the stages were asked for.
    dry_run : bool
        Say what would be made, with sizes, and make nothing.
    checked : plan, optional
        That the preflight checks look at, where it is a part of the plan.
    """
    targets, is_step = stages[-n_targets:], RUN_ID in os.environ
    if dry_run:
        say_states(plan.output, stages)
        preflight(checked or plan, is_dry=True)
        for estimate in dict.fromkeys(stage.estimate for stage in targets):
            for line in estimate():
                say(line)
        return
    due = due_stages(stages, n_targets)
    for stage in targets:
        if stage.record not in due:
            say(f"{stage.name}: there already, and fits the config")
    if not due:
        return
    preflight(checked or plan)
    lay_plan(plan)
    if not is_step:
        set_aside_unplanned(plan.output, plan.stages())
    for stage in targets if is_step else stages:
        if is_step:
            check_before(stage)
        if stage.record in due:
            with making(stage):
                stage.function()


def due_stages(stages: Sequence[Stage], n_targets: int = 1) -> set[Path]:
    """Records of the stages that have to be made: outdated themselves, or after one that is made.

    Options of a command (device, seed, threads) may differ from those with which stages before the last ones were made.
    """
    judge, due = Judge(), set[Path]()
    for i, stage in enumerate(stages):
        but = () if i >= len(stages) - n_targets else OPTIONS
        if judge.own_reason(stage, but=but) or any(up.record in due for up in stage.after):
            due.add(stage.record)
    return due


def open_plan(config: Source, *kinds: str, output: str | Path | None = None, look: bool = True, **options: Any) -> Any:
    """The plan of a config of one of the kinds; says where simulated data stand in for measured ones."""
    plan: Any
    asked, plan = plan_of(config, kinds=kinds, output=output, look=look, **options)
    section = getattr(asked, "dataset", None)
    if section is not None and section.fallback and plan.config.dataset.name == section.fallback:
        say(f"NOTE: {section.name!r} is not available here. SIMULATED data with a planted truth are analysed instead;")
        say("      their numbers say nothing about any brain.")
    elif plan.workflow in ("timescales", "contrast") and plan.dataset.is_simulated:
        say("NOTE: these are SIMULATED data with a planted truth; their numbers say nothing about any brain.")
    return plan


def check(config: Source, *, dry_run: bool = False) -> list[AlignmentCheck]:
    """Check words against BOLD, as every analysis does before anything is fitted.

    Raises
    ------
    InputError
        If a check failed that the config does not override.
    """
    from neurolm.workflows.alignment import check_alignment
    from neurolm.workflows.output_folder import can_write

    whole = open_plan(config, look=False)
    plan = whole.checked() if hasattr(whole, "checked") else whole
    if not hasattr(plan, "stories"):
        raise bad("config", "be of an analysis of runs and stories", f"one of {whole.workflow}",
                  "Check its data set with `neurolm data check`.")  # fmt: skip
    stage = check_stage(plan)
    if dry_run:
        say_states(plan.output, [stage])
    preflight(whole, is_dry=True, only_reads=True)
    if dry_run:
        return []
    if not can_write(plan.output) and RUN_ID not in os.environ:
        return check_alignment(plan)
    lay_plan(whole)
    with making(stage):
        return check_alignment(plan)


def extract(
    config: Source,
    *,
    story: str | None = None,
    device: str | None = None,
    batch_tokens: int | None = None,
    dry_run: bool = False,
) -> None:
    """Extract the hidden states that a config asks for, into the cache and beside the results."""
    from neurolm.workflows.extraction import estimate_story, extract_story, open_states
    from neurolm.workflows.output_folder import label

    plan = open_plan(config, "encoding")
    named = {label(name): name for name in plan.stories} | {name: name for name in plan.stories}
    wanted = plan.stories if story is None else (named[check_choice("--story", story, named)],)
    made = dict(zip(plan.stories, plan.feature_stages(), strict=True))
    if device or batch_tokens:
        states = open_states(plan, batch_tokens, device)
        made = {
            name: replace(
                stage,
                function=partial(extract_story, plan, name, states),
                estimate=partial(estimate_story, plan, name, states),
            )
            for name, stage in made.items()
        }
    carry_out(plan, [made[name] for name in wanted], n_targets=len(wanted), dry_run=dry_run)


def encode(
    config: Source,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
) -> Evaluation | None:
    """Fit and test voxelwise encoding models: layers, baselines, noise ceilings, permutation tests, every subject."""
    from neurolm.encoding.evaluation import Evaluation

    plan = open_plan(config, "encoding", output=output, device=device, seed=seed)
    carry_out(plan, plan.stages()[:-1], dry_run=dry_run)
    return None if dry_run else Evaluation.load(plan.output / "encoding" / "scores.h5")


def report(config: Source, *, beside: Sequence[Path] = (), dry_run: bool = False) -> Path:
    """Write the pages of an encoding analysis; timescales and decoding in its folder, or in those of `beside`, become sections."""
    from neurolm.workflows.output_folder import analysis_folders
    from neurolm.workflows.report_pages import write_reports
    from neurolm.workflows.stage_inputs import section_files

    plan = open_plan(config, "encoding")
    *before, page = plan.stages()
    if beside:
        folders = [*analysis_folders(plan.output), *beside]
        page = replace(
            page,
            settings={**page.settings, "beside": [str(folder) for folder in beside]},
            inputs=lambda: section_files(folders),
            function=partial(write_reports, plan, folders),
        )
    carry_out(plan, [*before, page], dry_run=dry_run)
    return Path(plan.result)


def compare(
    config: Source,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
) -> ModelComparison | None:
    """Compare language models: best layer inside the folds, share of the noise ceiling, paired tests, bits per byte."""
    from neurolm.encoding import ModelComparison

    plan = open_plan(config, "comparison", output=output, look=not dry_run, device=device, seed=seed)
    carry_out(plan, plan.stages(), dry_run=dry_run)
    return None if dry_run else ModelComparison.load(plan.output / "comparison" / "scores.h5")


def timescales(
    config: Source,
    *,
    estimators: Sequence[str] = (),
    output: str | Path | None = None,
    device: str | None = None,
    seed: int | None = None,
    page: bool = True,
    dry_run: bool = False,
) -> dict[str, dict[str, WindowResult]]:
    """Estimate temporal receptive windows: {"group" or "sub-01": {estimator: result}}; maps, curves and a page.

    Parameters
    ----------
    estimators : names, optional
        Only these of the config's.
    page : bool
        Write figures and page too.
    """
    from neurolm.workflows.timescale_maps import estimate_timescales
    from neurolm.workflows.timescales_files import load_results

    plan = open_plan(config, "timescales", output=output, device=device, seed=seed)
    asked = [check_choice("--estimator", name, plan.config.estimators) for name in estimators or plan.config.estimators]
    part = replace(plan, config=plan.config.model_copy(update={"estimators": asked}))
    check_first, *_ = plan.stages()
    made = [replace(plan.estimator_stage(name), estimate=partial(estimate_timescales, plan, asked)) for name in asked]
    is_whole = page and asked == list(plan.config.estimators)
    stages = [check_first, *made, *([plan.page_stage()] if is_whole else [])]
    carry_out(plan, stages, n_targets=len(stages) - 1, dry_run=dry_run, checked=part)
    if dry_run:
        return {}
    if page and not is_whole:
        plan.write_page()
    return load_results(plan, asked)


def timescales_report(config: Source, *, output: str | Path | None = None, dry_run: bool = False) -> Path:
    """Write the figures and the page of timescales from the estimators that are finished."""
    from neurolm.workflows.timescales_files import result_files

    plan = open_plan(config, "timescales", output=output)
    finished = plan.finished()
    if dry_run:
        for path in result_files(plan, finished):
            say(f"{path}")
    elif len(finished) == len(plan.config.estimators):
        with making(plan.page_stage()):
            plan.write_page()
    else:
        plan.write_page()
    return Path(plan.result)


def contrast(
    config: Source,
    *,
    output: str | Path | None = None,
    device: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
) -> Path:
    """Contrast two conditions of items in silico: alone, in sentences, with a selectivity map and a page."""
    plan = open_plan(config, "contrast", output=output, device=device, seed=seed)
    carry_out(plan, plan.stages(), dry_run=dry_run)
    return Path(plan.result)


def decode(
    config: Source,
    *,
    stage: str = "all",
    output: str | Path | None = None,
    device: str | None = None,
    seed: int | None = None,
    dry_run: bool = False,
) -> Path:
    """Decode words from BOLD and score them, or identify the time window of a story that was heard.

    Parameters
    ----------
    stage : {"all", "fit", "search", "evaluate"}
        The last stage to make, of a decoding.
    """
    import torch

    check_choice("stage", stage, ("fit", "search", "evaluate", "all"))
    plan = open_plan(config, "decoding", "identification", output=output, device=device, seed=seed)
    torch.set_num_threads(plan.config.threads)
    stages = plan.stages()
    if stage != "all" and plan.workflow == "decoding":
        stages = stages[: [one.name for one in stages].index(stage) + 1]
        carry_out(plan, stages, dry_run=dry_run)
    else:
        carry_out(plan, stages, n_targets=len(stages), dry_run=dry_run)
    return Path(plan.result)


def train(
    config: Source,
    *,
    output: str | Path | None = None,
    device: str = "auto",
    seed: int | None = None,
    give_up: bool = False,
    dry_run: bool = False,
) -> Path:
    """Train a language model; an interrupted training resumes and ends with the same bytes. Under torchrun, on several processes.

    Parameters
    ----------
    give_up : bool
        Train no further: save the best weights so far.
    """
    from contextlib import nullcontext

    from neurolm.training.distributed import process_index
    from neurolm.training.recipe import prepare_training
    from neurolm.workflows.training import train as train_model

    plan = open_plan(config, "training", output=output, device=device, seed=seed)
    (stage,) = plan.stages()
    preflight(plan, is_dry=dry_run)
    if dry_run:
        if give_up:
            prepare_training(plan.config, plan.output, device=device)[2].check_given_up()
        for line in stage.estimate():
            say(line)
        return Path(plan.output)
    with making(stage) if process_index() == 0 else nullcontext():
        train_model(plan, give_up=give_up)
    return Path(plan.output)


def unit_timescales(
    model: str, corpus: str, output: Path, settings: UnitSettings, *, device: str = "auto", dry_run: bool = False
) -> Path:
    """Timescales of gated units, the power law of their bank, and ablation with perplexity by word frequency.

    Parameters
    ----------
    model : str
        An LSTM or MT-LSTM: neurolm/mt-lstm-small, or a folder.
    corpus : str
        The training config whose text counts words and is held out.
    """
    from neurolm.workflows.gated_units import make_unit_plan

    stage = make_unit_plan(model, corpus, output, settings, device=device).stage()
    if dry_run:
        for line in stage.estimate():
            say(line)
    elif not Judge().own_reason(stage):
        say(f"there already, made with these settings -> {output}")
    else:
        with making(stage):
            stage.function()
    return output
