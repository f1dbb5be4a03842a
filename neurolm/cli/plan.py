"""A checked config as the steps of a workflow: what would be made, and from which settings."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from neurolm import __version__
from neurolm.checks import bad
from neurolm.cli.config import AnalysisConfig
from neurolm.cli.data import open_dataset
from neurolm.cli.names import label
from neurolm.datasets import Dataset
from neurolm.storage import write_json

STAGES = {
    "dataset": ("dataset", "preprocess", "override", "seed"),
    "features": ("dataset", "features", "device"),
    "encode": ("dataset", "features", "preprocess", "design", "encode", "seed", "device", "threads"),
    "report": ("title", "dataset", "features", "preprocess", "design", "encode", "seed"),
}

Settled = TypeVar("Settled", bound=Any)


@dataclass(frozen=True)
class Plan:
    """What `neurolm run` carries out.

    config : the config with every choice made (data set after any fallback, subjects, stories)
    workflow : name of a Snakemake file in pipelines/
    output : the folder in which everything is made
    """

    config: AnalysisConfig
    workflow: str
    output: Path
    subjects: tuple[str, ...]
    stories: tuple[str, ...]
    dataset: Dataset

    @property
    def result(self) -> Path:
        """What to look at when it is done."""
        return self.output / "report.html"

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        steps = [("check", "stimuli/alignment.json", f"words against TRs, {len(self.stories)} stories")]
        for story in self.stories:
            words = len(self.dataset.transcript(story))
            what = f"{self.config.features.model}, {words} words of {story!r}"
            steps.append(("features", f"features/story-{label(story)}_features.json", what))
        steps.append(("encode", "encoding/scores.h5", f"{len(self.subjects)} subjects, {self.config.encode.permutations} shifts"))
        return [*steps, ("report", "report.html", "one HTML file, and one for each subject")]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        config = self.config.model_dump(mode="json")
        write_if_new(self.output / "config.json", config)
        for stage, keys in STAGES.items():
            settings = {key: config[key] for key in keys} | {"neurolm": __version__}
            write_if_new(self.output / ".neurolm" / "stages" / f"{stage}.json", settings)
        names = {"stories": [label(s) for s in self.stories], "subjects": [label(s) for s in self.subjects]}
        write_workflow(self.output, self.config, **names)
        write_if_new(self.output / "dataset_description.json", description(self))


def make_plan(config: AnalysisConfig, *, output: str | Path | None = None) -> Plan:
    """Open the data set (or its fallback) and settle what is analysed."""
    settled, dataset = settle(config, output)
    subjects, stories = tuple(settled.dataset.subjects), tuple(settled.dataset.stories)
    return Plan(settled, config.analysis, Path(settled.output), subjects, stories, dataset)


def settle(config: Settled, output: str | Path | None) -> tuple[Settled, Dataset]:
    """The config with its data set (after any fallback), subjects, stories and output folder settled; and the data set."""
    dataset, name = open_dataset(config.dataset)
    asked = config.dataset
    settled = asked.model_copy(
        update={
            "name": name,
            "options": absolute(asked.options) if name == asked.name else {},
            "subjects": chosen("dataset.subjects", asked.subjects, dataset.subjects()),
            "stories": chosen("dataset.stories", asked.stories, dataset.stories()),
            "fallback": None,
        }
    )
    folder = Path(output or config.output).resolve()
    return config.model_copy(update={"dataset": settled, "output": str(folder)}), dataset


def absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that name a place, so that results can be read again from anywhere."""
    paths = {key: options[key] for key in ("folder", "words", "mask") if isinstance(options.get(key), str)}
    return {**options, **{key: str(Path(path).resolve()) for key, path in paths.items() if Path(path).exists()}}


def chosen(key: str, asked: Any, there: Any) -> list[str]:
    """Names that a config asks for, all of which must be there."""
    if asked == "all":
        return list(there)
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise bad(key, f"be among {', '.join(there)}", ", ".join(unknown))
    return list(asked)


def description(plan: Any) -> dict[str, Any]:
    """dataset_description.json of a BIDS derivative."""
    return {
        "Name": plan.config.title or "neurolm",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "neurolm", "Version": __version__}],
        "SourceDatasets": [{"Description": plan.dataset.info.description}],
    }


def write_workflow(output: Path, config: Any, **names: list[str]) -> None:
    """Write what the Snakefiles in pipelines/ read as `config`.

    Steps start where `neurolm run` was started, so that relative paths in a config mean the same to
    all. Matrix products differ in the last bits between thread counts, so every step pins its own.
    """
    pinned = " ".join(f"{name}={config.threads}" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"))
    settings = {
        "command": f"cd {_word(Path.cwd())} && {pinned} {_word(sys.executable)} -m neurolm",
        "folder": _word(output),
        "threads": config.threads,
        "device": _word(config.device),
        "gpus": int(config.device.startswith("cuda")),
    }
    write_if_new(output / ".neurolm" / "plan.json", settings | names)


def _word(text: object) -> str:
    """One word of a shell command, safe in a rule of Snakemake, where braces are names of its own."""
    return shlex.quote(str(text)).replace("{", "{{").replace("}", "}}")


def write_if_new(path: Path, value: Any) -> None:
    """Write JSON unless the file says the same already: its time stamp tells Snakemake what changed."""
    try:
        if json.loads(path.read_text(encoding="utf-8")) == value:
            return
    except (OSError, ValueError):
        pass
    write_json(path, value)
