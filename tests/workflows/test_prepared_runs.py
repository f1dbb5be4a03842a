"""Repeats of a story are averaged, and say how reliable their mean is."""

from types import SimpleNamespace

import numpy as np
import pytest

from neurolm.brain import BoldRun, Unplaced
from neurolm.datasets.alignment_check import check_alignment
from neurolm.encoding import EvaluationSettings, evaluate
from neurolm.features import WordRate
from neurolm.stimuli import Transcript
from neurolm.workflows.prepared_runs import deviation_of, heard_stories, stimuli, untrimmed_runs, with_transients

N, V = 90, 40
TIMES = 2.0 * np.arange(N)


def story(seed):
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.uniform(0, 2 * N - 4, 300))
    return Transcript([f"{seed}-{i}" for i in range(300)], onsets, onsets + 0.1)


class Study:
    """One subject heard the first story three times, once from a later row on."""

    heard = {"tale_run-1": 0, "tale_run-2": 0, "other": 1, "tale_run-3": 0, "last": 2}  # noqa: RUF012

    def transcript(self, name):
        return story(self.heard[name])

    def bold(self, subject, name):
        rng = np.random.default_rng(len(name) + ord(name[-1]))
        signal = np.random.default_rng(self.heard[name]).standard_normal((N, V))
        first = 3 if name == "tale_run-2" else 0
        data = signal + rng.standard_normal((N, V))
        return BoldRun(data[first:], TIMES[first:], Unplaced("test", V), subject, name)


@pytest.fixture
def plan():
    steps = SimpleNamespace(trim_start=0, trim_end=0, detrend_degree=None, zscore=True, trim_transients="off")
    config = SimpleNamespace(preprocess=steps)
    return SimpleNamespace(dataset=Study(), stories=tuple(Study.heard), subjects=("01",), config=config)


class Onset(Study):
    """Every run begins with three rows that leave the distribution."""

    heard = {"one": 0, "two": 1, "three": 2}  # noqa: RUF012

    def bold(self, subject, name):
        data = np.random.default_rng(len(name)).standard_normal((N, V))
        data[:3] += 6
        return BoldRun(data, TIMES, Unplaced("test", V), subject, name)


def with_onset(trim):
    steps = SimpleNamespace(trim_start=0, trim_end=0, detrend_degree=2, zscore=True, trim_transients=trim)
    stories = tuple(Onset.heard)
    return SimpleNamespace(dataset=Onset(), stories=stories, subjects=("01",), config=SimpleNamespace(preprocess=steps))


@pytest.mark.parametrize(("trim", "first", "n_trs"), [("auto", 6.0, N - 3), ("off", 0.0, N), (8.0, 8.0, N - 8)])
def test_transients_are_dropped_as_the_config_asks(trim, first, n_trs):
    heard = heard_stories(with_onset(trim))
    for run in heard.runs["01"]:
        assert (run.tr_times[0], run.n_trs) == (first, n_trs)
    assert ("dropped as transients" in " ".join(heard.notes)) == (trim != "off")


def test_the_check_names_transients_and_what_is_done_about_them():
    messages = {}
    for trim in ("auto", "off", 8.0):
        plan = with_onset(trim)
        runs = {name: list(untrimmed_runs(plan, name).values()) for name in plan.stories}
        checks = [check_alignment(plan.dataset.transcript(name), runs[name]) for name in plan.stories]
        deviations = {name: deviation_of(plan, untrimmed_runs(plan, name))[0] for name in plan.stories}
        finding = with_transients(plan, checks, deviations, 2.0)[0].findings[-1]
        messages[trim] = (finding.status, finding.message)
    assert all("the first 3 rows (6 s, robust z" in message for _, message in messages.values())
    assert messages["auto"][0] == "ok"
    assert "3 rows at the beginning and 0 at the end of every run are dropped" in messages["auto"][1]
    assert messages["off"][0] == "warning"
    assert "stay" in messages["off"][1]
    assert "8 s at both edges" in messages[8.0][1]


def test_repeats_are_averaged_on_the_rows_that_all_have(plan):
    assert stimuli(plan) == (("tale_run-1", "tale_run-2", "tale_run-3"), ("other",), ("last",))
    heard = heard_stories(plan)
    assert heard.stories == ("tale_run-1", "other", "last")
    assert heard.notes == ("tale_run-1, tale_run-2, tale_run-3 have the same words: averaged.",)
    tale = heard.runs["01"][0]
    assert (tale.n_trs, tale.tr_times[0]) == (N - 3, 6.0)
    np.testing.assert_allclose(tale.data, np.mean([run.data for run in heard.repeats["01"][0]], axis=0))


def test_the_repeats_of_the_test_story_give_its_ceiling(plan):
    heard = heard_stories(plan)
    features = {"word rate": [WordRate().extract(plan.dataset.transcript(name)) for name in heard.stories]}
    settings = EvaluationSettings(alphas=(1.0, 100.0), n_permutations=0, n_bootstrap=10, n_inner_folds=2, test_runs=(0,))
    (scored,) = evaluate(features, heard.runs, settings=settings, repeats=heard.repeats).scored
    assert scored.ceiling_name == "CCmax, from the repeats of the predicted stories"
    assert np.median(scored.ceiling) == pytest.approx(np.sqrt(3 / 4), abs=0.03)  # signal 1, noise 1 / 3
    (crossed,) = evaluate(features, heard.runs, settings=EvaluationSettings(
        alphas=(1.0,), n_permutations=0, n_bootstrap=10, n_folds=3, n_inner_folds=2), repeats=heard.repeats).scored  # fmt: skip
    assert np.isnan(crossed.ceiling).all()  # the other stories were heard once
