"""`neurolm timescales units`: what the units of a gated language model remember, and what is lost without them.

unit_timescales.csv   timescale of every unit while reading held-out text, -1 / ln(mean forget gate), and the one it was given
power_law.csv         how the bank of a layer forgets as a whole, beside (1 + lag)^-alpha
ablation.csv          perplexity without groups of units of like timescale, by how frequent the words are
units.json            settings, hashes, slope; figures beside them
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolm import __version__
from neurolm.checks import bad
from neurolm.cli.stages import Stage, is_current, making
from neurolm.cli.terminal import progress, say
from neurolm.cli.timescales import Device, DryRun, timescales
from neurolm.storage import content_hash, write_json, write_text

if TYPE_CHECKING:
    import numpy as np

FILES = ("unit_timescales.csv", "power_law.csv", "ablation.csv")


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
    import numpy as np
    import torch

    from neurolm.cli.train import find_training_config
    from neurolm.lm import LSTM, MultiTimescaleLSTM, load

    lm = load(model, device=device or "auto")
    if not isinstance(lm, (LSTM, MultiTimescaleLSTM)):
        raise bad("model", "be an LSTM or an MT-LSTM, whose units have forget gates", type(lm).__name__)
    if layer > lm.n_layers:
        raise bad("--layer", f"lie in 1..{lm.n_layers}", layer)
    train, held_out = _texts(find_training_config(corpus), lm.tokenizer)
    ids = torch.from_numpy(held_out[:tokens]).long()
    settings = {"model": lm.weights_hash(), "layer": layer, "group": group, "tokens": len(ids), "bootstrap": bootstrap}
    settings |= {"seed": seed, "neurolm": __version__}
    stage = Stage("units", "units", output, ("units.json", *FILES), "", settings, lambda: _hashed(train, held_out))
    if dry_run:
        n_groups = -(-lm.config["width"] // group)
        say(f"{lm.name}: {len(ids):,} held-out tokens read {n_groups + 2} times, counts from {len(train):,} tokens -> {output}")
        return
    if is_current(stage):
        say(f"there already, made with these settings -> {output}")
        return
    counts = np.bincount(train, minlength=lm.tokenizer.vocab_size)
    with making(stage), progress("units") as report:
        told = _analyse(lm, ids, counts, output, layer=layer, group=group, n_bootstrap=bootstrap, seed=seed, report=report)
        write_json(output / "units.json", {"settings": settings, **told})
    say(
        f"layer {layer}: median timescale {told['median_timescale']:.1f} tokens, slope of its memory {told['slope']:.2f} -> {output}"
    )


def _analyse(
    lm: Any, ids: Any, counts: np.ndarray, output: Path, *, layer: int, group: int, n_bootstrap: int, seed: int, report: Any
) -> dict[str, Any]:
    import numpy as np

    from neurolm.report.figures import csv_text, long_table
    from neurolm.report.unit_figures import ablation_curves, memory_curve, sorted_timescales
    from neurolm.timescales import ablate_units, power_law_check, unit_timescales

    found = unit_timescales(lm, ids)
    given = lm.config.get("timescales") or [None] * lm.n_layers
    columns: dict[str, list[Any]] = {"layer": [], "unit": [], "timescale_tokens": [], "given_tokens": []}
    for number, (own, scheme) in enumerate(zip(found, given), start=1):
        columns["layer"] += [number] * len(own)
        columns["unit"] += [*range(len(own))]
        columns["timescale_tokens"] += own.tolist()
        columns["given_tokens"] += scheme or [float("nan")] * len(own)
    write_text(output / FILES[0], csv_text(columns))
    sorted_timescales(found, given).save(output, "unit_timescales_figure")
    check = power_law_check(found[layer - 1])
    write_text(output / FILES[1], csv_text({"lag_tokens": check.lags, "memory": check.memory, "power_law": check.expected}))
    memory_curve(check.lags, check.memory, check.expected, slope=check.slope).save(output, "power_law_figure")
    lost = ablate_units(
        lm, ids, found[layer - 1], counts, layer=layer, group=group, n_bootstrap=n_bootstrap, seed=seed, progress=report
    )
    table = long_table(
        ("timescale_tokens", "count_in_training"), (lost.timescales.tolist(), lost.bins), perplexity_ratio=lost.ratio,
        low=lost.interval[0], high=lost.interval[1],
    )  # fmt: skip
    write_text(output / FILES[2], csv_text(table))
    ablation_curves(lost.timescales, lost.bins, lost.ratio, lost.interval).save(output, "ablation_figure")
    return {"slope": check.slope, "median_timescale": float(np.median(found[layer - 1]))}


def _texts(path: Path, tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the training documents and of the held-out ones."""
    from neurolm.cli.yaml_file import read_yaml
    from neurolm.training.config import TrainConfig
    from neurolm.training.corpus import encode_documents, join_documents
    from neurolm.training.recipe import read_split

    split = read_split(TrainConfig.from_dict(read_yaml(path)[0]).corpus)
    parts = (join_documents(encode_documents(part, tokenizer), tokenizer.eos_id) for part in (split.train, split.test))
    train, held_out = parts
    return train, held_out


def _hashed(train: np.ndarray, held_out: np.ndarray) -> dict[str, Path | str]:
    """The texts that were read, as tokens."""
    return {"training text": content_hash(train), "held-out text": content_hash(held_out)}
