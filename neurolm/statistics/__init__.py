"""Statistics that every analysis shares, each formula once.

columnwise_correlation, unit_columns    Pearson correlation, whatever the unit of the columns
correlation_of_sums                     the same from sums of squares and products
surrogates, circular_shifts             time series of a null hypothesis that keeps autocorrelation
permutation_p, fdr                      p values from a null, false discovery rate over many tests
difference_p                            p of paired differences, one by one and for all of them
written_p, p_equals                     p as text: an upper bound where permutations can give no less
null_by_draws, draw_ranges              sequential tests: columns leave once their p is known
smallest_share                          what a number of permutations can find at all
draw_counts, percentile_interval        bootstrap draws and their interval
mean_interval                           Student's t interval of a mean
ar1_noise                               stationary first-order autoregression
"""

from neurolm.statistics.bootstrap import draw_counts, mean_interval, percentile_interval, tails
from neurolm.statistics.correlation import columnwise_correlation, correlation_of_sums, power_of_two, unit_columns
from neurolm.statistics.p_values import (
    STOP_AFTER,
    difference_p,
    draw_ranges,
    fdr,
    has_left,
    null_by_draws,
    p_equals,
    permutation_p,
    smallest_share,
    written_p,
)
from neurolm.statistics.surrogates import (
    MIN_SHIFT,
    NULLS,
    Draw,
    ar1_noise,
    block_permutation,
    circular_shifts,
    n_surrogates,
    phase_randomization,
    run_slices,
    surrogate_draws,
    surrogates,
)

__all__ = [
    "MIN_SHIFT",
    "NULLS",
    "STOP_AFTER",
    "Draw",
    "ar1_noise",
    "block_permutation",
    "circular_shifts",
    "columnwise_correlation",
    "correlation_of_sums",
    "difference_p",
    "draw_counts",
    "draw_ranges",
    "fdr",
    "has_left",
    "mean_interval",
    "n_surrogates",
    "null_by_draws",
    "p_equals",
    "percentile_interval",
    "permutation_p",
    "phase_randomization",
    "power_of_two",
    "run_slices",
    "smallest_share",
    "surrogate_draws",
    "surrogates",
    "tails",
    "unit_columns",
    "written_p",
]
