"""Stimulus to numbers: one row for each word.

Features, FeatureSpace, join    the type, the protocol, side by side
LMStates                        hidden states of a language model, with exact contexts
"""

from neurolm.features.feature_space import Features, FeatureSpace, join
from neurolm.features.lm_states import LMStates

__all__ = ["FeatureSpace", "Features", "LMStates", "join"]
