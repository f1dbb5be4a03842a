"""Ridge and banded ridge: solvers, hat matrices, Gram matrices and their cost.

ridge_cv.py, banded_ridge_cv.py   the estimators; ridge_search.py, banded_search.py choose their penalties
fold_hats.py, fold_scores.py      what cross-validation keeps of X, and what it scores
prepared_design.py                Gram matrices of delayed features, which are never copied
linear_algebra.py                 one interface to numpy and torch; blocked_cholesky.py, onednn_algebra.py, solvers.py
targets.py, stored_targets.py     blocks of voxels, from memory or from a file
cost_model.py, preflight.py       operations, time and memory before a fit
"""

from neurolm.encoding.ridge.banded_ridge_cv import BandedRidgeCV, product_measure
from neurolm.encoding.ridge.delayed_features import Delays
from neurolm.encoding.ridge.ridge_cv import RidgeCV

__all__ = ["BandedRidgeCV", "Delays", "RidgeCV", "product_measure"]
