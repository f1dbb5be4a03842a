"""Decoding of words from BOLD: the plan of a config, and its three stages.

fit        decoding/decoder.h5, fit.json: encoding model, noise, word rate, vocabulary of one subject
search     decoding/words.csv, words.TextGrid, search.json: what was decoded
evaluate   decoding/scores.csv, scores.json ..., report.html: scores with their nulls (see `decoding_files`)

An interrupted search resumes after its last finished word, null decodes after the last finished text, with the same bytes
in the end.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm import __version__
from neurolm.progress import progress, say, seconds_text
from neurolm.storage import content_hash, write_json
from neurolm.workflows.decoding_checks import check_models, estimate_decoding
from neurolm.workflows.decoding_files import read_words, write_evaluation, write_words
from neurolm.workflows.decoding_material import (
    Material,
    Models,
    judged_files,
    open_material,
    open_models,
    story_files,
    target_files,
    training_files,
)
from neurolm.workflows.output_folder import own_folder, write_if_new, write_workflow
from neurolm.workflows.stage_inputs import model_inputs, vocabularies
from neurolm.workflows.stages import Stage

if TYPE_CHECKING:
    from neurolm.decoding import BeamSearch, WordDecoder
    from neurolm.decoding.beam_search import SearchResult
    from neurolm.workflows.decoding_config import DecodingConfig

OF_THE_SEARCH = (  # settings of the decoder that what is learned does not depend on
    "mass",
    "ratio",
    "context_s",
    "min_context_words",
    "hop_s",
    "no_repeats",
    "first_words",
    "function_words",
    "beam_width",
    "extensions",
    "lm_weight",
)
FIT = ("subject", "simulated", "training", "test", "features", "seed", "device", "threads")
RECORDS = {"fit": "fit.json", "search": "search.json", "evaluate": "scores.json"}
SCORES = ("scores.csv", "windows.csv", "table.csv", "table.txt", "scores.json")


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

    def stages(self) -> list[Stage]:
        """Everything that is made, in order; each is learned from, or judged by, other files and settings."""
        config, settings = self.config, self._settings()
        decoder = config.settings()
        features, own = config.features, config.proposals
        learned = {k: v for k, v in settings["decoder"].items() if k not in OF_THE_SEARCH}
        fit = self._stage(
            "fit",
            ("decoder.h5", "fit.json"),
            f"{decoder.n_voxels} voxels, {features.model}",
            settings={**{key: settings[key] for key in FIT}, "decoder": learned},
            inputs=lambda: {**training_files(config), **model_inputs(features.model), **vocabularies(features.vocabulary)},
        )
        search = self._stage(
            "search",
            ("words.csv", "words.TextGrid", "search.json"),
            f"beam of {decoder.beam_width}",
            settings={key: settings[key] for key in (*FIT, "decoder", "proposals", "word_times")},
            inputs=lambda: {
                **target_files(config),
                **(story_files(config) if config.word_times == "true" else {}),
                **model_inputs(own.model),
                **vocabularies(own.vocabulary),
            },
            after=(fit,),
        )
        nulls = config.evaluation.nulls
        evaluate = self._stage(
            "evaluate",
            SCORES,
            f"{nulls.circular_shift} null decodes, {nulls.random_likelihood} random ones",
            settings={key: settings[key] for key in ("title", "evaluation", "seed", "device", "threads")},
            inputs=lambda: {**story_files(config), **judged_files(config)},
            after=(fit, search),
        )
        page = ("report.html", *evaluate.makes)
        return [fit, search, replace(evaluate, makes=page, draws=("figures/*",))]

    def _stage(self, name: str, makes: Iterable[str], what: str, **more: Any) -> Stage:
        made = tuple(f"decoding/{file}" for file in makes)
        function = partial(self._make, name)
        return Stage(
            name=name, rule=name, folder=self.output, makes=made, what=what, function=function, estimate=self.estimate, **more
        )

    def _make(self, name: str) -> None:
        result = getattr(self.opened, name)()
        write_json(self.output / "decoding" / RECORDS[name], {"neurolm": __version__, **result})

    def estimate(self) -> Iterator[str]:
        """Sizes and time, for a dry run."""
        return estimate_decoding(self.config)

    @cached_property
    def opened(self) -> Decoding:
        """Models, stories and BOLD, opened once for all stages."""
        return Decoding(self.config, self.output / "decoding")

    def _settings(self) -> dict[str, Any]:
        """The config, without where the data lie."""
        settings = self.config.model_dump(mode="json")
        if settings["training"] is not None:
            settings["training"]["options"].pop("folder", None)
        for name in ("folder", "segments", "rate_voxels") if settings["test"] is not None else ():
            settings["test"][name] = settings["test"][name] is not None
        return settings

    def write(self) -> None:
        """Lay the plan into the output folder; files whose content stands already are not touched."""
        write_if_new(self.output / "config.json", self.config.model_dump(mode="json"))
        write_workflow(self.output, self.config)


def make_decoding_plan(config: DecodingConfig, *, output: Path | None = None) -> DecodingPlan:
    """Settle where a decoding's results go."""
    folder = own_folder(Path(output or config.output).resolve(), config.analysis)
    return DecodingPlan(config.model_copy(update={"output": str(folder)}), folder)


