"""Timescales of the units of a gated language model, and what is lost when they are silenced.

unit_timescales.csv   timescale of every unit while reading held-out text, -1 / ln(mean forget gate), and the one it was given
power_law.csv         how the bank of a layer forgets as a whole, beside (1 + lag)^-alpha
ablation.csv          perplexity without groups of units of like timescale, by how frequent the words are
units.json            settings, hashes, slope; figures beside them
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm import __version__
from neurolm.checks import bad
from neurolm.progress import progress, say
from neurolm.storage import content_hash, write_json, write_text
from neurolm.workflows.stages import Stage
from neurolm.workflows.training import find_training_config
from neurolm.workflows.yaml_file import read_yaml

if TYPE_CHECKING:
    import numpy as np

FILES = ("unit_timescales.csv", "power_law.csv", "ablation.csv")


@dataclass(frozen=True)
class UnitSettings:
    """What is analysed of which units.

    layer : whose units are silenced, and whose bank is checked
    group : units silenced at once
    tokens : of held-out text, at most
    bootstrap : draws of blocks of 100 tokens
    """

    layer: int = 2
    group: int = 24
    tokens: int = 20_000
    bootstrap: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class UnitPlan:
    """The units of one model on the corpus of a training config."""

    lm: Any
    corpus: str
    output: Path
    settings: UnitSettings

    @cached_property
    def texts(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the training documents and of the held-out ones."""
        return _texts(find_training_config(self.corpus), self.lm.tokenizer)

    @property
    def held_out(self) -> Any:
        import torch

        return torch.from_numpy(self.texts[1][: self.settings.tokens]).long()

    def stage(self) -> Stage:
        """Tables and figures."""
        asked = self.settings
        settings = {"model": self.lm.weights_hash(), "layer": asked.layer, "group": asked.group, "tokens": len(self.held_out)}
        settings |= {"bootstrap": asked.bootstrap, "seed": asked.seed, "neurolm": __version__}
        return Stage(
            name="units",
            rule="units",
            folder=self.output,
            makes=("units.json", *FILES),
            what="",
            settings=settings,
            inputs=lambda: _hashed(*self.texts),
            function=partial(analyse_units, self, settings),
            estimate=self._estimate,
        )

    def _estimate(self) -> Iterator[str]:
        n_groups = -(-self.lm.config["width"] // self.settings.group)
        n_read, n_counted = len(self.held_out), len(self.texts[0])
        yield f"{self.lm.name}: {n_read:,} held-out tokens read {n_groups + 2} times, counts from {n_counted:,} tokens -> {self.output}"


def make_unit_plan(model: str, corpus: str, output: Path, settings: UnitSettings, *, device: str = "auto") -> UnitPlan:
    """Load a gated model.

    Raises
    ------
    InputError
        If it has no forget gates, or not so many layers.
    """
    from neurolm.lm import LSTM, MultiTimescaleLSTM, load

    lm = load(model, device=device)
    if not isinstance(lm, (LSTM, MultiTimescaleLSTM)):
        raise bad("model", "be an LSTM or an MT-LSTM, whose units have forget gates", type(lm).__name__)
    if settings.layer > lm.n_layers:
        raise bad("--layer", f"lie in 1..{lm.n_layers}", settings.layer)
    return UnitPlan(lm, corpus, output, settings)


def analyse_units(plan: UnitPlan, settings: dict[str, Any]) -> None:
    """Timescales of every unit, the power law of a bank, and perplexity without groups of units, as tables and figures."""
    import numpy as np

    from neurolm.report.figures import csv_text, long_table
    from neurolm.report.unit_figures import ablation_curves, memory_curve, sorted_timescales
    from neurolm.timescales import ablate_units, power_law_check, unit_timescales

    lm, ids, output, asked = plan.lm, plan.held_out, plan.output, plan.settings
    layer, counts = asked.layer, np.bincount(plan.texts[0], minlength=plan.lm.tokenizer.vocab_size)
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
    draws: dict[str, Any] = {"n_bootstrap": asked.bootstrap, "seed": asked.seed}
    with progress("units") as report:
        lost = ablate_units(lm, ids, found[layer - 1], counts, layer=layer, group=asked.group, **draws, progress=report)
    table = long_table(
        ("timescale_tokens", "count_in_training"), (lost.timescales.tolist(), lost.bins), perplexity_ratio=lost.ratio,
        low=lost.interval[0], high=lost.interval[1],
    )  # fmt: skip
    write_text(output / FILES[2], csv_text(table))
    ablation_curves(lost.timescales, lost.bins, lost.ratio, lost.interval).save(output, "ablation_figure")
    told = {"slope": check.slope, "median_timescale": float(np.median(found[layer - 1]))}
    write_json(output / "units.json", {"settings": settings, **told})
    slope = f"slope of its memory {check.slope:.2f}"
    say(f"layer {layer}: median timescale {told['median_timescale']:.1f} tokens, {slope} -> {output}")


def _texts(path: Path, tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the training documents and of the held-out ones."""
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
