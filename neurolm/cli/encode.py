"""`neurolm encode CONFIG`: fit voxelwise encoding models and test them on held-out BOLD."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from neurolm.checks import bad
from neurolm.cli.analysis_folder import lay_plan
from neurolm.cli.features import read_layer, read_manifest
from neurolm.cli.main import app
from neurolm.cli.preflight import preflight
from neurolm.cli.stages import check_before, making, say_states
from neurolm.cli.terminal import progress, say
from neurolm.locks import exclusive_lock
from neurolm.storage import write_text

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.cli.plan import Plan
    from neurolm.cli.story_runs import HeardStories
    from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
    from neurolm.encoding.model_comparison import ModelComparison
    from neurolm.features import Features


MOST_NAMED = 30  # columns that are named one by one on the terminal


@app.command(epilog="Example: neurolm encode configs/demo.yaml")
def encode(
    config: Annotated[str, typer.Argument(help="A config of an analysis.")],
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda, instead of the config's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say rows, columns, voxels, fits and memory.")] = False,
) -> None:
    """Fit and test encoding models: layers, baselines, ceilings, nulls, listeners and their mean."""
    from neurolm.cli.config import read_config
    from neurolm.cli.kinds import with_options
    from neurolm.cli.plan import make_plan
    from neurolm.cli.run import find_config
    from neurolm.cli.story_runs import heard_stories

    plan = make_plan(with_options(read_config(find_config(config)), device=device, seed=seed))
    preflight(plan, is_dry=dry_run)
    stage, chosen = plan.encode_stage(), settings(plan)
    if not dry_run:
        read_manifest(plan, plan.stories[0])
        check_before(stage, "Extract the features again: `neurolm features extract CONFIG`, or `neurolm run CONFIG`.")
        lay_plan(plan)
    else:
        say_states(plan.output, [stage])
    with nullcontext() if dry_run else making(stage):
        heard = heard_stories(plan)
        for note in heard.notes:
            say(note)
        if dry_run:
            _say_sizes(plan, heard.runs)
            return
        with exclusive_lock(plan.output / ".neurolm" / "encode.lock"):  # the second one finds no half of what the first keeps
            _carry_out(plan, chosen, heard)


def _carry_out(plan: Plan, chosen: EvaluationSettings, heard: HeardStories) -> None:
    """Everything is scored, then written."""
    from neurolm.cli.recovery import write_recovery
    from neurolm.cli.subjects import write_subjects
    from neurolm.encoding.evaluate import evaluate
    from neurolm.features import WordRate

    baselines = {"word rate": [WordRate().extract(plan.dataset.transcript(story)) for story in heard.stories]}
    null = plan.output / "encoding" / "null"  # blocks that are scored, for a run that goes on after a kill
    with progress("encode") as report:
        result = evaluate(
            LayerSets(plan, heard.stories),
            heard.runs,
            baselines=baselines,
            settings=chosen,
            seed=plan.config.seed,
            keep=null,
            progress=report,
            repeats=heard.repeats,
        )
    with progress("subjects") as report:
        write_subjects(plan, result, heard, report)
    write_text(plan.output / "encoding" / "scores.tsv", score_table(result))
    write_text(plan.output / "encoding" / "differences.tsv", difference_table(result))
    write_text(plan.output / "encoding" / "content_free.tsv", content_table(result))
    result.save(plan.output / "encoding" / "scores.h5")
    say(f"{result.scored[0].who}: {_summary(result)} (layer chosen inside the folds)")
    write_recovery(plan, heard.runs)
    shutil.rmtree(null, ignore_errors=True)


class LayerSets(Mapping[str, Sequence["Features"]]):
    """Layers by name, each read when it is looked up: one is in memory at a time."""

    def __init__(self, plan: Plan, stories: Sequence[str] | None = None) -> None:
        self.plan, self.stories = plan, plan.stories if stories is None else stories
        first = read_manifest(plan, plan.stories[0])
        self.layers = {f"layer {layer}": layer for layer in sorted(int(layer) for layer in first["hashes"])}

    def __getitem__(self, name: str) -> list[Features]:
        return [read_layer(self.plan, story, self.layers[name]) for story in self.stories]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def settings(plan: Plan) -> EvaluationSettings:
    """The config's design and encode sections as the library takes them."""
    from neurolm.encoding.evaluation import EvaluationSettings

    encode, design = plan.config.encode, plan.config.design
    return EvaluationSettings(
        delays=tuple(design.delays),
        lobes=design.lobes,
        max_gap_s=design.max_gap_s,
        alphas=encode.alphas.grid(),
        extend_alphas=encode.alphas.extend,
        n_folds=encode.folds,
        n_inner_folds=encode.inner_folds,
        gap=encode.gap,
        test_runs=tuple(_positions(plan, encode.test_stories)),
        n_permutations=encode.permutations,
        n_subject_permutations=encode.subject_permutations,
        n_content_free=None if encode.content_free_draws == "auto" else encode.content_free_draws,
        device=plan.config.device,
    )


