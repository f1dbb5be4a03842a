"""Stimulus to numbers: one row for each word.

Features, FeatureSpace, join    the type, the protocol, side by side
FeatureCache                    features computed once are read the next time
LMStates                        hidden states of a language model, with exact contexts
"""

from neurolm.features.cache import FeatureCache
from neurolm.features.feature_space import Features, FeatureSpace, join
from neurolm.features.lm_states import LMStates

__all__ = ["FeatureCache", "FeatureSpace", "Features", "LMStates", "join"]
