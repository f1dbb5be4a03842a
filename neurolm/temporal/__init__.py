"""Word time to TR time: pure functions of one run at a time.

lanczos_matrix   word features to TR features
delay_run        delayed copies for an FIR response
whole_grid       the TR grid back to the story's beginning
story_gaps       how far the ends of a story and of its BOLD lie apart
"""

from neurolm.temporal.delays import check_delays, delay_run
from neurolm.temporal.lanczos import lanczos_matrix
from neurolm.temporal.runs import story_gaps, whole_grid

__all__ = ["check_delays", "delay_run", "lanczos_matrix", "story_gaps", "whole_grid"]
