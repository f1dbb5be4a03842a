"""neurolm: language models as models of the brain.

From a transcript and a BOLD run to a brain map, and from a BOLD run back to words.
The sub-packages are imported where they are used, so that this import stays fast.
"""

__version__ = "0.1.0"
