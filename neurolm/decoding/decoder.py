"""Everything that decoding learns from the training stories of one listener, in one object and one file.

decoder = WordDecoder(settings).fit(feature_space, runs, stories)
decoder.save("decoder.h5")
result = decoder.search(lm, run).search(decoder.word_times(run), journal="decode")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from neurolm.brain import BoldRun, Space, Unplaced
from neurolm.brain.space import space_arrays, space_from_arrays, space_hash
from neurolm.checks import bad, check_same_length
from neurolm.decoding.beam_search import BeamSearch
from neurolm.decoding.lexicon import FIRST_WORDS, check_first_words, vocabulary_of
from neurolm.decoding.likelihood import ResponseLikelihood, check_held_out, mean_word_vector
from neurolm.decoding.noise_model import NoiseModel, select_voxels
from neurolm.decoding.proposals import WordProposals
from neurolm.decoding.word_rate import WordRateModel
from neurolm.encoding import Design, EncodingData, RidgeCV
from neurolm.encoding.crossval import without_repeats
from neurolm.encoding.ridge.ridge_cv import check_alphas
from neurolm.lm.language_model import LanguageModel
from neurolm.progress import Progress, silent
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import read_h5_of, write_h5

FORMAT = "neurolm word decoder 1"


@dataclass(frozen=True)
class DecoderSettings:
    """What is chosen before anything is learned; the values are those of Tang et al. (2023).

    Parameters
    ----------
    delays : in TRs, see `Design.from_training`
    max_gap_s : longest rest (s) in the scan before the first word and after the last one
    alphas : penalties (their published grid, 10 ... 1000, enters squared)
    n_voxels : how many voxels, the best by cross-validated score, are decoded from
    n_bootstraps, chunk_trs, held_out_share : folds that choose penalties and voxels, see `chunk_bootstraps`
    shrinkage, n_factors : see `NoiseModel`
    min_count : words that occur so often in the training stories can be decoded
    mass, ratio, context_s, min_context_words, hop_s, no_repeats : see `WordProposals`
    first_words : what a decoded text may begin with; null: i, we, she, he, they, it, as published
    function_words : words that may recur within a few seconds; null: an English list
    beam_width, extensions, lm_weight : see `BeamSearch`
    seed : of the folds
    """

    delays: tuple[int, ...] = (1, 2, 3, 4)
    max_gap_s: float = 20.0
    alphas: tuple[float, ...] = tuple((np.logspace(1, 3, 10) ** 2).tolist())
    n_voxels: int = 10_000
    n_bootstraps: int = 50
    chunk_trs: int = 40
    held_out_share: float = 0.2
    shrinkage: float = 2 / 3
    n_factors: int | None = None
    min_count: int = 2
    mass: float = 0.9
    ratio: float = 0.1
    context_s: float = 8.0
    min_context_words: int = 5
    hop_s: float = 0.0
    no_repeats: bool = True
    first_words: tuple[str, ...] | None = None
    function_words: tuple[str, ...] | None = None
    beam_width: int = 200
    extensions: int = 5
    lm_weight: float = 0.0
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("n_voxels", "n_bootstraps", "chunk_trs", "min_count", "min_context_words", "beam_width", "extensions"):
            if getattr(self, name) < 1:
                raise bad(name, "be at least 1", getattr(self, name))
        if self.seed < 0:
            raise bad("seed", "be at least 0", self.seed)
        if not self.context_s > 0 or not self.hop_s >= 0:
            raise bad("context_s and hop_s", "be above 0 s and at least 0 s", (self.context_s, self.hop_s))
        for name in ("held_out_share", "mass", "ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise bad(name, "lie in (0, 1]", getattr(self, name))
        if not 0 <= self.shrinkage <= 1:
            raise bad("shrinkage", "lie in [0, 1]", self.shrinkage)
        if not self.delays or min(self.delays) < 0:
            raise bad("delays", "be TRs >= 0, at least one", self.delays, "Delays are in TRs, not in seconds.")
        check_alphas(self.alphas)

    def vocabulary(self, stories: Sequence[Transcript]) -> frozenset[str]:
        """Words that can be decoded after training on these stories.

        Raises
        ------
        InputError
            If no word occurs `min_count` times, or a text could begin with none of them.
        """
        found = vocabulary_of([story.words for story in stories], self.min_count)
        counts = Counter(word for story in stories for word in story.words if word in found)
        check_first_words(
            FIRST_WORDS if self.first_words is None else self.first_words, found, [word for word, _ in counts.most_common(5)]
        )
        return found

    def proposals(self, lm: LanguageModel, vocabulary: Collection[str], **more: Any) -> WordProposals:
        """What a language model may propose, of a vocabulary."""
        names = ("mass", "ratio", "context_s", "min_context_words", "hop_s", "no_repeats")
        chosen: dict[str, Any] = {name: getattr(self, name) for name in names}
        for name in ("first_words", "function_words"):
            if getattr(self, name) is not None:
                chosen[name] = getattr(self, name)
        return WordProposals(lm, vocabulary, **(chosen | more))

    def check_length(self, n_trs: int) -> None:
        """Refuse chunks that leave nothing to fit in `n_trs` rows of training."""
        chunk_bootstraps(n_trs, 1, self.chunk_trs, self.held_out_share, np.random.default_rng(0))


class WordDecoder:
    """Encoding model, noise, word rate and vocabulary of one listener.

    Parameters
    ----------
    settings : DecoderSettings

    Attributes
    ----------
    design_ : Design
    voxels_ : (n_voxels,) columns of the BOLD that are decoded from, sorted
    coef_ : (n_delays * n_features, n_voxels) float32
    noise_ : NoiseModel of these voxels
    word_rate_ : WordRateModel
    blank_ : (n_features,) mean word vector of the training stories
    vocabulary_ : frozenset of str
    stories_ : tuple of str, what was learned from
    space_ : Space of the whole BOLD
    scores_ : (n_voxels_of_the_brain,) cross-validated R2 by which voxels were chosen
    """

    def __init__(self, settings: DecoderSettings | None = None) -> None:
        self.settings = settings or DecoderSettings()

    def fit(
        self,
        feature_space: Any,
        runs: Sequence[BoldRun],
        stories: Sequence[Transcript],
        *,
        rate_voxels: Any = None,
        progress: Progress = silent,
    ) -> WordDecoder:
        """Learn from runs and the stories heard in them.

        Parameters
        ----------
        feature_space : FeatureSpace
        runs : sequence of BoldRun
            Z-scored by voxel, of one listener, at least two.
        stories : sequence of Transcript
        rate_voxels : array of int, optional
            Columns from which the word rate is predicted; default: the decoded voxels.
        """
        check_same_length("runs", len(runs), "stories", len(stories), "Give one story for each run.")
        s = self.settings
        self.vocabulary_ = s.vocabulary(stories)
        s.check_length(sum(run.n_trs for run in runs))
        features = []
        for i, story in enumerate(stories):
            features.append(feature_space.extract(story))
            progress(i + 1, len(stories), "stories read")
        design = Design.from_training(features, runs, s.delays, max_gap_s=s.max_gap_s)
        data = design.stack(features, runs, max_gap_s=s.max_gap_s)
        ridge = RidgeCV(s.alphas, cv=self._folds(data), scoring="r2").fit(data.X, data.Y, progress=progress)
        self.scores_ = ridge.cv_scores_.max(axis=0)
        self.voxels_ = select_voxels(self.scores_, min(s.n_voxels, int(np.isfinite(self.scores_).sum())))
        self.coef_ = ridge.coef_[:, self.voxels_].astype(np.float32)
        self.noise_ = self._noise(data, ridge.best_alphas_[self.voxels_])
        self.design_, self.space_ = design, runs[0].space
        self.blank_ = mean_word_vector(features)
        columns = self.voxels_ if rate_voxels is None else np.asarray(rate_voxels)
        self.word_rate_ = WordRateModel(voxels=columns, alphas=s.alphas).fit(runs, stories)
        self.stories_ = tuple(run.story or story.name for run, story in zip(runs, stories))
        self.features_ = dict(feature_space.settings())
        return self

    def likelihood(self, feature_space: Any, run: BoldRun, *, device: str = "cpu") -> ResponseLikelihood:
        """The likelihood of a run that was not learned from.

        Raises
        ------
        InputError
            If the run has other voxels, tells a story that was learned from, or the features are others.
        """
        self._check_fitted()
        if space_hash(run.space) != space_hash(self.space_):
            raise bad(
                "voxels of the BOLD", "be those of training", f"{run.n_voxels} voxels at other places", "Use the same mask."
            )
        if feature_space.settings() != self.features_:
            raise bad("feature_space", "be that of training", feature_space.settings(), f"Training had {self.features_}.")
        check_held_out(run.story, self, self.stories_)
        part = BoldRun(run.data[:, self.voxels_], run.tr_times, self._part_space, run.subject, run.story)
        model = SimpleNamespace(coef_=self.coef_, space_=self._part_space)
        return ResponseLikelihood(model, self.noise_, self.design_, feature_space, part, blank=self.blank_, device=device)

    def word_times(self, run: BoldRun) -> np.ndarray:
        """Word times (s) told from the run; see `WordRateModel.predict_times`."""
        self._check_fitted()
        return self.word_rate_.predict_times(run)

    def proposals(self, lm: LanguageModel, **more: Any) -> WordProposals:
        """What the language model may propose, with this decoder's settings and vocabulary."""
        return self.settings.proposals(lm, self.vocabulary_, **more)

    def search(self, lm: LanguageModel, feature_space: Any, run: BoldRun, *, device: str = "cpu", **more: Any) -> BeamSearch:
        """The beam search in a run, with this decoder's settings."""
        s = self.settings
        likelihood = self.likelihood(feature_space, run, device=device)
        return BeamSearch(self.proposals(lm), likelihood, s.beam_width, extensions=s.extensions, lm_weight=s.lm_weight, **more)

    def save(self, path: str | Path) -> None:
        """Write everything to one HDF5 file, as a whole and without pickle."""
        self._check_fitted()
        arrays: dict[str, np.ndarray] = {
            "coef": self.coef_,
            "voxels": self.voxels_,
            "blank": self.blank_,
            "scores": self.scores_,
            "vocabulary": np.array(sorted(self.vocabulary_)),
        }
        attributes: dict[str, Any] = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "stories": list(self.stories_),
            "features": self.features_,
        }
        for own_arrays, own_attributes in (self.design_.to_arrays(), self.noise_.to_arrays(), self.word_rate_.to_arrays()):
            arrays |= own_arrays
            attributes |= own_attributes
        space, space_attributes = space_arrays(self.space_)
        write_h5(path, arrays | space, attributes | {"space": space_attributes})

    @classmethod
    def load(cls, path: str | Path) -> WordDecoder:
        """Read what `save` wrote.

        Raises
        ------
        FileError
            If the file is missing, cut short or something else.
        """
        arrays, attributes = read_h5_of(path, FORMAT, "Save one with WordDecoder.save.")
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes["settings"].items()}
        decoder = cls(DecoderSettings(**kept))
        decoder.coef_, decoder.voxels_, decoder.blank_ = arrays["coef"], arrays["voxels"], arrays["blank"]
        decoder.scores_ = arrays["scores"]
        decoder.vocabulary_ = frozenset(str(word) for word in arrays["vocabulary"])
        decoder.stories_, decoder.features_ = tuple(attributes["stories"]), attributes["features"]
        decoder.design_ = Design.from_arrays(arrays, attributes)
        decoder.noise_ = NoiseModel.from_arrays(arrays, attributes)
        decoder.word_rate_ = WordRateModel.from_arrays(arrays, attributes)
        decoder.space_ = space_from_arrays(arrays, attributes["space"])
        return decoder

    @property
    def _part_space(self) -> Space:
        return Unplaced("the decoded voxels", len(self.voxels_))

    def _folds(self, data: EncodingData) -> list[tuple[np.ndarray, np.ndarray]]:
        s, n = self.settings, len(data.X)
        folds = chunk_bootstraps(n, s.n_bootstraps, s.chunk_trs, s.held_out_share, np.random.default_rng(s.seed))
        return without_repeats(folds, data.run_onsets, n, data.run_groups)

    def _noise(self, data: EncodingData, alphas: np.ndarray) -> NoiseModel:
        noise = NoiseModel(self.settings.shrinkage, self.settings.n_factors)
        noise.fit(data.X, data.Y[:, self.voxels_], run_onsets=data.run_onsets, alphas=alphas, run_groups=data.run_groups)
        noise.factors_ = noise.factors_.astype(np.float32)  # as it is kept: a saved decoder gives the same numbers
        noise.check_positive_definite()
        return noise

    def _check_fitted(self) -> None:
        if not hasattr(self, "coef_"):
            raise bad(
                "this WordDecoder", "be fitted first", "no weights", "Call fit(feature_space, runs, stories) or load(path)."
            )


def chunk_bootstraps(
    n_trs: int, n_bootstraps: int, chunk_trs: int, held_out_share: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds that hold out randomly chosen chunks of contiguous TRs, again in every bootstrap.

    Of the whole chunks of `chunk_trs` rows, ceil(held_out_share * n_trs / chunk_trs) are held out (published:
    a fifth, in chunks of 40 TRs, 50 times). Rows past the last whole chunk are always fitted. There
    is no gap around chunks, as published: rows next to a held-out chunk share its BOLD for about
    10 s, so that scores are a little optimistic.
    """
    n_chunks = n_trs // chunk_trs
    n_held_out = int(np.ceil(held_out_share * n_trs / chunk_trs))
    if not 1 <= n_held_out < n_chunks:
        raise bad("chunk_trs", f"leave chunks to fit of {n_trs} TRs", chunk_trs, "Take shorter chunks or more runs.")
    rows = np.arange(n_trs)
    folds = []
    for _ in range(n_bootstraps):
        chosen = np.sort(rng.permutation(n_chunks)[:n_held_out])
        test = (chosen[:, None] * chunk_trs + np.arange(chunk_trs)).reshape(-1)
        folds.append((np.setdiff1d(rows, test), test))
    return folds