class Decoding:
    """The stages of one config, with its models, stories and BOLD."""

    def __init__(self, config: DecodingConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        with progress("open") as report:
            self.models: Models = open_models(config, report)
            report(0, 1, "", "reading stories and BOLD")
            self.material: Material = open_material(config, self.models.states)
        for note in self.material.notes:
            say(note)
        check_models(config, self.models, self.material)

    def fit(self) -> dict[str, Any]:
        """Learn everything from the training stories."""
        import warnings

        from neurolm.decoding import WordDecoder

        decoder = WordDecoder(self.config.settings())
        with progress("fit") as report, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*of the targets chose the")  # voxels without signal do; they are left out
            decoder.fit(
                self.models.states,
                self.material.runs,
                self.material.stories,
                rate_voxels=self.material.rate_voxels,
                progress=report,
            )
        decoder.save(self.folder / "decoder.h5")
        chosen = decoder.scores_[decoder.voxels_]
        say(
            f"fit: {len(chosen)} of {len(decoder.scores_)} voxels, cross-validated R2 {chosen.min():.3f} to {chosen.max():.3f}; "
            f"{len(decoder.vocabulary_):,} words can be decoded"
        )
        return {
            "stories": list(decoder.stories_),
            "n_voxels": len(chosen),
            "lowest_r2_of_chosen": float(chosen.min()),
            "n_vocabulary": len(decoder.vocabulary_),
        }

    def search(self) -> dict[str, Any]:
        """Decode the run, noting every word as it is found."""
        search = self._open_search(self._decoder())
        times = self._word_times()
        journal = self.folder / f"journal-{content_hash(search.key(times))[:12]}"
        with progress("search") as report:
            found: SearchResult = search.search(times, journal=journal, progress=report)
        result = write_words(self.folder, found, end_s=float(self.material.run.tr_times[-1] + self.material.run.tr))
        shutil.rmtree(journal)
        rate = f", {len(times) / found.seconds:.1f} words/s" if found.seconds > 1 else ""
        say(f"search: {len(times)} words in {seconds_text(found.seconds)}{rate}: {' '.join(found.transcript.words[:12])} ...")
        if found.relaxed:
            rules = ", ".join(f"{rule} ({n})" for rule, n in sorted(Counter(found.relaxed.values()).items()))
            say(f"NOTE: at {len(found.relaxed)} words no hypothesis had a candidate, so a rule was eased: {rules}.")
        return result

    def evaluate(self) -> dict[str, Any]:
        """Judge the decoded words beside null decodes, and write the report."""
        from neurolm.decoding import evaluate_decode

        own, kept = self.config.evaluation, self.folder / "nulls"
        embedding, notes = self._embedding()
        for note in notes:
            say(note)
        search = self._open_search(self._decoder())
        with progress("evaluate") as report:
            evaluation = evaluate_decode(
                search,
                read_words(self.folder),
                self.material.story,
                n_nulls=own.nulls.circular_shift,
                n_random=own.nulls.random_likelihood,
                min_shift_s=own.nulls.min_shift_s,
                scores=[name for name in own.scores if name not in ("bertscore", "embedding")],
                embedding=embedding,
                window_s=own.window_s,
                step_s=own.step_s,
                segment=self.material.segment,
                with_ranks=own.teacher_forced,
                rng=self.config.seed,
                folder=kept,
                progress=report,
            )
        result = write_evaluation(
            self.folder, evaluation, self.config, (*self.material.notes, *notes), self.material.is_simulated
        )
        shutil.rmtree(kept, ignore_errors=True)
        return result

    def _decoder(self) -> WordDecoder:
        from neurolm.decoding import WordDecoder

        decoder = WordDecoder.load(self.folder / "decoder.h5")
        decoder.settings = self.config.settings()  # those of the search may have changed since it was learned
        return decoder

    def _open_search(self, decoder: WordDecoder) -> BeamSearch:
        with progress("likelihood") as report:
            report(0, 1, "", "folding voxels into the features")
            device = str(self.models.states.lm.device)
            return decoder.search(self.models.proposer, self.models.states, self.material.run, device=device)

    def _word_times(self) -> Any:
        """Times of the words to decode, in the part that is judged and its surroundings: the whole run."""
        if self.config.word_times == "true":
            return self.material.story.mid_times
        return self._decoder().word_times(self.material.run)

    def _embedding(self) -> tuple[Any, list[str]]:
        """Recall by embeddings as the config asks for it, and what stands in for it where an encoder is not available."""
        from neurolm.checks import InputError
        from neurolm.decoding import EmbeddingRecall, LanguageModelEncoder, TransformersEncoder, idf_weights

        asked = {"bertscore", "embedding"} & set(self.config.evaluation.scores)
        if not asked:
            return None, []
        states, notes = self.models.states, []
        encoder: Any = LanguageModelEncoder(states.lm, self.config.features.layer)
        if "bertscore" in asked:
            try:
                encoder = TransformersEncoder(device=str(states.lm.device))
            except InputError as error:
                notes.append(f"NOTE: no BERTScore here: {error} Recall by {encoder.name} stands in, labelled so.")
        sentences = [story.words[i : i + 20] for story in self.material.stories for i in range(0, len(story), 20)]
        return EmbeddingRecall(encoder, idf_weights(encoder, sentences)), notes
