"""The low-level features of an analysis: columns of the words, and what the data set publishes at TR times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm.features.low_level import LOW_LEVEL, LowLevelWords

if TYPE_CHECKING:
    from neurolm.encoding import LowLevel
    from neurolm.features import LogFrequency
    from neurolm.workflows.prepared_runs import HeardStories
    from neurolm.workflows.stage_inputs import Inputs


def low_level_features(plan: Any, heard: HeardStories) -> LowLevel | None:
    """What `encode.low_level` asks for of the runs that are fitted; columns that the data set does not have are left out."""
    from neurolm.encoding import LowLevel

    asked, frequency = plan.config.encode.low_level, word_frequency(plan)
    published = [plan.dataset.regressors_of(story) for story in heard.stories] if _publishes(plan) else []
    at_trs = [name for name in asked if published and all(name in one.values for one in published)]
    if frequency is not None:
        at_trs = [name for name in at_trs if name != "frequency"]
    of_words = [name for name in asked if name not in (*at_trs, "sound") and (name != "frequency" or frequency is not None)]
    if not of_words:
        return None
    space = LowLevelWords(of_words, frequency)
    runs = next(iter(heard.runs.values()))
    return LowLevel(
        words=[space.extract(plan.dataset.transcript(story)) for story in heard.stories],
        names=tuple(LOW_LEVEL[name] for name in (*of_words, *at_trs)),
        regressors=[one.at(run.tr_times, at_trs) for one, run in zip(published, runs, strict=True)] if at_trs else None,
    )


def word_frequency(plan: Any) -> LogFrequency | None:
    """Counts of the words in `encode.frequency_corpus`, where frequency is asked for."""
    from neurolm.features import LogFrequency

    encode = plan.config.encode
    if encode.frequency_corpus is None or "frequency" not in encode.low_level:
        return None
    return LogFrequency.from_corpus(encode.frequency_corpus)


def low_level_files(plan: Any) -> Inputs:
    """What is read for low-level features beside the words."""
    from neurolm.workflows.stage_inputs import files_of

    encode, found = plan.config.encode, {}
    if _publishes(plan) and {"sound", "frequency"} & set(encode.low_level):
        found = files_of(plan.dataset, (path for story in plan.stories for path in plan.dataset.regressor_files(story)))
    if encode.frequency_corpus is not None and "frequency" in encode.low_level:
        found["frequency_corpus"] = Path(encode.frequency_corpus)
    return found


def _publishes(plan: Any) -> bool:
    return hasattr(plan.dataset, "regressors_of")
