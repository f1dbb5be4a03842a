"""`neurolm encode`, `compare`, `decode` and `report`: the analyses of a config, each with all that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurolm import workflows
from neurolm.cli.app import ConfigPath, Device, DryRun, Output, Seed, app


@app.command(epilog="Example: neurolm encode configs/demo.yaml")
def encode(config: ConfigPath, output: Output = None, device: Device = None, seed: Seed = None, dry_run: DryRun = False) -> None:
    """Fit and test encoding models: layers, baselines, ceilings, permutation tests, every subject and their mean."""
    workflows.encode(config, output=output, device=device, seed=seed, dry_run=dry_run)


@app.command(epilog="Example: neurolm compare configs/compare_models.yaml")
def compare(config: ConfigPath, output: Output = None, device: Device = None, seed: Seed = None, dry_run: DryRun = False) -> None:
    """Compare language models: best layer inside the folds, share of the noise ceiling, paired tests, bits per byte."""
    workflows.compare(config, output=output, device=device, seed=seed, dry_run=dry_run)


@app.command(epilog="Example: neurolm decode configs/decode_simulated.yaml    (after an interruption: the same command)")
def decode(
    config: ConfigPath,
    stage: Annotated[str, typer.Option(help="The last stage to make: fit, search or evaluate; all: every one.")] = "all",
    output: Output = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Decode words from BOLD and score them, or identify which part of a story was heard."""
    workflows.decode(config, stage=stage, output=output, device=device, seed=seed, dry_run=dry_run)


@app.command(epilog="Example: neurolm report configs/demo.yaml")
def report(
    config: ConfigPath,
    beside: Annotated[list[Path] | None, typer.Option(help="Output folder of timescales or decoding to be shown too.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Write the report of an analysis: one HTML file for all, one for each subject; figures as SVG, PDF and CSV.

    Timescales and decoding that are in the same output folder, or in those named by --beside, become sections.
    """
    workflows.report(config, beside=beside or (), dry_run=dry_run)
