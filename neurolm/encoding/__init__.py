"""Voxelwise encoding models: from features and BOLD to scores that can be trusted.

Design, EncodingData                    word time to delayed TR time, one object for every story
correlation_score, r2_score             one number for each voxel
permutation_test, refit_test, fdr       nulls that keep autocorrelation; many voxels
bootstrap_correlation, bootstrap_mean   intervals over stretches of time and over listeners
"""

from neurolm.encoding.design import Design, EncodingData
from neurolm.encoding.intervals import bootstrap_correlation, bootstrap_mean
from neurolm.encoding.scores import correlation_score, r2_score
from neurolm.encoding.significance import PermutationTest, fdr, permutation_test, refit_test

__all__ = [
    "Design",
    "EncodingData",
    "PermutationTest",
    "bootstrap_correlation",
    "bootstrap_mean",
    "correlation_score",
    "fdr",
    "permutation_test",
    "r2_score",
    "refit_test",
]
