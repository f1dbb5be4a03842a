"""A training run as plain data: what the command line builds from YAML and `train` carries out."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurolm.checks import bad, check_choice, check_seed, nearest
from neurolm.training.settings import TrainerSettings

MODELS = ("RNN", "LSTM", "MultiTimescaleLSTM", "Transformer", "FeedForward")


@dataclass(frozen=True)
class CorpusSettings:
    """Which text, in which form, and what is held out.

    Parameters
    ----------
    files : list of str
        Paths or patterns; see `read_documents`. With `validation_files` and `test_files` these
        are the training text, as for data sets that come split; else all of it, to be split.
    validation_files, test_files : list of str
        Of a data set that comes split; both or neither.
    form : {"written", "spoken", "lines", "raw"}
    fallback : str, optional
        Encoding of files that are not UTF-8.
    validation, test : float
        Fractions of the words to hold out.
    long : int
        Documents of so many words are cut; shorter ones are held out whole.
    seed : int
    """

    files: tuple[str, ...]
    validation_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    form: str = "written"
    fallback: str | None = None
    validation: float = 0.05
    test: float = 0.05
    long: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.files:
            raise bad("corpus.files", "name at least one file", "none")
        check_seed("corpus.seed", self.seed)
        if bool(self.validation_files) != bool(self.test_files):
            raise bad("corpus.validation_files and corpus.test_files", "be given together, or neither", "one of them")


@dataclass(frozen=True)
class TokenizerSettings:
    """Which tokens: learned on the training text alone.

    kind : {"byte-pairs", "words", "characters"}
    vocab_size : most tokens (byte-pairs, words)
    lowercase : read capitals as small letters (byte-pairs, words)
    """

    kind: str = "byte-pairs"
    vocab_size: int = 4096
    lowercase: bool = False

    def __post_init__(self) -> None:
        check_choice("tokenizer.kind", self.kind, ("byte-pairs", "words", "characters"))


@dataclass(frozen=True)
class ModelSettings:
    """Which model.

    kind : RNN, LSTM, MultiTimescaleLSTM, Transformer or FeedForward
    settings : arguments of that class of `neurolm.lm`
    """

    kind: str = "LSTM"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("model.kind", self.kind, MODELS)


@dataclass(frozen=True)
class BatchSettings:
    """How the text is read.

    kind : {"streams", "documents", "windows"}
        One contiguous text with the state carried on; the same with a blank state for every
        document; windows from anywhere with no state.
    batch_size : rows
    length : tokens per row and step: how far back-propagation reaches
    jitter : vary the length, as AWD-LSTM does (streams)
    reset : probability that a stream begins a segment with a blank state (streams)
    seed : of the order, the windows, the jitter and the resets
    """

    kind: str = "streams"
    batch_size: int = 32
    length: int = 64
    jitter: bool = False
    reset: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("batches.kind", self.kind, ("streams", "documents", "windows"))
        check_seed("batches.seed", self.seed)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a trained model is.

    Parameters
    ----------
    name : str
        The model's name.
    corpus, tokenizer, model, batches : settings of each
    trainer : TrainerSettings
        Steps, optimiser, validation, precision.
    activation, temporal_activation : float
        AR and TAR of AWD-LSTM.
    embedding_scale : float
        What fresh embeddings are multiplied by. Those of the recurrent models are drawn from +-0.1, as
        suits tied weights; untied ones learn faster from larger ones.
    weights : {"float32", "float16"}
        How the finished weights are stored; the held-out numbers are taken after the rounding.
    baseline_order : int
        Longest n-gram of the Kneser-Ney baseline; 0 is none.
    status : str
        Whether this configuration has been run, and what came out or why not.
    """

    name: str
    corpus: CorpusSettings
    trainer: TrainerSettings
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    batches: BatchSettings = field(default_factory=BatchSettings)
    activation: float = 0.0
    temporal_activation: float = 0.0
    embedding_scale: float = 1.0
    weights: str = "float32"
    baseline_order: int = 5
    status: str = "not run"

    def __post_init__(self) -> None:
        check_choice("weights", self.weights, ("float32", "float16"))
        if self.baseline_order < 0:
            raise bad("baseline_order", "be at least 0", self.baseline_order, "0 is no baseline.")

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainConfig:
        """Build it from nested mappings, as YAML gives them.

        Raises
        ------
        InputError
            For a key that is unknown or missing, or a value of the wrong type, by its full name.
        """
        return _build(cls, content, "")

    def to_dict(self) -> dict[str, Any]:
        """The nested mappings that `from_dict` reads."""
        return dataclasses.asdict(self)


def _build(kind: Any, content: Any, place: str) -> Any:
    """A dataclass from a mapping, checked key by key."""
    if not isinstance(content, Mapping):
        raise bad(place or "the configuration", "be a mapping of settings", content)
    hints = typing.get_type_hints(kind)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in content:
        if key not in fields:
            known = f"one of {', '.join(fields)}"
            raise bad(f"{place}{key}", f"be {known}", "an unknown setting", nearest(key, fields))
    for name, item in fields.items():
        if name not in content and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise bad(f"{place}{name}", "be given", "nothing")
    return kind(**{name: _convert(hints[name], value, f"{place}{name}") for name, value in content.items()})


def _convert(hint: Any, value: Any, place: str) -> Any:
    """A value as its annotation asks for; `1e-3`, which some readers of YAML give as text, is read as a number."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{place}.")
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise bad(place, "be a list", value)
        return tuple(_convert(typing.get_args(hint)[0], item, place) for item in value)
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise bad(place, "be a number", value) from None
        if not math.isfinite(number):
            raise bad(place, "be finite", value)
        return number
    plain = typing.get_origin(hint) or hint
    if isinstance(plain, type) and (not isinstance(value, plain) or (plain is int and isinstance(value, bool))):
        raise bad(place, f"be {_WORD_FOR.get(plain, plain.__name__)}", value)
    return value


_WORD_FOR = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Mapping: "a mapping"}
