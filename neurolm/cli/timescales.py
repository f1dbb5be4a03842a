"""`neurolm timescales`: how much of the past each region uses, and experiments on fitted models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurolm import workflows
from neurolm.cli.app import ConfigPath, Device, DryRun, Output, Seed, app

timescales = typer.Typer(help="How much of the past each region uses; contrasts; units of gated models.", no_args_is_help=True)
app.add_typer(timescales, name="timescales")


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
    """Estimate windows: maps, curves and a page. What is there already and fits the config is reused."""
    workflows.timescales(config, estimators=estimator or (), output=output, device=device, seed=seed, page=page, dry_run=dry_run)


@timescales.command(epilog="Example: neurolm timescales report configs/timescales_alice.yaml")
def report(config: ConfigPath, output: Output = None, dry_run: DryRun = False) -> None:
    """Write maps' figures and the page again, from results that are there."""
    workflows.timescales_report(config, output=output, dry_run=dry_run)


@timescales.command(epilog="Example: neurolm timescales contrast configs/contrast_alice.yaml --dry-run")
def contrast(
    config: ConfigPath, output: Output = None, device: Device = None, seed: Seed = None, dry_run: DryRun = False
) -> None:
    """Contrast two kinds of items in silico: alone, in sentences, with a selectivity map and a page."""
    workflows.contrast(config, output=output, device=device, seed=seed, dry_run=dry_run)


@timescales.command(epilog="Example: neurolm timescales units neurolm/mt-lstm-small mt-lstm-small --output units")
def units(
    model: Annotated[str, typer.Argument(help="An LSTM or MT-LSTM: neurolm/mt-lstm-small, or a folder.")],
    corpus: Annotated[str, typer.Argument(help="The training config of its corpus: counts and held-out text come from there.")],
    output: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = Path("units"),
    layer: Annotated[int, typer.Option(min=1, help="Whose units are silenced, and whose bank is checked.")] = 2,
    group: Annotated[int, typer.Option(min=1, help="Units silenced at once.")] = 24,
    tokens: Annotated[int, typer.Option(min=1000, help="Of held-out text, at most.")] = 20_000,
    bootstrap: Annotated[int, typer.Option(min=100, help="Draws of blocks of 100 tokens.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Timescales of gated units, the power law of their bank, and ablation with perplexity by word frequency."""
    workflows.unit_timescales(
        model,
        corpus,
        output,
        workflows.UnitSettings(layer=layer, group=group, tokens=tokens, bootstrap=bootstrap, seed=seed),
        device=device or "auto",
        dry_run=dry_run,
    )
