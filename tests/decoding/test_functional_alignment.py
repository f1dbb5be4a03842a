"""One listener's BOLD in another's voxels."""

import numpy as np
import pytest

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.decoding.functional_alignment import FunctionalAlignment


def listeners(rng, n_trs, noise, n_goal=25, n_reference=30, mixing=None):
    """Two listeners who share ten latent responses."""
    mixing = mixing or (rng.normal(size=(10, n_goal)), rng.normal(size=(10, n_reference)))
    latent = rng.normal(size=(n_trs, 10))
    out = []
    for name, mix in zip("ab", mixing):
        data = latent @ mix + noise * rng.normal(size=(n_trs, mix.shape[1]))
        space = Regions(tuple(f"{name}{i}" for i in range(mix.shape[1])))
        out.append(BoldRun(data, np.arange(n_trs) * 2.0, space, name))
    return *out, mixing


@pytest.mark.parametrize("method", ["ridge", "procrustes"])
def test_held_out_responses_are_predicted_in_the_others_voxels(rng, method):
    goal, reference, mixing = listeners(rng, 300, 0.5)
    test_goal, test_reference, _ = listeners(rng, 200, 0.5, mixing=mixing)
    mapped = FunctionalAlignment(method).fit([goal], [reference]).transform(test_goal)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(mapped.data.T, test_reference.data.T)]
    assert np.median(r) > {"ridge": 0.9, "procrustes": 0.5}[method]
    assert mapped.space is test_reference.space or mapped.n_voxels == 30
    assert mapped.data.std(0) == pytest.approx(np.ones(30))


def test_procrustes_recovers_a_rotation_exactly(rng):
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    data = rng.normal(size=(100, 12))
    space = Regions(tuple(f"v{i}" for i in range(12)))
    times = np.arange(100) * 2.0
    goal, reference = BoldRun(data, times, space), BoldRun(data @ rotation * 3, times, space)
    alignment = FunctionalAlignment("procrustes").fit([goal], [reference])
    assert np.abs(alignment.map_ - 3 * rotation).max() < 1e-10


def test_arrays_hold_the_whole_alignment(rng):
    goal, reference, _ = listeners(rng, 100, 0.5)
    alignment = FunctionalAlignment("procrustes").fit([goal], [reference])
    again = FunctionalAlignment.from_arrays(*alignment.to_arrays())
    assert np.array_equal(again.transform(goal).data, alignment.transform(goal).data)
    assert again.space_.names == reference.space.names


def test_runs_that_do_not_match_are_refused(rng):
    goal, reference, _ = listeners(rng, 100, 0.5)
    late = BoldRun(reference.data, reference.tr_times + 4, reference.space)
    with pytest.raises(InputError, match="Cut both to the time that they share"):
        FunctionalAlignment().fit([goal], [late])
    with pytest.raises(InputError, match="be fitted first"):
        FunctionalAlignment().transform(goal)
