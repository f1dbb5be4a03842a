"""What was measured: BOLD runs, and where their voxels are.

BoldRun                            responses, row times, space
Regions, VolumeMask, Surface       where voxels are
"""

from neurolm.brain.bold_run import BoldRun
from neurolm.brain.space import Regions, Space, Surface, VolumeMask

__all__ = ["BoldRun", "Regions", "Space", "Surface", "VolumeMask"]
