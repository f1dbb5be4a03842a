"""A language model of a few hundred kilobytes in a folder, for tests that need the command line and no quality."""

from pathlib import Path

from neurolm.datasets import load_dataset
from neurolm.lm import LSTM, WordTokenizer
from neurolm.lm.weights import save_model


def save_tiny_model(folder: Path, *, width: int = 16) -> Path:
    """An untrained LSTM over the words of the simulated story; the same bytes every time."""
    words = sorted({word.lower() for word in load_dataset("simulated").transcript().words})
    save_model(LSTM(WordTokenizer.from_words(words), width=width, n_layers=2, seed=0), folder)
    return folder
