"""A checked decoding, or an identification, as the steps of a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurolm import __version__
from neurolm.cli.plan import settle, write_if_new, write_workflow

# Settings that matter to each stage, beyond those of the stages before it.
FIT = ("subject", "simulated", "training", "test", "features", "decoder", "seed", "device", "threads")
SEARCH = (*FIT, "proposals", "word_times")
STAGES = {"fit": FIT, "search": SEARCH, "evaluate": (*SEARCH, "evaluation", "title")}


@dataclass(frozen=True)
class DecodingPlan:
    """What `neurolm run` carries out for a decoding or an identification: `Plan`, without a data set of its own."""

    config: Any
    output: Path
    workflow: str

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / ("report.html" if self.workflow == "decoding" else "identification/scores.csv")

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        if self.workflow == "identification":
            windows = f"windows of {self.config.identify.window_trs} TRs in listeners held out"
            return [("identify", "identification/scores.json", windows)]
        decoder, nulls = self.config.settings(), self.config.evaluation.nulls
        return [
            ("fit", "decoding/decoder.h5", f"{decoder.n_voxels} voxels, {self.config.features.model}"),
            ("search", "decoding/words.csv", f"beam of {decoder.beam_width}"),
            ("evaluate", "report.html", f"{nulls.circular_shift} null decodes, {nulls.random_likelihood} random ones"),
        ]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        config = self.config.model_dump(mode="json")
        write_if_new(self.output / "config.json", config)
        stages = STAGES if self.workflow == "decoding" else {"identify": tuple(config.keys() - {"output"})}
        for stage, keys in stages.items():
            settings = {key: config[key] for key in keys} | {"neurolm": __version__}
            write_if_new(self.output / ".neurolm" / "stages" / f"{stage}.json", settings)
        write_workflow(self.output, self.config)


def make_decoding_plan(config: Any, *, output: Path | None = None) -> DecodingPlan:
    """Settle where a decoding's results go; of an identification also the data set and its listeners."""
    if config.analysis == "identification":
        config, _ = settle(config, output)
    folder = Path(output or config.output).resolve()
    return DecodingPlan(config.model_copy(update={"output": str(folder)}), folder, config.analysis)