def _positions(plan: Plan, stories: Sequence[str]) -> list[int]:
    """Places of stories among the stimuli of a plan; repeats share one."""
    from neurolm.cli.story_runs import stimuli

    for story in stories:
        if story not in plan.stories:
            raise bad("encode.test_stories", f"be some of {', '.join(plan.stories)}", story)
    groups = stimuli(plan) if stories else ()
    return sorted({i for story in stories for i, group in enumerate(groups) if story in group})


def _summary(result: Evaluation) -> str:
    """The score of each region, or how those of many voxels are distributed."""
    chosen = result.scored[0].chosen
    if len(chosen.r) <= MOST_NAMED:
        return ", ".join(f"{n} {r:.2f}" for n, r in zip(region_names(result), chosen.r))
    low, middle, high = np.nanquantile(chosen.r, [0.05, 0.5, 0.95])
    return f"r of {len(chosen.r):,} voxels: median {middle:.2f}, 5 % below {low:.2f}, 5 % above {high:.2f}"


def region_names(result: Evaluation | ModelComparison) -> list[str]:
    """A name for each column: the region's, or its place."""
    from neurolm.brain.space import place_names

    return place_names(result.space)


def score_table(result: Evaluation) -> str:
    """Every score as tab-separated values, one row for each (who, feature set, region)."""
    out = io.StringIO()
    out.write("who\tset\tregion\tr\tlow\thigh\tp\tq\tceiling\n")
    names = region_names(result)
    for scored in result.scored:
        for i, name in enumerate(result.sets):
            for v, region in enumerate(names):
                values = (scored.r[i, v], *scored.interval[:, i, v], scored.p[i, v], scored.q[i, v], scored.ceiling[v])
                out.write("\t".join([scored.who, name, region, *(_number(x) for x in values)]) + "\n")
        for i, name in enumerate(result.baselines):
            for v, region in enumerate(names):
                values = (scored.baselines[i, v], *scored.baseline_interval[:, i, v])
                out.write("\t".join([scored.who, name, region, *(_number(x) for x in values), "n/a", "n/a", "n/a"]) + "\n")
    for s, subject in enumerate(result.subjects):
        for i, name in enumerate(result.sets):
            for v, region in enumerate(names):
                row = (result.listeners[s, i, v], result.listeners_p[s, i, v])
                out.write("\t".join([subject, name, region, _number(row[0]), "n/a", "n/a", _number(row[1]), "n/a", "n/a"]) + "\n")
    return out.getvalue()


def difference_table(result: Evaluation) -> str:
    """The chosen set less each baseline as tab-separated values, one row for each (who, baseline, region)."""
    out = io.StringIO()
    out.write("who\tbaseline\tregion\tdifference\tlow\thigh\tp\tp_max\tq\tbaseline_p\n")
    names = region_names(result)
    for scored in (*result.scored, *result.each):
        found = scored.against
        for i, name in enumerate(result.baselines):
            for v, region in enumerate(names):
                tested = (found.p[i, v], found.p_max[i, v], found.q[i, v], found.baseline_p[i, v])
                values = (found.difference[i, v], *found.interval[:, i, v], *tested)
                out.write("\t".join([scored.who, name, region, *(_number(x) for x in values)]) + "\n")
    return out.getvalue()


def content_table(result: Evaluation) -> str:
    """Scores of the features without their means beside content-free draws of them, one row for each region."""
    out = io.StringIO()
    out.write("who\tregion\tr\tdraws_mean\tdraws_low\tdraws_high\tp\tn_draws\n")
    for scored in result.scored:
        if (found := scored.content_free) is None:
            continue
        low, high = found.band
        for v, region in enumerate(region_names(result)):
            values = (found.r[v], found.draws[:, v].mean(), low[v], high[v], found.p_values[v])
            out.write("\t".join([scored.who, region, *(_number(x) for x in values), str(len(found.draws))]) + "\n")
    return out.getvalue()


def _number(value: float) -> str:
    """`n/a` for what is not known, as BIDS has it."""
    return "n/a" if value != value else f"{value:.6g}"


def _say_sizes(plan: Plan, subjects: Mapping[str, Sequence[BoldRun]]) -> None:
    runs = next(iter(subjects.values()))
    rows, voxels = sum(run.n_trs for run in runs), runs[0].n_voxels
    encode, features = plan.config.encode, plan.config.features
    say(
        f"{rows} TRs x {voxels} columns x {len(subjects)} subjects; layers {features.layers}; {len(plan.config.design.delays)} delays"
    )
    penalties = f"{encode.alphas.count} or more" if encode.alphas.extend else str(encode.alphas.count)
    say(f"{encode.folds} outer x {encode.inner_folds} inner folds x {penalties} penalties")
    say(f"up to {encode.permutations} shifts of the mean listener, {encode.subject_permutations} of each listener")
    say(f"-> {plan.output / 'encoding/scores.h5'}")
