"""Stimulus to numbers: one row for each word.

Features, FeatureSpace, join    the type, the protocol, side by side
"""

from neurolm.features.feature_space import Features, FeatureSpace, join

__all__ = ["FeatureSpace", "Features", "join"]
