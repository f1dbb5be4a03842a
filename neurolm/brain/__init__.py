"""What was measured: BOLD runs, and where their voxels are.

BoldRun                                 responses, row times, space
Regions, VolumeMask, Surface            where voxels are
intersubject_correlation, isc_test      what listeners share, and whether it is more than chance
noise_ceiling, explainable_variance     how high a score can be; each ceiling names what it bounds
"""

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.intersubject import intersubject_correlation, isc_bootstrap, isc_test, mean_pairwise_isc
from neurolm.brain.noise_ceiling import cc_max, cc_norm, explainable_variance, noise_ceiling, signal_power
from neurolm.brain.space import Regions, Space, Surface, VolumeMask

__all__ = [
    "BoldRun",
    "Regions",
    "Space",
    "Surface",
    "VolumeMask",
    "cc_max",
    "cc_norm",
    "explainable_variance",
    "intersubject_correlation",
    "isc_bootstrap",
    "isc_test",
    "mean_pairwise_isc",
    "noise_ceiling",
    "signal_power",
]
