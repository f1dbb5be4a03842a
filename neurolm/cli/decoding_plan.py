"""A checked decoding, or an identification, as the steps of a workflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm import __version__
from neurolm.cli.plan import settle, write_if_new, write_workflow

if TYPE_CHECKING:
    from neurolm.cli.decode_config import DecodingConfig, IdentificationConfig
    from neurolm.datasets import Dataset

# Settings that matter to each stage, beyond those of the stages before it.
FIT = ("subject", "simulated", "training", "test", "features", "decoder", "seed", "device", "threads")
SEARCH = (*FIT, "proposals", "word_times")
STAGES = {"fit": FIT, "search": SEARCH, "evaluate": (*SEARCH, "evaluation", "title")}


@dataclass(frozen=True)
class DecodingPlan:
    """What `neurolm run` carries out for a decoding: `Plan`, without a data set of its own."""

    config: DecodingConfig
    output: Path
    workflow: str = "decoding"

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        decoder, nulls = self.config.settings(), self.config.evaluation.nulls
        return [
            ("fit", "decoding/decoder.h5", f"{decoder.n_voxels} voxels, {self.config.features.model}"),
            ("search", "decoding/words.csv", f"beam of {decoder.beam_width}"),
            ("evaluate", "report.html", f"{nulls.circular_shift} null decodes, {nulls.random_likelihood} random ones"),
        ]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        _write(self, STAGES)


@dataclass(frozen=True)
class IdentificationPlan:
    """What `neurolm run` carries out for an identification; subjects and stories as in `Plan`."""

    config: IdentificationConfig
    output: Path
    dataset: Dataset
    workflow: str = "identification"

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(self.config.dataset.subjects)

    @property
    def stories(self) -> tuple[str, ...]:
        return tuple(self.config.dataset.stories)

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "identification" / "scores.csv"

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        windows = f"windows of {self.config.identify.window_trs} TRs in listeners held out"
        return [("identify", "identification/scores.json", windows)]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        _write(self, {"identify": set(type(self.config).model_fields) - {"output"}})


def _write(plan: DecodingPlan | IdentificationPlan, stages: Mapping[str, Iterable[str]]) -> None:
    config = plan.config.model_dump(mode="json")
    write_if_new(plan.output / "config.json", config)
    for stage, keys in stages.items():
        settings: dict[str, Any] = {key: config[key] for key in keys} | {"neurolm": __version__}
        write_if_new(plan.output / ".neurolm" / "stages" / f"{stage}.json", settings)
    write_workflow(plan.output, plan.config)


def make_decoding_plan(config: DecodingConfig, *, output: Path | None = None) -> DecodingPlan:
    """Settle where a decoding's results go."""
    folder = Path(output or config.output).resolve()
    return DecodingPlan(config.model_copy(update={"output": str(folder)}), folder)


def make_identification_plan(config: IdentificationConfig, *, output: Path | None = None) -> IdentificationPlan:
    """Open the data set (or its fallback) and settle whose runs of which story are told apart."""
    settled, dataset = settle(config, output)
    return IdentificationPlan(settled, Path(settled.output), dataset)
