"""Statistics that every analysis shares, each formula once.

columnwise_correlation, unit_columns    Pearson correlation, whatever the unit of the columns
correlation_of_sums                     the same from sums of squares and products
surrogates, circular_shifts             time series of a null hypothesis that keeps autocorrelation
permutation_p, fdr                      p values from a null, false discovery rate over many tests
draw_counts, percentile_interval        bootstrap draws and their interval
mean_interval                           Student's t interval of a mean
ar1_noise                               stationary first-order autoregression
"""

from neurolm.statistics.autocorrelation import ar1_noise
from neurolm.statistics.bootstrap import draw_counts, mean_interval, percentile_interval, tails
from neurolm.statistics.correlation import columnwise_correlation, correlation_of_sums, power_of_two, unit_columns
from neurolm.statistics.p_values import fdr, permutation_p
from neurolm.statistics.surrogates import (
    NULLS,
    block_permutation,
    circular_shifts,
    phase_randomization,
    run_slices,
    surrogates,
)

__all__ = [
    "NULLS",
    "ar1_noise",
    "block_permutation",
    "circular_shifts",
    "columnwise_correlation",
    "correlation_of_sums",
    "draw_counts",
    "fdr",
    "mean_interval",
    "percentile_interval",
    "permutation_p",
    "phase_randomization",
    "power_of_two",
    "run_slices",
    "surrogates",
    "tails",
    "unit_columns",
]
