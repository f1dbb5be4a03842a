"""The voxel-free likelihood against whole stimuli, predictions and residuals."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.decoding.likelihood import ResponseLikelihood, mean_word_vector
from neurolm.encoding import Design
from neurolm.features import Features
from neurolm.temporal import delay_run

from .conftest import TR, make_listener, random_word_times, voxel_log_likelihood


def likelihood_of(listener, **settings):
    return ResponseLikelihood(listener.model, listener.noise, listener.design, None, listener.run, **settings)


def as_rows(*arrays):
    return [torch.as_tensor(a) for a in arrays]


class VoxelSpaceScore:
    """The published computation: rebuild stimulus, prediction and residual for every candidate.

    With `windowed` only the TRs from the first word at which the beam differs to the last that the
    current word reaches are summed, as in the published algorithm.
    """

    def __init__(self, listener, word_times, blank, windowed=False):
        self.listener, self.word_times, self.blank, self.windowed = listener, word_times, blank, windowed
        self.texts = [np.empty((0, len(blank)))]
        touched = (listener.design.matrix(word_times, listener.run.tr_times) != 0).any(0)
        self.touched = [np.flatnonzero(column) for column in touched.T]

    def _rows(self):
        if not self.windowed:
            return slice(None)
        word = len(self.texts[0])
        stacked = np.stack(self.texts)
        differs = np.flatnonzero((stacked != stacked[:1]).any((0, 2)))
        first = min([*differs[:1], word])
        return slice(self.touched[first][0], self.touched[word][-1] + 1)

    def score(self, u, which, parents):
        rows, scores = self._rows(), []
        for vector, parent in zip(which, parents):
            text = np.vstack([self.texts[parent], u[vector]])
            filled = np.vstack([text, np.tile(self.blank, (len(self.word_times) - len(text), 1))])
            scores.append(voxel_log_likelihood(self.listener, filled, self.word_times, rows))
        return np.array(scores)

    def commit(self, u, which, parents):
        self.texts = [np.vstack([self.texts[p], u[w]]) for w, p in zip(which, parents)]


def run_search(scorers, word_times, n_features, rng, beam_width=6, n_words=None):
    """Search once with the first scorer's choices; give every scorer's numbers at each word."""
    history = []
    n_hypotheses = 1
    for _ in range(n_words or len(word_times)):
        u = rng.normal(size=(9, n_features))
        parents = np.repeat(np.arange(n_hypotheses), 3)
        which = rng.integers(0, len(u), size=len(parents))
        scores = [scorer.score(u, which, parents) for scorer in scorers]
        history.append(scores)
        order = np.argsort(-scores[0], kind="stable")[:beam_width]
        for scorer, own in zip(scorers, scores):
            scorer.commit(u, which[order], parents[order], own[order])
        n_hypotheses = len(order)
    return history


class GramScore:
    def __init__(self, likelihood, word_times):
        self.running = likelihood.start(word_times)

    def score(self, u, which, parents):
        return self.running.score(*as_rows(u, which, parents)).numpy()

    def commit(self, u, which, parents, scores):
        self.running.commit(*as_rows(scores, u, which, parents))


class Oracle(VoxelSpaceScore):
    def commit(self, u, which, parents, scores):
        super().commit(u, which, parents)


def test_running_score_equals_the_voxel_space_likelihood_to_1e_8(rng):
    listener = make_listener(rng)
    likelihood = likelihood_of(listener)
    gram = GramScore(likelihood, listener.word_times)
    oracle = Oracle(listener, listener.word_times, likelihood.blank_for(listener.word_times).numpy())
    history = run_search([gram, oracle], listener.word_times, 12, rng, n_words=40)
    worst = max(np.abs((own + gram.running.base) - full).max() for own, full in history)
    assert worst < 1e-8
    assert all(np.array_equal(np.argsort(-own, kind="stable"), np.argsort(-full, kind="stable")) for own, full in history)


def test_beam_order_equals_that_of_the_published_windowed_score(rng):
    listener = make_listener(rng, n_trs=16)
    likelihood = likelihood_of(listener)
    oracle = Oracle(listener, listener.word_times, likelihood.blank_for(listener.word_times).numpy(), windowed=True)
    gram = GramScore(likelihood, listener.word_times)
    for own, windowed in run_search([gram, oracle], listener.word_times, 12, rng):
        assert np.array_equal(np.argsort(-own, kind="stable"), np.argsort(-windowed, kind="stable"))
        assert np.ptp(own - windowed) < 1e-8 * max(1, np.abs(windowed).max())


def test_whole_run_likelihood_equals_voxel_space(rng):
    listener = make_listener(rng)
    got = likelihood_of(listener).log_likelihood(listener.values, listener.word_times)
    assert got == pytest.approx(voxel_log_likelihood(listener, listener.values, listener.word_times), abs=1e-8)


def test_running_score_of_a_whole_text_is_its_whole_run_likelihood(rng):
    listener = make_listener(rng)
    likelihood = likelihood_of(listener)
    running = likelihood.start(listener.word_times)
    for value in listener.values:
        row = as_rows(value[None], np.zeros(1, int), np.zeros(1, int))
        running.commit(running.score(*row), *row)
    want = likelihood.log_likelihood(listener.values, listener.word_times)
    assert float(running.scores[0]) + running.base == pytest.approx(want, abs=1e-8)


def test_times_out_of_order_and_beyond_the_run_are_scored_exactly(rng):
    listener = make_listener(rng, n_trs=20)
    times = np.r_[-30.0, -3.0, rng.permutation(random_word_times(rng, 40.0)), 39.5, 80.0]
    values = rng.normal(size=(len(times), 12))
    likelihood = likelihood_of(listener)
    running = likelihood.start(times)
    for value in values:
        row = as_rows(value[None], np.zeros(1, int), np.zeros(1, int))
        running.commit(running.score(*row), *row)
    want = voxel_log_likelihood(listener, values, times)
    assert float(running.scores[0]) + running.base == pytest.approx(want, abs=1e-8)


def test_only_small_matrices_remain(rng):
    likelihood = likelihood_of(make_listener(rng, n_voxels=300))
    held = [v for v in vars(likelihood).values() if isinstance(v, torch.Tensor)]
    assert held
    assert all(300 not in tensor.shape for tensor in held)


def test_true_words_are_more_likely_than_any_other_when_there_is_no_noise(rng):
    listener = make_listener(rng, noise=0.0)
    likelihood = likelihood_of(listener)
    true = likelihood.log_likelihood(listener.values, listener.word_times)
    assert true == pytest.approx(0, abs=1e-6)
    for word in range(0, len(listener.values), 7):
        other = listener.values.copy()
        other[word] = rng.normal(size=12)
        assert likelihood.log_likelihood(other, listener.word_times) < true


def test_default_blank_keeps_the_design_at_its_training_mean(rng):
    listener = make_listener(rng)
    blank = likelihood_of(listener).blank_for(listener.word_times).numpy()
    filled = Features(np.tile(blank, (len(listener.word_times), 1)), listener.word_times, listener.design.names)
    X = listener.design.transform(filled, listener.run.tr_times).astype(float)
    assert np.abs(X[:, :12].mean(0) / np.sqrt(1e-12 + X[:, :12].var(0))).max() < 0.2
    assert np.array_equal(mean_word_vector([Features(listener.values, listener.word_times)]), listener.values.mean(0))


def test_shifted_rolls_the_bold(rng):
    listener = make_listener(rng)
    rolled = BoldRun(np.roll(listener.run.data, 7, axis=0), listener.run.tr_times, listener.run.space)
    direct = ResponseLikelihood(listener.model, listener.noise, listener.design, None, rolled)
    shifted = likelihood_of(listener).shifted(7)
    args = (listener.values, listener.word_times)
    assert shifted.log_likelihood(*args) == pytest.approx(direct.log_likelihood(*args), abs=1e-8)
    assert np.array_equal(shifted.run.data, rolled.data)


def test_other_voxels_than_the_models_are_refused(rng):
    listener = make_listener(rng)
    few = BoldRun(listener.run.data[:, :30], listener.run.tr_times, Regions(tuple("abcdefghijklmnopqrstuvwxyzABCD")))
    with pytest.raises(InputError, match=r"voxels of the BOLD and voxels of the model must have the same length; got 30 and 40"):
        ResponseLikelihood(listener.model, None, listener.design, None, few)
    listener.model.space_ = Regions(tuple(f"other{i}" for i in range(40)))
    with pytest.raises(InputError, match="as many voxels at other places"):
        likelihood_of(listener)


def test_a_training_story_is_refused(rng):
    listener = make_listener(rng)
    run = BoldRun(listener.run.data, listener.run.tr_times, listener.run.space, story="souls")
    with pytest.raises(InputError, match=r"must not be among the training stories; got souls"):
        ResponseLikelihood(listener.model, None, listener.design, None, run, training_stories=["avatar", "souls"])
    listener.model.inputs_ = [{"story": "souls"}]
    with pytest.raises(InputError, match="decodes its memory, not the brain"):
        ResponseLikelihood(listener.model, None, listener.design, None, run)


def test_selected_voxels_equal_a_model_of_them_alone(rng):
    listener = make_listener(rng)
    keep = np.array([3, 4, 17, 30])
    covariance = listener.covariance[np.ix_(keep, keep)]
    noise = SimpleNamespace(multiply_precision=lambda rows: rows @ np.linalg.inv(covariance))
    few = BoldRun(listener.run.data[:, keep], listener.run.tr_times, Regions(tuple("abcd")))
    listener.model.intercept_ = rng.normal(size=40)
    alone = SimpleNamespace(coef_=listener.model.coef_[:, keep], intercept_=listener.model.intercept_[keep])
    got = ResponseLikelihood(listener.model, noise, listener.design, None, listener.run, voxels=keep)
    want = ResponseLikelihood(alone, noise, listener.design, None, few)
    args = (listener.values, listener.word_times)
    assert got.log_likelihood(*args) == pytest.approx(want.log_likelihood(*args), abs=1e-9)
    data = listener.run.data.copy()
    data[:, 5] = np.nan
    args = (listener.model, noise, listener.design, None, listener.run.with_data(data))
    assert ResponseLikelihood(*args, voxels=keep).cross.equal(got.cross)


def test_nan_voxels_and_a_foreign_design_are_refused(rng):
    listener = make_listener(rng)
    data = listener.run.data.copy()
    data[3, 5] = np.nan
    with pytest.raises(InputError, match=r"BOLD of the decoded voxels must be finite.*index \(3, 5\)"):
        ResponseLikelihood(listener.model, None, listener.design, None, listener.run.with_data(data))
    other = Design.from_training([Features(rng.normal(size=(50, 3)), np.linspace(0, 70, 50))], [np.arange(40) * TR])
    with pytest.raises(InputError, match="4 delays x 3 features = 12 rows"):
        ResponseLikelihood(listener.model, None, other, None, listener.run)


def middle_of(listener, first):
    """The listener's run from row `first` on, as a scan that began in the middle of the story; and the words from there."""
    run = listener.run
    later = BoldRun(run.data[first:], run.tr_times[first:], run.space)
    heard = listener.word_times >= later.tr_times[0]
    return later, listener.values[heard], listener.word_times[heard]


