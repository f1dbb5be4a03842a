"""How likely a BOLD run is under a sequence of words, without ever touching a voxel.

With predictions X W, noise precision P and the design's affine form, everything that depends on
voxels collapses into two matrices that are made once:

    K = V P V'  (n_delays * n_features squared)      V = W with the design's 1 / std folded in
    C = Y P V'  (n_trs, n_delays * n_features)

Put a word's feature vector e in place of the blank m of an undecoded word, u = e - m. Then

    log L = c + b.u - u Q u' / 2
    Q = sum over delays d, d' of (sum_t a[d,t] a[d',t]) K[d,d']       the same for every hypothesis
    b = -sum over t, d of a[d,t] g[t,d],   g = psi K - C              one vector for each hypothesis

with a the word's column of `Design.matrix` and psi the hypothesis's own delayed features, centred.
Nothing is approximated. The constant c is the same for all hypotheses of a beam as long as the score
runs on from word to word, so no affected TRs have to be found (Tang et al. 2023 recompute the
whole stimulus, every prediction and every residual for each candidate).

Letters: H hypotheses, N words of the story, U distinct feature vectors, D delays, F features.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from neurolm.arrays import to_numpy
from neurolm.brain import BoldRun
from neurolm.brain.space import space_hash
from neurolm.checks import bad, check_finite, check_same_length
from neurolm.encoding import Design
from neurolm.storage import content_hash

ROWS_AT_ONCE = 4096  # candidate vectors in one product: bounds memory, changes nothing else


class Noise(Protocol):
    """What the likelihood needs of a noise model."""

    def multiply_precision(self, rows: np.ndarray) -> np.ndarray:
        """rows @ P for rows of shape (n, n_voxels), P the inverse of the noise covariance."""
        ...


class ResponseLikelihood:
    """The likelihood of one run's BOLD under any words, as small matrices.

    Parameters
    ----------
    model : fitted encoding model
        Has `coef_` of shape (n_delays * n_features, n_voxels), delay-major; `intercept_` is used where there is one.
    noise : NoiseModel or None
        Residual covariance of the same voxels. None takes white noise of unit variance.
    design : Design
        The very object that made the model's training matrix.
    feature_space : FeatureSpace
        What makes the features of a word; kept for the search, which asks it for candidates.
    run : BoldRun
        The run to decode: the model's voxels, in the model's order.
    blank : array of shape (n_features,), optional
        Feature vector of a word that is not decoded yet. The published choice is the mean word
        vector of the training stories (`mean_word_vector`). Default: the vector which, repeated at
        the story's own word times, keeps the design at its training mean.
    voxels : array of int, optional
        Columns of model and BOLD to decode from (`select_voxels`); the noise model's are these. All
        by default.
    training_stories : sequence of str
        Names of the stories that the model was fitted on, besides those that an `EncodingModel`
        knows itself; decoding one of them is refused.
    device : str or torch.device
        Sums run in float64 there.

    References
    ----------
    Tang, LeBel, Jain & Huth (2023), Nature Neuroscience 26:858-866.
    """

    def __init__(
        self,
        model: Any,
        noise: Noise | None,
        design: Design,
        feature_space: Any,
        run: BoldRun,
        *,
        blank: Any = None,
        voxels: Any = None,
        training_stories: Any = (),
        device: str | torch.device = "cpu",
    ) -> None:
        _check_fit(model, design, run)
        check_held_out(run.story, model, training_stories)
        columns = slice(None) if voxels is None else np.asarray(voxels)
        coef = to_numpy(model.coef_)[:, columns].astype(np.float64)
        check_finite("coef_ of the decoded voxels", coef, "Leave constant and NaN voxels out when voxels are selected.")
        intercept = np.broadcast_to(to_numpy(getattr(model, "intercept_", 0.0)), run.n_voxels)[columns].astype(np.float64)
        responses = run.data[:, columns].astype(np.float64) - intercept
        check_finite("BOLD of the decoded voxels", responses, "Leave constant and NaN voxels out when voxels are selected.")
        self.design, self.feature_space, self.run = design, feature_space, run
        self.n_delays, self.n_features = len(design.delays), design.n_features
        self.device = torch.device(device)
        self.blank = None if blank is None else self._check_blank(blank)
        folded = coef / np.tile(design.std, self.n_delays)[:, None]  # (D * F, V)
        weighted = folded if noise is None else noise.multiply_precision(folded)
        gram = weighted @ folded.T
        self.gram = self._tensor((gram + gram.T) / 2)  # K
        self.cross = self._tensor(responses @ weighted.T)  # C
        whitened = responses if noise is None else noise.multiply_precision(responses)
        self.energy = self._tensor((whitened * responses).sum(axis=1))  # y P y', one for each TR

    @property
    def n_trs(self) -> int:
        return len(self.cross)

    def shifted(self, n_trs: int) -> ResponseLikelihood:
        """The same run with its BOLD rolled forward by `n_trs` in a circle: the null of decoding."""
        other = object.__new__(ResponseLikelihood)
        other.__dict__.update(self.__dict__)
        other.cross = torch.roll(self.cross, n_trs, dims=0)
        other.energy = torch.roll(self.energy, n_trs, dims=0)
        other.run = self.run.with_data(np.roll(self.run.data, n_trs, axis=0))
        return other

    def start(self, word_times: Any) -> RunningScore:
        """The score of no words at all, ready to take candidates for the first of `word_times` (s)."""
        return RunningScore(self, np.asarray(word_times, dtype=np.float64))

    def log_likelihood(self, values: Any, word_times: Any) -> float:
        """Log-likelihood of the whole run under these words, up to the noise's own constant.

        Parameters
        ----------
        values : array of shape (n_words, n_features)
        word_times : array of shape (n_words,)
            Middles of the words, in seconds.

        Returns
        -------
        float
            -1/2 sum over TRs of residual P residual'. Comparable between any texts of the same run.
        """
        check_same_length("values", len(values), "word_times", len(word_times))
        psi = self._psi(self._tensor(to_numpy(values)), self._weights(word_times), word_times)
        quadratic = ((psi @ self.gram - 2 * self.cross) * psi).sum() + self.energy.sum()
        return float(-quadratic / 2)

    def content_hash(self) -> str:
        """Equal for likelihoods that give equal numbers."""
        return content_hash("likelihood", self.gram, self.cross, self.run.tr_times, self.design.content_hash(), self.blank)

    def log_likelihood_of(self, transcript: Any) -> float:
        """`log_likelihood` of a transcript, with features from the feature space."""
        features = self.feature_space.extract(transcript)
        return self.log_likelihood(features.values, features.times)

    def blank_for(self, word_times: Any) -> torch.Tensor:
        """(F,) the vector of an undecoded word in a story with these word times."""
        if self.blank is not None:
            return self.blank
        words_per_tr = float(self._weights(word_times).sum(2)[self._known(word_times)].mean())
        if words_per_tr <= 0:
            raise bad("word_times", "put at least one word into the run", word_times, "The word rate found no words.")
        return self._tensor(self.design.mean) / words_per_tr

    def _weights(self, word_times: Any) -> torch.Tensor:
        """(D, T, N): the word's share in each delayed row."""
        return self._tensor(self.design.matrix(word_times, self.run.tr_times)) * self._known(word_times)[..., None]

    def _known(self, word_times: Any) -> torch.Tensor:
        """(D, T) bool: whether the stimulus is known that a row sees at a delay.

        A run that begins in the middle of a story has rows that respond to words before it. Where no such words are given,
        the design has its training mean there, as the published decoder has it, instead of silence.
        """
        times = np.asarray(self.run.tr_times)
        seen = times - self.design.tr * np.asarray(self.design.delays)[:, None]  # (D, T) story time
        is_unknown = (seen >= 0) & (seen < times[0]) & (not (np.asarray(word_times) < times[0]).any())
        return torch.as_tensor(~is_unknown, device=self.device)

    def _psi(self, values: torch.Tensor, weights: torch.Tensor, word_times: Any) -> torch.Tensor:
        """(T, D * F) delayed features of a text, centred but not scaled: the scale is in K and C."""
        delayed = weights @ values - self._known(word_times)[..., None] * self._tensor(self.design.mean)  # (D, T, F)
        return delayed.permute(1, 0, 2).reshape(self.n_trs, -1)

    def _tensor(self, array: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array, dtype=np.float64), device=self.device)

    def _check_blank(self, blank: Any) -> torch.Tensor:
        check_same_length("blank", len(blank), "the features of the design", self.n_features)
        check_finite("blank", to_numpy(blank))
        return self._tensor(to_numpy(blank))


