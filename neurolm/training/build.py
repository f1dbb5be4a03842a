"""Models and tokenizers from the settings of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from neurolm.checks import bad, nearest
from neurolm.lm.byte_pair_tokenizer import BytePairTokenizer
from neurolm.lm.char_tokenizer import CharTokenizer
from neurolm.lm.dropout import RecurrentDropout
from neurolm.lm.lstm import LSTM
from neurolm.lm.mt_lstm import MultiTimescaleLSTM
from neurolm.lm.rnn import RNN
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.transformer import Transformer
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.training.config import ModelSettings, TokenizerSettings
from neurolm.training.corpus import Document

MODELS = {"RNN": RNN, "LSTM": LSTM, "MultiTimescaleLSTM": MultiTimescaleLSTM, "Transformer": Transformer}


def build_tokenizer(settings: TokenizerSettings, documents: Sequence[Document]) -> Tokenizer:
    """Learn a tokenizer from the training text."""
    texts = [document.text for document in documents]
    if settings.kind == "characters":
        return CharTokenizer.from_text("".join(texts))
    if settings.kind == "words":
        words = (word for text in texts for word in text.split())
        return WordTokenizer.from_words(words, max_size=settings.vocab_size, lowercase=settings.lowercase)
    return BytePairTokenizer.train(texts, settings.vocab_size, lowercase=settings.lowercase)


def build_model(settings: ModelSettings, tokenizer: Tokenizer, *, seed: int, name: str) -> Any:
    """A model with fresh weights.

    Raises
    ------
    InputError
        If its class takes no such setting.
    """
    make: Any = MODELS[settings.kind]
    known = set(inspect.signature(make).parameters) - {"tokenizer", "seed", "name"}
    for key in settings.settings:
        if key not in known:
            raise bad(
                f"model.settings.{key}",
                f"be a setting of {settings.kind} ({', '.join(sorted(known))})",
                "an unknown one",
                nearest(key, known),
            )
    arguments = dict(settings.settings)
    if isinstance(arguments.get("dropout"), Mapping):
        arguments["dropout"] = RecurrentDropout(**arguments["dropout"])
    return make(tokenizer, **arguments, seed=seed, name=name)
