"""A language model of a few kilobytes in a folder, for tests that need the command line and no quality."""

from pathlib import Path

from neurolm.lm import LSTM
from neurolm.lm.char_tokenizer import CharTokenizer
from neurolm.lm.weights import save_model

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ '-.,;:!?\"0123456789"


def save_tiny_model(folder: Path, *, width: int = 16) -> Path:
    """An untrained LSTM over letters; the same bytes every time."""
    save_model(LSTM(CharTokenizer.from_text(LETTERS), width=width, n_layers=2, seed=0), folder)
    return folder
