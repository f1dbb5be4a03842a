"""What the plans of all analyses of a data set share: the choice of subjects and stories, the check of words against BOLD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from neurolm import __version__
from neurolm.checks import bad
from neurolm.workflows.output_folder import own_folder
from neurolm.workflows.stage_inputs import Reads, dataset_settings
from neurolm.workflows.stages import Stage

if TYPE_CHECKING:
    from neurolm.datasets import Dataset
    from neurolm.workflows.config import DatasetConfig

ALIGNMENT = "stimuli/alignment.json"
CORTEX = "simulated_cortex"

Settled = TypeVar("Settled", bound=Any)


class Study(Protocol):
    """What the plan of every analysis of a data set has.

    config : the config with every choice made (data set after any fallback, subjects, stories)
    output : the folder in which everything is made
    reads : the files of the data set that are read, with their hashes
    """

    @property
    def config(self) -> Any: ...
    @property
    def output(self) -> Path: ...
    @property
    def subjects(self) -> tuple[str, ...]: ...
    @property
    def stories(self) -> tuple[str, ...]: ...
    @property
    def dataset(self) -> Dataset: ...
    @property
    def reads(self) -> Reads: ...


def check_stage(plan: Study) -> Stage:
    """The stage of the check of words against BOLD, the same in every analysis of runs and stories."""
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


def gap_limit(plan: Study) -> tuple[str, float]:
    """The config section that holds `max_gap_s`, and its value."""
    section = next((name for name in ("design", "fit") if hasattr(plan.config, name)), "")
    return section, float(getattr(plan.config, section).max_gap_s) if section else 20.0


def runs_settings(plan: Study) -> dict[str, Any]:
    """Whose runs of which stories are analysed."""
    section = plan.config.dataset.model_dump(mode="json")
    return {"dataset": dataset_settings(section), "subjects": list(plan.subjects), "stories": list(plan.stories)}


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


def open_dataset(config: DatasetConfig) -> tuple[Dataset, str]:
    """The data set of a config, or its fallback where it is not available; and the name of what was opened."""
    from neurolm.datasets import load_dataset
    from neurolm.datasets.dataset import DatasetNotFound

    try:
        return load_dataset(config.name, **config.options), config.name
    except DatasetNotFound:
        if config.fallback is None:
            raise
        return load_dataset(config.fallback), config.fallback


def description(plan: Study) -> dict[str, Any]:
    """dataset_description.json of a BIDS derivative."""
    return {
        "Name": plan.config.title or "neurolm",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "neurolm", "Version": __version__}],
        "SourceDatasets": [{"Description": plan.dataset.info.description}],
    }
