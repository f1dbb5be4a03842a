"""Leaky and resetting integrators discriminated after the haemodynamic response, noise and the fit of an encoding model."""

import numpy as np
import pytest

from neurolm.encoding import EncodingModel
from neurolm.features import join
from neurolm.stimuli import Transcript
from neurolm.timescales import EncodingResponder, SwitchWindow

from .planted import DELAYS, Bank, listen, tell

TAUS = np.array([8.0, 16.0])


class Both:
    """Features that span both kinds of voxels."""

    def extract(self, transcript):
        parts = {"leaky": Bank(tuple(TAUS)), "resetting": Bank(tuple(TAUS), resets=True)}
        return join({name: bank.extract(transcript) for name, bank in parts.items()})

    def settings(self):
        return {"kind": "leaky and resetting integrators"}


@pytest.fixture(scope="module")
def found():
    stories = [tell(1500, seed, drift=20, sentence=5) for seed in range(5)]  # resets every 25 words
    pairs = [listen(stories, TAUS, 0.97, seed=kind, resets=bool(kind)) for kind in (0, 1)]
    runs = [_beside(leaky, other) for leaky, other in zip(*pairs)]
    model = EncodingModel(tuple(10.0 ** np.arange(-4, 6)), delays=DELAYS, n_folds=5).fit(
        [Both().extract(story) for story in stories], runs
    )
    heard = [_one_paragraph(tell(1500, 10 + seed, drift=20)) for seed in range(2)]
    return SwitchWindow(120, past=80, n_words=50, n_bootstrap=2).run(EncodingResponder(model, Both()), heard)


def test_leaky_voxels_construct_with_their_half_life_and_forget_about_as_slowly(found):
    np.testing.assert_allclose(found.index[:2], TAUS * np.log(2), rtol=0.3)
    assert (found.details["ratio"][:2] > 0.35).all(), found.details["ratio"]


def test_resetting_voxels_construct_slowly_and_forget_at_once(found):
    assert (found.index[2:] > 4).all(), found.index
    assert (found.details["ratio"][2:] < 0.15).all(), found.details["ratio"]


def _beside(first, second):
    from neurolm.brain import BoldRun, Regions

    data = np.hstack([first.data, second.data])
    return BoldRun(data, first.tr_times, Regions(tuple(f"v{i}" for i in range(data.shape[1]))), "planted", first.story)


def _one_paragraph(story):
    same = np.zeros(len(story), dtype=int)
    return Transcript(story.words, story.onsets, story.offsets, same, same, story.name)
