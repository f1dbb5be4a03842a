"""Stimulus to numbers: one row for each word.

Features, FeatureSpace, join    the type, the protocol, side by side
FeatureCache                    features computed once are read the next time
LMStates                        hidden states of a language model, with exact contexts
Surprisal                       how unexpected each word was; entropy before it
"""

from neurolm.features.cache import FeatureCache
from neurolm.features.feature_space import Features, FeatureSpace, join
from neurolm.features.lm_states import LMStates
from neurolm.features.surprisal import Surprisal

__all__ = ["FeatureCache", "FeatureSpace", "Features", "LMStates", "Surprisal", "join"]