def test_rows_before_a_run_that_begins_mid_story_are_at_the_mean_of_training_not_silent(rng):
    listener = make_listener(rng, noise=0.0)
    run, values, times = middle_of(listener, 12)
    likelihood = ResponseLikelihood(listener.model, listener.noise, listener.design, None, run)
    design, n_delays = listener.design, len(listener.design.delays)
    z = design.resample(Features(values, times, design.names), run.tr_times)
    z[: max(design.delays)] = 0  # history that is not known
    X = delay_run(z, design.delays)[max(design.delays) :]
    residual = X @ listener.model.coef_ - run.data
    expected = -0.5 * np.einsum("tv,vw,tw->", residual, listener.precision, residual)
    assert likelihood.log_likelihood(values, times) == pytest.approx(expected, rel=1e-9)
    silent = design.transform(Features(values, times, design.names), run.tr_times).astype(float) @ listener.model.coef_ - run.data
    first = slice(0, n_delays)
    assert np.square(residual[first]).mean() < 0.7 * np.square(silent[first]).mean()
    assert np.abs(residual[max(design.delays) + 4 :]).max() < 1e-6  # the Lanczos kernel reaches over the edge for 3 TRs
    running = likelihood.start(times)
    for i in range(len(times)):
        running.commit(running.score(*as_rows(values[i : i + 1], [0], [0])), *as_rows(values[i : i + 1], [0], [0]))
    assert float(running.base + running.scores[0]) == pytest.approx(expected, rel=1e-8)


def test_words_before_the_first_row_are_used_where_they_are_given(rng):
    listener = make_listener(rng, noise=0.0)
    run, _, _ = middle_of(listener, 12)
    likelihood = ResponseLikelihood(listener.model, listener.noise, listener.design, None, run)
    X = listener.design.transform(Features(listener.values, listener.word_times, listener.design.names), run.tr_times)
    residual = X.astype(float) @ listener.model.coef_ - run.data
    expected = -0.5 * np.einsum("tv,vw,tw->", residual, listener.precision, residual)
    assert likelihood.log_likelihood(listener.values, listener.word_times) == pytest.approx(expected, abs=1e-9)
