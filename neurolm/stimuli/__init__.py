"""What was heard: words with times.

Transcript                              words, onsets, offsets (s), sentence and paragraph marks
ContextWindow                           how much of the past a word may see
read_transcript                         any of the files below; the content decides
read_textgrid, read_tiers               Praat TextGrids: the words, or every tier as it stands
read_events, read_gentle                BIDS events, CSV with or without a header; gentle's JSON
write_csv, write_textgrid               a transcript as a file
mark_sentences, words_of_text           sentences and paragraphs from a plain text
is_all_caps, lowercase_if_all_caps      transcripts in capitals
stimulus_groups, shared_words           stories that are heard again, by their words
scramble, truncate, swap, switch        the same story taken apart: Perturbed(transcript, source_index)
"""

from neurolm.stimuli.context_window import ContextWindow
from neurolm.stimuli.events import read_events
from neurolm.stimuli.gentle import read_gentle
from neurolm.stimuli.perturb import Perturbed, scramble, swap, switch, truncate
from neurolm.stimuli.reader import read_transcript
from neurolm.stimuli.repeats import near_duplicates, shared_words, stimulus_groups
from neurolm.stimuli.text_marks import MarkedTranscript, Mismatch, mark_sentences, words_of_text
from neurolm.stimuli.textgrid import Tier, read_textgrid, read_tiers
from neurolm.stimuli.transcript import Transcript
from neurolm.stimuli.word_entries import is_all_caps, lowercase_if_all_caps
from neurolm.stimuli.writer import write_csv, write_textgrid

__all__ = [
    "ContextWindow",
    "MarkedTranscript",
    "Mismatch",
    "Perturbed",
    "Tier",
    "Transcript",
    "is_all_caps",
    "lowercase_if_all_caps",
    "mark_sentences",
    "near_duplicates",
    "read_events",
    "read_gentle",
    "read_textgrid",
    "read_tiers",
    "read_transcript",
    "scramble",
    "shared_words",
    "stimulus_groups",
    "swap",
    "switch",
    "truncate",
    "words_of_text",
    "write_csv",
    "write_textgrid",
]
