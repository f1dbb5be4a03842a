"""What was measured: BOLD runs, and where their voxels are.

BoldRun                                 responses, row times, space
Regions, VolumeMask, Surface, Grayordinates, Unplaced    where voxels are
intersubject_correlation, isc_test      what listeners share, and whether it is more than chance
noise_ceiling, explainable_variance     how high a score can be; each ceiling names what it bounds
read_confounds, regress_out             nuisance signals
VoxelMap                                one number per voxel: NIfTI, GIFTI, CSV
read_mask, read_bold, read_surface_bold, read_cifti_bold images from disk
read_region_table                       time courses of regions from CSV or text
"""

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.cifti import read_cifti_bold
from neurolm.brain.confounds import read_confounds, regress_out
from neurolm.brain.images import read_bold, read_mask, read_surface_bold
from neurolm.brain.intersubject import intersubject_correlation, isc_bootstrap, isc_interval, isc_test, mean_pairwise_isc
from neurolm.brain.noise_ceiling import (
    cc_max,
    cc_norm,
    ceiling_interval,
    explainable_variance,
    noise_ceiling,
    signal_power,
    subject_ceilings,
)
from neurolm.brain.region_table import read_region_table
from neurolm.brain.space import Grayordinates, Regions, Space, Surface, Unplaced, VolumeMask
from neurolm.brain.voxel_map import VoxelMap

__all__ = [
    "BoldRun",
    "Grayordinates",
    "Regions",
    "Space",
    "Surface",
    "Unplaced",
    "VolumeMask",
    "VoxelMap",
    "cc_max",
    "cc_norm",
    "ceiling_interval",
    "explainable_variance",
    "intersubject_correlation",
    "isc_bootstrap",
    "isc_interval",
    "isc_test",
    "mean_pairwise_isc",
    "noise_ceiling",
    "read_bold",
    "read_cifti_bold",
    "read_confounds",
    "read_mask",
    "read_region_table",
    "read_surface_bold",
    "regress_out",
    "signal_power",
    "subject_ceilings",
]
