"""What was heard: words with times.

Transcript       words, onsets, offsets (s), sentence and paragraph marks
ContextWindow    how much of the past a word may see
"""

from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.transcript import Transcript

__all__ = ["ContextWindow", "Transcript"]
