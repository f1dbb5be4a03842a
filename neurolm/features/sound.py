"""How loud the sound was while each word was said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.checks import bad, bad_file, check_choice, check_file
from neurolm.features.feature_space import Features
from neurolm.features.word_values import word_features
from neurolm.stimuli.transcript import Transcript
from neurolm.storage import file_hash

_SHORTEST_S = 0.01  # a word without duration is heard for this long
_FLOOR = 1e-5  # amplitude that counts as silence, -100 dB


class SoundEnvelope:
    """Root-mean-square amplitude of the sound during each word.

    Parameters
    ----------
    path : path
        A WAV file: integer or float samples, any rate; channels are averaged.
    scale : {"amplitude", "decibel"}
        1 is full scale, 0 dB; nothing is below -100 dB.
    starts_at : float
        Story time (s) at which the file begins.
    """

    def __init__(self, path: str | Path, scale: str = "amplitude", *, starts_at: float = 0.0) -> None:
        self.path = check_file(path, "Give a WAV file.")
        self.scale = check_choice("scale", scale, ["amplitude", "decibel"])
        self.starts_at = float(starts_at)

    def extract(self, transcript: Transcript) -> Features:
        """Raises InputError if a word lies outside the sound."""
        rate, samples = _read_wav(self.path)
        firsts = np.round((transcript.onsets - self.starts_at) * rate).astype(np.int64)
        stops = np.round((transcript.offsets - self.starts_at) * rate).astype(np.int64)
        stops = np.maximum(stops, firsts + max(1, round(_SHORTEST_S * rate)))
        self._check_inside(transcript, firsts, stops, rate, len(samples))
        stops = np.minimum(stops, len(samples))
        rms = np.array([_rms(samples[first:stop]) for first, stop in zip(firsts, stops)])
        values = rms if self.scale == "amplitude" else 20 * np.log10(np.maximum(rms, _FLOOR))
        return word_features(values, transcript, [f"envelope_{self.scale}"], "sound_envelope", self.settings())

    def settings(self) -> dict[str, Any]:
        return {"kind": "sound_envelope", "file": file_hash(self.path), "scale": self.scale, "starts_at": self.starts_at}

    def _check_inside(self, transcript: Transcript, firsts: np.ndarray, stops: np.ndarray, rate: int, n_samples: int) -> None:
        slack = round(_SHORTEST_S * rate)
        outside = np.flatnonzero((firsts < 0) | (stops > n_samples + slack) | (firsts >= n_samples))
        if len(outside):
            word = int(outside[0])
            raise bad(
                f"words of {transcript.name}",
                f"lie inside the sound, {self.starts_at:.2f} to {self.starts_at + n_samples / rate:.2f} s",
                f"{len(outside)} outside, the first {transcript.words[word]!r} at {transcript.onsets[word]:.2f} s",
                "Check `starts_at`, and that this is the story's sound.",
            )


def _read_wav(path: Path) -> tuple[int, np.ndarray]:
    """(samples per second, samples (n,) or (n, channels), left on disk where the format allows it)."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that it does not know
            try:
                rate, samples = wavfile.read(path, mmap=True)
            except ValueError:  # 24-bit samples cannot be mapped
                rate, samples = wavfile.read(path)
    except (ValueError, OSError, EOFError) as error:
        raise bad_file(path, f"is not a WAV file that can be read ({error})", "Convert it to WAV with 16-bit samples.") from None
    if not len(samples):
        raise bad_file(path, "holds no sound")
    return int(rate), samples


def _rms(samples: np.ndarray) -> float:
    """Root mean square of one stretch, 1 being full scale."""
    x = samples.astype(np.float64)
    if samples.dtype == np.uint8:
        x = (x - 128) / 128
    elif samples.dtype.kind == "i":
        x = x / -float(np.iinfo(samples.dtype).min)
    if x.ndim == 2:
        x = x.mean(axis=1)
    return float(np.sqrt(np.mean(x * x)))
