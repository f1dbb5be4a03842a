"""Simulated subjects, cortex and noise with a planted truth, and how well an analysis recovers it.

SimulatedCortex, load_simulated_cortex  a cortex with planted gradients
recovered_maps, agreement               what an analysis found of them, and how well it matches
"""

from neurolm.simulation.cortex import SimulatedCortex, map_correlation
from neurolm.simulation.cortex_dataset import load_simulated_cortex
from neurolm.simulation.cortex_recovery import agreement, feature_sets, open_cortex, recovered_maps

__all__ = [
    "SimulatedCortex",
    "agreement",
    "feature_sets",
    "load_simulated_cortex",
    "map_correlation",
    "open_cortex",
    "recovered_maps",
]
