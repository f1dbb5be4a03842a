"""Stimulus to numbers: one row for each word.

Features, FeatureSpace, join    the type, the protocol, side by side
LMStates                        hidden states of a language model, with exact contexts
Surprisal                       how unexpected each word was; entropy before it
WordRate, WordLength            that a word was there; its letters or seconds
PauseBefore                     the silence before it
LogFrequency, PhonemeCount      how frequent it is; its speech sounds
LowLevelWords                   rate, duration, length, pauses and frequency side by side
Norms, StaticEmbeddings         ratings from a table; word vectors from a file
SoundEnvelope                   how loud it was
FunctionFeatures                any function of a transcript, by name
Averaged                        features averaged over the recent past, one space for each timescale
FeatureCache                    features computed once are read the next time
list_cache, verify_cache, prune_cache
plan_extraction                 words, tokens, FLOPs, memory and time, before it begins
"""

from neurolm.features.cache import FeatureCache
from neurolm.features.cache_care import CachedFeatures, list_cache, prune_cache, verify_cache
from neurolm.features.feature_space import Features, FeatureSpace, join
from neurolm.features.function_features import Averaged, FunctionFeatures
from neurolm.features.lexical import LogFrequency, PauseBefore, WordLength, WordRate
from neurolm.features.lm_states import LMStates
from neurolm.features.low_level import LowLevelWords
from neurolm.features.norms import Norms
from neurolm.features.phonemes import PhonemeCount, read_pronunciations
from neurolm.features.preflight import ExtractionPlan, plan_extraction
from neurolm.features.sound import SoundEnvelope
from neurolm.features.static_embeddings import StaticEmbeddings
from neurolm.features.surprisal import Surprisal

__all__ = [
    "Averaged",
    "CachedFeatures",
    "ExtractionPlan",
    "FeatureCache",
    "FeatureSpace",
    "Features",
    "FunctionFeatures",
    "LMStates",
    "LogFrequency",
    "LowLevelWords",
    "Norms",
    "PauseBefore",
    "PhonemeCount",
    "SoundEnvelope",
    "StaticEmbeddings",
    "Surprisal",
    "WordLength",
    "WordRate",
    "join",
    "list_cache",
    "plan_extraction",
    "prune_cache",
    "read_pronunciations",
    "verify_cache",
]
