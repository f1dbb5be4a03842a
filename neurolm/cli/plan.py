"""A checked config as the steps of a workflow: what would be made, and from which settings."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from neurolm import __version__
from neurolm.checks import bad
from neurolm.cli.analysis_folder import analysis_folders, own_folder
from neurolm.cli.config import AnalysisConfig
from neurolm.cli.data import open_dataset
from neurolm.cli.names import label
from neurolm.cli.stage_inputs import Inputs, Reads, dataset_settings, model_inputs, section_files
from neurolm.cli.stages import Stage
from neurolm.datasets import Dataset
from neurolm.storage import write_json

ALIGNMENT = "stimuli/alignment.json"

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

    @cached_property
    def reads(self) -> Reads:
        return Reads(self.dataset, self.subjects, self.stories)

    def stages(self) -> list[Stage]:
        """Everything that is made, in order."""
        features = self.feature_stages()
        encode = self.encode_stage(features)
        return [check_stage(self), *features, encode, self.report_stage(encode)]

    def steps(self) -> list[tuple[str, str, str]]:
        """(rule, what it makes, what that is) of every step, in order."""
        return [(stage.rule, stage.makes[0], stage.what) for stage in self.stages()]

    def feature_stages(self) -> list[Stage]:
        """One for each story: its words and the language model decide, and no brain."""
        config = self.config.features
        return [
            Stage(
                name=f"features-{label(story)}",
                rule="features",
                folder=self.output,
                makes=(f"features/story-{label(story)}_features.json", f"features/story-{label(story)}_features.h5"),
                what=f"{config.model}, {len(self.reads.transcript(story))} words of {story!r}",
                settings={"features": config.model_dump(mode="json")},
                inputs=partial(self._read_for_features, story),
            )
            for story in self.stories
        ]

    def _read_for_features(self, story: str) -> Inputs:
        return {**self.reads.words(story), **model_inputs(self.config.features.model)}

    def encode_stage(self, features: list[Stage] | None = None) -> Stage:
        """Encoding models of every subject."""
        config = self.config.model_dump(mode="json")
        keys = ("preprocess", "design", "encode", "seed", "device", "threads")
        maps = [f"{who}/func/{who}_desc-{name}_statmap*" for who in ("sub-*",) for name in ("*_stat-[rq]", "found*", "planted*")]
        return Stage(
            name="encode",
            rule="encode",
            folder=self.output,
            makes=("encoding/scores.h5", "encoding/scores.tsv", *(f"{who}/{who}_encoding.h5" for who in self._labels())),
            what=f"{len(self.subjects)} subjects, {self.config.encode.permutations} shifts",
            settings={**runs_settings(self), **{key: config[key] for key in keys}},
            inputs=self.reads.everything,
            after=tuple(self.feature_stages() if features is None else features),
            owns=("encoding/*", "sub-*/sub-*_encoding.h5", *maps, "group/func/group_desc-*_stat-*_statmap*"),
        )

    def report_stage(self, encode: Stage | None = None) -> Stage:
        """The page of all and of each subject."""
        config = self.config.model_dump(mode="json", exclude={"output", "threads", "device"})
        return Stage(
            name="report",
            rule="report",
            folder=self.output,
            makes=("report.html", *(f"{who}.html" for who in self._labels())),
            what="one HTML file, and one for each subject",
            settings=config,
            inputs=lambda: section_files(analysis_folders(self.output)),
            after=(check_stage(self), encode or self.encode_stage()),
            owns=("sub-*.html", "sub-*/figures/*"),
            draws=("figures/*",),
        )

    def _labels(self) -> list[str]:
        return [f"sub-{label(subject)}" for subject in self.subjects]

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        names = {"stories": [label(s) for s in self.stories], "subjects": [label(s) for s in self.subjects]}
        write_workflow(self.output, self.config, **names)
        write_if_new(self.output / "dataset_description.json", description(self))


def check_stage(plan: Any) -> Stage:
    """The check of words against BOLD, the same in every analysis of runs and stories."""
    config = plan.config.model_dump(mode="json")
    return Stage(
        name="check",
        rule="check",
        folder=plan.output,
        makes=(ALIGNMENT,),
        what=f"words against TRs, {len(plan.stories)} stories",
        settings={
            **runs_settings(plan),
            **{key: config[key] for key in ("preprocess", "override", "seed")},
            "max_gap_s": gap_limit(plan)[1],
        },
        inputs=plan.reads.everything,
        owns=("figures/alignment_*", "figures/lag_*"),
    )


def gap_limit(plan: Any) -> tuple[str, float]:
    """The config section that holds `max_gap_s`, and its value."""
    section = next((name for name in ("design", "fit") if hasattr(plan.config, name)), "")
    return section, float(getattr(plan.config, section).max_gap_s) if section else 20.0


def runs_settings(plan: Any) -> dict[str, Any]:
    """Whose runs of which stories are analysed."""
    section = plan.config.dataset.model_dump(mode="json")
    return {"dataset": dataset_settings(section), "subjects": list(plan.subjects), "stories": list(plan.stories)}


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
    folder = own_folder(Path(output or config.output).resolve(), config.analysis)
    return config.model_copy(update={"dataset": settled, "output": str(folder)}), dataset


def check_stories_heard(dataset: Dataset, subjects: Sequence[str], stories: Sequence[str]) -> None:
    """Refuse subjects who lack a story, with the two keys that mend it."""
    heard = {subject: set(dataset.stories(subject)) for subject in subjects}
    missing = {subject: [story for story in stories if story not in there] for subject, there in heard.items()}
    missing = {subject: lacking for subject, lacking in missing.items() if lacking}
    if not missing:
        return
    shared = [story for story in stories if all(story in there for there in heard.values())]
    whole = [subject for subject in subjects if subject not in missing]
    choices = (("stories", shared, "all subjects"), ("subjects", [f'"{subject}"' for subject in whole], "all stories"))
    keys = [f"`{key}: [{', '.join(names)}]` ({rest})" for key, names, rest in choices if names]
    got = "; ".join(f"{subject} without {', '.join(lacking)}" for subject, lacking in missing.items())
    hint = f"Set below `dataset:` in the config {' or '.join(keys)}." if keys else "Choose subjects and stories that go together."
    raise bad("dataset.subjects", "have heard all stories", got, hint)


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
    """Write JSON unless the file says the same already."""
    try:
        if json.loads(path.read_text(encoding="utf-8")) == value:
            return
    except (OSError, ValueError):
        pass
    write_json(path, value)
