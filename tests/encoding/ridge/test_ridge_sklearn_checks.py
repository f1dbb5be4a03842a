import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurolm.encoding import RidgeCV


@pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")
@pytest.mark.filterwarnings("ignore:.*do not vary in some fold:UserWarning")
@parametrize_with_checks([RidgeCV(), RidgeCV(fit_intercept=True, scoring="correlation"), RidgeCV(alpha_per_target=False)])
def test_ridge_follows_the_estimator_protocol(estimator, check):
    check(estimator)