class RunningScore:
    """Scores of all hypotheses of a beam, carried from word to word.

    Only `g` is kept for each hypothesis, on the TRs that the current word touches; rows that no
    later word can touch are dropped.
    """

    def __init__(self, likelihood: ResponseLikelihood, word_times: np.ndarray) -> None:
        weights = likelihood._weights(word_times)
        self.first, self.last = _support(to_numpy(weights))
        self.weights = weights  # (D, T, N)
        self.n_words = weights.shape[2]
        self.blank = likelihood.blank_for(word_times)  # (F,)
        psi = likelihood._psi(self.blank.expand(self.n_words, -1), weights, word_times)
        self.g_blank = (psi @ likelihood.gram - likelihood.cross).unflatten(1, (likelihood.n_delays, -1))  # (T, D, F)
        self.gram = likelihood.gram.unflatten(0, (likelihood.n_delays, -1))  # (D, F, D * F)
        self.base = -0.5 * float(((psi @ likelihood.gram - 2 * likelihood.cross) * psi).sum() + likelihood.energy.sum())
        self.word = 0
        self.scores = weights.new_zeros(1)  # (H,) relative to the all-blank text
        self.change = weights.new_zeros(1, self._n_rows(0), likelihood.n_delays, likelihood.n_features)  # g - g_blank

    @property
    def n_hypotheses(self) -> int:
        return len(self.scores)

    def score(self, vectors: torch.Tensor, which: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
        """Log-likelihood of every candidate for the current word, relative to the all-blank text.

        Parameters
        ----------
        vectors : (U, F)
            The distinct feature vectors of this step.
        which : (n_candidates,) int64
            Row of `vectors` that belongs to each candidate.
        parents : (n_candidates,) int64
            Hypothesis that each candidate extends.

        Returns
        -------
        (n_candidates,) float64
        """
        u = vectors.to(self.blank) - self.blank
        quadratic, linear = self._quadratic(u), self._linear()
        scores = self.scores[parents]
        for start in range(0, len(which), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            rows = which[part]
            scores[part] += (linear[parents[part]] * u[rows]).sum(1) - quadratic[rows] / 2
        return scores

    def commit(self, scores: torch.Tensor, vectors: torch.Tensor, which: torch.Tensor, parents: torch.Tensor) -> None:
        """Keep these candidates as the hypotheses of the next word; arguments as for `score`, scores as it gave them."""
        kept, row = torch.unique(which, return_inverse=True)
        added = self._push(vectors[kept], self.weights[:, self.first[self.word] : self.last[self.word], self.word])
        self.change = self.change[parents] + added[row]
        self.scores = scores.clone()
        self._advance()

    def oldest_needed(self, word: int) -> int:
        """The first word that still acts on a TR which word `word` or a later one touches."""
        if word >= self.n_words:
            return self.n_words
        return int(np.searchsorted(self.last[:word], self.first[word], side="right"))

    def resume(self, word: int, scores: torch.Tensor, vectors: dict[int, torch.Tensor]) -> None:
        """Take up a search before word `word`, without scoring the earlier ones again.

        Parameters
        ----------
        scores : (H,) as `score` gave them for the hypotheses that were kept
        vectors : for each earlier word from `oldest_needed(word)` on, (H, F) of the present hypotheses
        """
        self.word = word
        self.scores = scores.to(self.scores)
        if self.word >= self.n_words:
            return
        begin, end = int(self.first[self.word]), int(self.last[self.word])
        self.change = self.change.new_zeros(len(scores), end - begin, *self.change.shape[2:])
        for earlier in sorted(vectors):
            self.change += self._push(vectors[earlier], self.weights[:, begin:end, earlier])

    def _push(self, vectors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """(U, T', D, F): what words of these vectors add to g, for weights (D, T') of some TRs."""
        u = vectors.to(self.blank) - self.blank
        pushed = torch.matmul(u, self.gram)  # (D, U, D * F): for each delay, before its weight
        return torch.einsum("dt,duf->utf", weights, pushed).unflatten(2, (len(weights), -1))

    def _advance(self) -> None:
        """Move the window of rows on to the next word."""
        self.word += 1
        if self.word >= self.n_words:
            return
        dropped = int(self.first[self.word] - self.first[self.word - 1])
        kept = self.change[:, dropped:]
        missing = self._n_rows(self.word) - kept.shape[1]
        if missing > 0:
            kept = torch.cat([kept, kept.new_zeros(len(kept), missing, *kept.shape[2:])], dim=1)
        self.change = kept.contiguous()

    def _n_rows(self, word: int) -> int:
        return int(self.last[word] - self.first[word]) if self.n_words else 0

    def _own_weights(self) -> torch.Tensor:
        return self.weights[:, self.first[self.word] : self.last[self.word], self.word]

    def _linear(self) -> torch.Tensor:
        """(H, F): b of every hypothesis."""
        rows = slice(int(self.first[self.word]), int(self.last[self.word]))
        weights = self._own_weights()
        blank = torch.einsum("dt,tdf->f", weights, self.g_blank[rows])
        return -(blank + torch.einsum("dt,htdf->hf", weights, self.change))

    def _quadratic(self, u: torch.Tensor) -> torch.Tensor:
        """(U,): u Q u'."""
        weights = self._own_weights()
        overlap = weights @ weights.T  # (D, D)
        blocks = self.gram.unflatten(2, (len(weights), -1))  # (D, F, D, F)
        Q = torch.stack([torch.matmul(row, block) for row, block in zip(overlap, blocks)]).sum(0)
        parts = [((u[i : i + ROWS_AT_ONCE] @ Q) * u[i : i + ROWS_AT_ONCE]).sum(1) for i in range(0, len(u), ROWS_AT_ONCE)]
        return torch.cat(parts) if parts else u.new_zeros(0)


def mean_word_vector(features: Any) -> np.ndarray:
    """The published blank: the mean raw word vector over all words of the training stories."""
    return np.concatenate([f.values for f in features]).mean(axis=0, dtype=np.float64)


def check_held_out(story: str, model: Any, training_stories: Any = ()) -> None:
    """Refuse to decode a story that the model was fitted on."""
    known = {one["story"] for one in getattr(model, "inputs_", [])} | set(training_stories)
    if story and story in known:
        raise bad(
            "the decoded story",
            "not be among the training stories",
            story,
            "A model that has seen the story decodes its memory, not the brain: refit without it.",
        )


def _check_fit(model: Any, design: Design, run: BoldRun) -> None:
    n_columns = len(design.delays) * design.n_features
    shape = tuple(model.coef_.shape)
    if len(shape) != 2 or shape[0] != n_columns:
        raise bad(
            "coef_ of the model",
            f"have {len(design.delays)} delays x {design.n_features} features = {n_columns} rows",
            shape,
            "Give the design that made the model's training matrix.",
        )
    hint = "Decode with the voxels that the model was fitted on, in the same order."
    check_same_length("voxels of the BOLD", run.n_voxels, "voxels of the model", shape[1], hint)
    space = getattr(model, "space_", None)
    if space is not None and space_hash(space) != space_hash(run.space):
        raise bad("voxels of the BOLD", "be the model's voxels", "as many voxels at other places", hint)


def _support(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that must be kept when each word is scored: from the first TR that it or any later word
    touches to one past the last TR that it or any earlier word touched."""
    touched = (weights != 0).any(axis=0)  # (T, N)
    n_trs = len(touched)
    any_row = touched.any(axis=0)
    first = np.where(any_row, touched.argmax(axis=0), n_trs)
    last = np.where(any_row, n_trs - touched[::-1].argmax(axis=0), 0)
    first = np.minimum.accumulate(first[::-1])[::-1]
    return np.minimum(first, n_trs), np.maximum(np.maximum.accumulate(last), first)
