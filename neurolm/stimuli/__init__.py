"""What was heard: words with times.

Transcript                      words, onsets, offsets (s), sentence and paragraph marks
ContextWindow                   how much of the past a word may see
read_textgrid, read_tiers       Praat TextGrids: the words, or every tier as it stands
is_all_caps, lowercase_if_all_caps   transcripts in capitals
"""

from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.letter_case import is_all_caps, lowercase_if_all_caps
from neurolm.stimuli.textgrid import Tier, read_textgrid, read_tiers
from neurolm.stimuli.transcript import Transcript

__all__ = ["ContextWindow", "Tier", "Transcript", "is_all_caps", "lowercase_if_all_caps", "read_textgrid", "read_tiers"]
