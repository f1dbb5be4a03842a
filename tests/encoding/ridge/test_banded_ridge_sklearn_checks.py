import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurolm.encoding import BandedRidgeCV


@pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")
@pytest.mark.filterwarnings("ignore:.*do not vary in some fold:UserWarning")
@parametrize_with_checks([BandedRidgeCV(n_iter=2)])
def test_banded_ridge_follows_the_estimator_protocol(estimator, check):
    check(estimator)
