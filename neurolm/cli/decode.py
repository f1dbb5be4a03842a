"""`neurolm decode CONFIG`: from BOLD back to words, in three stages that leave whole files.

fit        decoding/decoder.h5, fit.json: encoding model, noise, word rate, vocabulary of one listener
search     decoding/words.csv, words.TextGrid, search.json: what was decoded
evaluate   decoding/scores.csv, scores.json ..., report.html: how good that is, beside nulls (see decode_files)

A stage whose files stand and fit the config is reused. A search that was killed goes on after its last
finished word, null decodes after the last finished text, with the same bytes in the end.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolm import __version__
from neurolm.checks import check_choice
from neurolm.cli.analysis_folder import lay_plan
from neurolm.cli.main import app
from neurolm.cli.preflight import preflight
from neurolm.cli.stages import check_before, is_current, making, say_states
from neurolm.cli.terminal import progress, say, seconds_text
from neurolm.storage import content_hash, write_json

if TYPE_CHECKING:
    from neurolm.cli.decode_material import Material, Models
    from neurolm.cli.decoding_plan import DecodingPlan
    from neurolm.decoding import BeamSearch, WordDecoder
    from neurolm.decoding.beam_search import SearchResult

STAGES = ("fit", "search", "evaluate")
RECORDS = {"fit": "fit.json", "search": "search.json", "evaluate": "scores.json"}


@app.command(epilog="Example: neurolm decode configs/decode_simulated.yaml    (again after a kill: the same command)")
def decode(
    config: Annotated[str, typer.Argument(help="A config with analysis: decoding or identification, or its name.")],
    stage: Annotated[str, typer.Option(help="fit, search or evaluate alone; all: one after the other.")] = "all",
    output: Annotated[Path | None, typer.Option(help="Folder for the results, instead of the config's.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda, instead of the config's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the config's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say sizes and an estimate of time; compute nothing.")] = False,
) -> None:
    """Decode words from BOLD and judge them, or tell which stretch of a story was heard."""
    import torch

    from neurolm.cli.decode_config import DecodingConfig, read_decode_config
    from neurolm.cli.decoding_plan import make_decoding_plan, plan_for
    from neurolm.cli.kinds import with_options
    from neurolm.cli.run import find_config

    check_choice("stage", stage, (*STAGES, "all"))
    settings: Any = read_decode_config(find_config(config))
    given = {"device": device, "seed": seed, "output": None if output is None else str(output)}
    settings = with_options(settings, **given)
    torch.set_num_threads(settings.threads)
    preflight(plan_for(settings), is_dry=dry_run)
    if not isinstance(settings, DecodingConfig):
        from neurolm.cli.identify import identify_listeners

        identify_listeners(settings, dry_run=dry_run)
    elif dry_run:
        from neurolm.cli.decode_plan import say_plan

        plan = make_decoding_plan(settings)
        say_states(plan.output, plan.stages())
        say_plan(settings)
    else:
        Decoding(make_decoding_plan(settings)).carry_out(STAGES if stage == "all" else (stage,))


class Decoding:
    """One config being carried out."""

    def __init__(self, plan: DecodingPlan) -> None:
        self.plan, self.config, self.stages = plan, plan.config, {stage.name: stage for stage in plan.stages()}
        self.folder = plan.output / "decoding"

    def carry_out(self, stages: tuple[str, ...]) -> None:
        """Run the stages that are asked for and not done yet."""
        is_open = False
        for name in stages:
            stage = self.stages[name]
            if is_current(stage):
                say(f"{name}: there already, and fits the config")
                continue
            check_before(stage, "Run `neurolm decode CONFIG --stage {stage}` first.")
            lay_plan(self.plan)
            with making(stage):
                if not is_open:
                    self.open()
                is_open = True
                result = getattr(self, name)()
                write_json(self.folder / RECORDS[name], {"neurolm": __version__, **result})

    def open(self) -> None:
        """Load models, stories and BOLD, and refuse early what could not be judged later."""
        from neurolm.cli.decode_checks import check_models
        from neurolm.cli.decode_material import open_material, open_models

        with progress("open") as report:
            self.models: Models = open_models(self.config, report)
            report(0, 1, "", "reading stories and BOLD")
            self.material: Material = open_material(self.config, self.models.states)
        for note in self.material.notes:
            say(note)
        check_models(self.config, self.models, self.material)

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
        from neurolm.cli.decode_files import write_words

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
        from neurolm.cli.decode_files import read_words, write_evaluation
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
        """Recall by embeddings as the config asks for it, and what stands in for it where an encoder is not at hand."""
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
