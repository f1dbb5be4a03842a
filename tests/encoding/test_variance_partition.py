import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.encoding.design import EncodingData
from neurolm.encoding.variance_partition import variance_partition

pytestmark = pytest.mark.filterwarnings("ignore:.*extend alphas in that direction:UserWarning")
ALPHAS = (0.1, 10.0, 1000.0)


def planted(names, n_trs=6000):
    """Spaces of 3 columns each, of which one is common to all; Y = unique parts + common part + noise, variances known."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal(n_trs)
    own = {name: rng.standard_normal((n_trs, 2)) for name in names}
    X = np.concatenate([np.column_stack([own[n], common]) for n in names], axis=1)
    variances = np.array([[4.0, 1.0, 2.0, 3.0], [0.0, 2.0, 1.0, 0.0]])[:, : len(names) + 1]  # voxels x (own ..., common)
    Y = []
    for voxel in variances:
        signal = sum(np.sqrt(v) * own[n][:, 0] for n, v in zip(names, voxel)) + np.sqrt(voxel[len(names)]) * common
        Y.append(signal + rng.standard_normal(n_trs) * np.sqrt(2))
    total = variances.sum(1) + 2
    slices = {n: slice(3 * i, 3 * i + 3) for i, n in enumerate(names)}
    data = EncodingData(X, np.stack(Y, 1), np.array([0, n_trs // 3, 2 * n_trs // 3]), slices)
    return data, variances / total[:, None]


@pytest.mark.parametrize("banded", [False, True])
@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_planted_unique_and_shared_variance_is_recovered(names, banded):
    data, shares = planted(names)
    found = variance_partition(data, ALPHAS, banded=banded, n_iter=5)
    for i, name in enumerate(names):
        np.testing.assert_allclose(found.unique(name), shares[:, i], atol=0.03)
    np.testing.assert_allclose(found.shared(), shares[:, len(names)], atol=0.03)
    np.testing.assert_allclose(found.joint, shares.sum(1), atol=0.03)
    if len(names) == 3:
        np.testing.assert_allclose(found.shared("a", "b"), 0, atol=0.03)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_parts_add_up_to_the_joint_r2(names):
    found = variance_partition(planted(names, n_trs=1200)[0], ALPHAS, n_iter=3)
    assert len(found.parts) == 2 ** len(names) - 1
    np.testing.assert_allclose(sum(found.parts.values()), found.joint, atol=1e-12)
    others = frozenset(names) - {"a"}
    np.testing.assert_allclose(found.unique("a"), found.joint - found.r2[others], atol=1e-12)


def test_penalties_of_their_own_keep_a_wide_space_from_hiding_a_narrow_one():
    rng = np.random.default_rng(0)
    narrow, wide = rng.standard_normal((500, 3)), rng.standard_normal((500, 250))
    signal = narrow @ rng.standard_normal((3, 5))
    Y = signal / signal.std(0) + 1.2 * rng.standard_normal((500, 5))
    share = 1 / Y.var(0)
    slices = {"narrow": slice(0, 3), "wide": slice(3, 253)}
    data = EncodingData(np.concatenate([narrow, wide], axis=1), Y, np.array([0]), slices)
    alphas = (1.0, 10.0, 100.0, 1e3, 1e4)
    banded, plain = (variance_partition(data, alphas, banded=b, n_iter=8).unique("narrow") for b in (True, False))
    assert (np.abs(banded - share) < 0.1).all()
    assert (plain < banded - 0.02).all()


def test_noise_has_nothing_to_share():
    data, _ = planted(("a", "b"))
    noise = np.random.default_rng(1).standard_normal(data.Y.shape)
    found = variance_partition(EncodingData(data.X, noise, data.run_onsets, data.feature_slices), (10.0, 1e3, 1e5), n_iter=3)
    for part in found.parts.values():
        np.testing.assert_allclose(part, 0, atol=0.02)


def test_one_space_or_an_unknown_one_is_refused():
    data, _ = planted(("a", "b"))
    with pytest.raises(InputError, match="spaces must be two or three different feature spaces; got \\['a'\\]"):
        variance_partition(data, ALPHAS, ["a"])
    with pytest.raises(InputError, match="feature space must be one of a, b; got z"):
        variance_partition(data, ALPHAS, ["a", "z"])
    with pytest.raises(InputError, match="space must be one of a, b; got c"):
        variance_partition(data, ALPHAS, banded=False).unique("c")
