"""How much of the past a voxel uses, and what else fitted models can be asked without new data.

ContextWindowSweep                      refit with more and more context: where does the score saturate?
UnitTimescale                           which bands of timescales explain a voxel out of sample?
spectral_bands, bank_bands              bands of any model's features, looking at the past only; of units of known timescale
SwapWindow, fit_influence               one word replaced: for how many words does it matter?
ScrambleWindow                          a story cut into pieces: from which size on is it unnoticed?
SwitchWindow                            another past: how soon is context built up, how soon lost?
Contrast, match_items, item_responses   two kinds of items, heard alone or in a sentence
story_bootstrap                         would other stories have given that contrast?
ForecastGain                            what coming words add, against voxels that cannot know them
scramble_isc, unscramble_bold           scrambled stories and real listeners
intersubject_correlation                what listeners share (of neurolm.brain)
unit_timescales, power_law_check, ablate_units    what units of gated models remember
EncodingResponder, UnitResponder        who hears the changed stories: voxels, or the model's own units
RememberedFeatures                      what both hear is read once
prediction_test, FitSettings            the p that says which voxels may have a window
planted_recovery, withheld              planted windows on the same features: where they are not found, none is given
WindowResult                            curve, window, interval, p, validity: the same for all
save_windows, load_windows              in one file
mean_and_halves, jackknifed           intervals over listeners
"""

from neurolm.brain import intersubject_correlation
from neurolm.timescales.context_sweep import ContextWindowSweep
from neurolm.timescales.contrast import Contrast, ContrastResult
from neurolm.timescales.contrast_items import MatchedItems, item_responses, match_items
from neurolm.timescales.forecast import ForecastGain
from neurolm.timescales.held_out_fit import FitSettings, prediction_test
from neurolm.timescales.listener_jackknife import jackknifed, mean_and_halves
from neurolm.timescales.lstm_units import ablate_units, power_law_check, token_ids, unit_timescales
from neurolm.timescales.planted_recovery import Recovery, RecoverySettings, planted_recovery, withheld
from neurolm.timescales.responder import EncodingResponder, RememberedFeatures, Responder, UnitResponder
from neurolm.timescales.scramble import ScrambleWindow
from neurolm.timescales.scramble_isc import scramble_isc, unscramble_bold
from neurolm.timescales.story_bootstrap import story_bootstrap
from neurolm.timescales.swap import SwapWindow, fit_influence
from neurolm.timescales.switch import SwitchWindow
from neurolm.timescales.timescale_bands import band_timescales, bank_bands, spectral_bands
from neurolm.timescales.unit_timescale import UnitTimescale
from neurolm.timescales.window_result import WindowResult, load_windows, save_windows

__all__ = [
    "ContextWindowSweep",
    "Contrast",
    "ContrastResult",
    "EncodingResponder",
    "FitSettings",
    "ForecastGain",
    "MatchedItems",
    "Recovery",
    "RecoverySettings",
    "RememberedFeatures",
    "Responder",
    "ScrambleWindow",
    "SwapWindow",
    "SwitchWindow",
    "UnitResponder",
    "UnitTimescale",
    "WindowResult",
    "ablate_units",
    "band_timescales",
    "bank_bands",
    "fit_influence",
    "intersubject_correlation",
    "item_responses",
    "jackknifed",
    "load_windows",
    "match_items",
    "mean_and_halves",
    "planted_recovery",
    "power_law_check",
    "prediction_test",
    "save_windows",
    "scramble_isc",
    "spectral_bands",
    "story_bootstrap",
    "token_ids",
    "unit_timescales",
    "unscramble_bold",
    "withheld",
]
