"""Voxelwise encoding models: from features and BOLD to scores that can be trusted.

Delays                                  an FIR step for scikit-learn pipelines that knows runs
Design, EncodingData                    word time to delayed TR time, one object for every story
EncodingModel                           fit, predict new stories, keep in one file
RidgeCV                                 one cross-validated penalty per voxel, exactly and fast
BandedRidgeCV, product_measure          one penalty per feature space and voxel; whose R2 it is
RecurrentEncoder                        a recurrent network in the place of delays and ridge
contiguous_blocks, leave_one_run_out    which rows are held out
evaluate, EvaluationSettings            feature sets scored on held-out BOLD, beside ceiling, null and baselines
compare_models, ModelComparison         language models side by side, tested over listeners
NestedRidge, nested_cv_scores           stored hats for many versions of Y: nulls that repeat the fit
nested_folds, held_out_scores           penalties chosen inside the training part
correlation_score, r2_score             one number for each voxel
permutation_test, refit_test, fdr       nulls that keep autocorrelation; many voxels
bootstrap_correlation, bootstrap_mean   intervals over stretches of time and over listeners
sign_flip_test                          mean over independent subjects, or for this stimulus alone
variance_partition                      what each feature space explains alone and together
content_free, time_shifted              one content-free draw of features; features at wrong times
LowLevel                                plain properties of speech, for what feature sets predict beyond them
"""

from neurolm.encoding.baseline import content_free, time_shifted
from neurolm.encoding.compare_models import compare_models
from neurolm.encoding.crossval import contiguous_blocks, leave_one_run_out
from neurolm.encoding.design import Design, EncodingData
from neurolm.encoding.encoding_model import EncodingModel
from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import Evaluation, EvaluationSettings
from neurolm.encoding.group_inference import GroupTest, group_test, sign_flip_test
from neurolm.encoding.held_out import HeldOutScores, held_out_scores, nested_folds
from neurolm.encoding.intervals import bootstrap_correlation, bootstrap_mean
from neurolm.encoding.low_level import LowLevel
from neurolm.encoding.model_comparison import ModelComparison, ModelScore, PairedTest
from neurolm.encoding.nested import NestedRidge, NestedScores, nested_cv_scores
from neurolm.encoding.recurrent_encoder import RecurrentEncoder
from neurolm.encoding.ridge.banded_ridge_cv import BandedRidgeCV, product_measure
from neurolm.encoding.ridge.delayed_features import Delays
from neurolm.encoding.ridge.ridge_cv import RidgeCV
from neurolm.encoding.scores import correlation_score, r2_score
from neurolm.encoding.significance import PermutationTest, permutation_test, refit_test
from neurolm.encoding.variance_partition import VariancePartition, variance_partition
from neurolm.statistics import fdr

__all__ = [
    "BandedRidgeCV",
    "Delays",
    "Design",
    "EncodingData",
    "EncodingModel",
    "Evaluation",
    "EvaluationSettings",
    "GroupTest",
    "HeldOutScores",
    "LowLevel",
    "ModelComparison",
    "ModelScore",
    "NestedRidge",
    "NestedScores",
    "PairedTest",
    "PermutationTest",
    "RecurrentEncoder",
    "RidgeCV",
    "VariancePartition",
    "bootstrap_correlation",
    "bootstrap_mean",
    "compare_models",
    "content_free",
    "contiguous_blocks",
    "correlation_score",
    "evaluate",
    "fdr",
    "group_test",
    "held_out_scores",
    "leave_one_run_out",
    "nested_cv_scores",
    "nested_folds",
    "permutation_test",
    "product_measure",
    "r2_score",
    "refit_test",
    "sign_flip_test",
    "time_shifted",
    "variance_partition",
]
