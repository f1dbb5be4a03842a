"""A simulated group of listeners to a short story, with a planted truth. Nobody was measured.

The story is the project's own; its word times come from a speech-rate model. Every region reads
six simple properties of the words, averaged over the recent past with its own time constant
(1, 4, 16 or 64 words), through a smooth response over 2 to 8 s, plus autocorrelated noise. So it is
known for each region what drives it, over how long a past, and how well a perfect model could do.
It stands in where no real data are available; it is no evidence about brains or language models.
"""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np

from neurolm.arrays import zscore
from neurolm.brain import BoldRun, Regions
from neurolm.brain.preprocess import mean_run, zscore_run
from neurolm.checks import bad, check_choice
from neurolm.datasets.dataset import DatasetInfo, Finding
from neurolm.datasets.simulate import SimulatedSubject, simulate_subject
from neurolm.progress import Progress, silent
from neurolm.stimuli import Transcript
from neurolm.stimuli.speech_rate import n_syllables, speak
from neurolm.temporal import delay_run, lanczos_matrix

MOST_SUBJECTS = 10_000
STORY = "the_clockmaker_of_saltmarsh"
TIME_CONSTANTS_WORDS = (1, 4, 16, 64)
SNRS = (0.3, 0.1)
TR, LEAD_IN_S, LEAD_OUT_S = 2.0, 4.0, 12.0
DELAYS = (1, 2, 3, 4)
NOISE_REGION = "noise"
REGIONS = tuple(f"{tau}w-{strength}" for tau in TIME_CONSTANTS_WORDS for strength in ("strong", "weak")) + (NOISE_REGION,)
_FUNCTION_WORDS = """
a an the and or but nor so if as than that which who whose when where what why how of to in on at by for from with into over up
out down i you he she it we they me him her us them my your his its our their this these those be is was were been are am has
have had do did does not no will would could should may might must can there then one
"""

INFO = DatasetInfo(
    name="simulated",
    description="SIMULATED listeners to a short story: planted weights, known noise. Nobody was measured.",
    design="One run of about 700 s (TR 2 s) for each simulated listener, all to the same 1,887 words.",
    format="Made in memory from a seed; nine regions as columns.",
    licence="BSD-3-Clause, as neurolm; the story was written for it",
    citation="neurolm, simulated data set.",
    url="",
    facts=(
        "SIMULATED: results say whether an analysis finds what was planted, and nothing about brains.",
        "Regions 1w, 4w, 16w and 64w follow word properties averaged over 1, 4, 16 and 64 words; strong: SNR 0.3, weak: 0.1.",
        "The region 'noise' holds autocorrelated noise alone: a sound analysis finds nothing there.",
        "Word times come from a speech-rate model, not from a recording.",
    ),
    is_simulated=True,
)


class Simulated:
    """Simulated listeners; the same seed gives the same data.

    Parameters
    ----------
    n_subjects : int
        Listeners: one shared signal, independent noise.
    seed : int
    """

    info = INFO
    is_simulated = True
    folder: Path | None = None

    def __init__(self, n_subjects: int = 8, seed: int = 0) -> None:
        if not isinstance(n_subjects, int) or not 1 <= n_subjects <= MOST_SUBJECTS:
            raise bad("n_subjects", f"be a whole number from 1 to {MOST_SUBJECTS:,}", n_subjects)
        self.n_subjects = n_subjects
        self.seed = seed

    def subjects(self) -> list[str]:
        return [f"sim{i + 1:02d}" for i in range(self.n_subjects)]

    def stories(self, subject: str | None = None) -> list[str]:
        return [STORY]

    def text(self, story: str = STORY) -> str:
        """The story as it was written, with punctuation and paragraphs."""
        check_choice("story", story, [STORY])
        return (resources.files("neurolm.datasets") / "stories" / f"{story}.txt").read_text(encoding="utf-8")

    def transcript(self, story: str = STORY) -> Transcript:
        """1,887 words with sentences and paragraphs; the first begins at 4 s."""
        return speak(self.text(story), rng=np.random.default_rng(self.seed), start=LEAD_IN_S, name=story)

    def bold(self, subject: str, story: str = STORY) -> BoldRun:
        """One listener: the planted signal of every region plus this listener's own noise."""
        check_choice("story", story, [STORY])
        number = self.subjects().index(check_choice("subject", subject, self.subjects()))
        data = np.column_stack([truth.bold[:, number] for truth in self.truth.values()])
        return BoldRun(data, self._tr_times, Regions(REGIONS), subject, story)

    def files(self, story: str = STORY, subject: str | None = None) -> list[Path]:
        """None: options and the version of neurolm say what it holds."""
        return []

    def mean_listener(self) -> BoldRun:
        """The mean over listeners of each one's z-scored run."""
        return mean_run([zscore_run(self.bold(subject)) for subject in self.subjects()])

    @cached_property
    def truth(self) -> dict[str, SimulatedSubject]:
        """For each region what was planted: the columns of its arrays are the listeners."""
        transcript = self.transcript()
        rngs = np.random.default_rng(self.seed).spawn(len(REGIONS))
        planted = {}
        for region, rng in zip(REGIONS, rngs, strict=True):
            tau, snr = _recipe(region)
            design = planted_design(transcript, self._tr_times, tau)
            weights = simulate_subject(design, 1, n_delays=len(DELAYS), rank=None, seed=rng).weights
            shared = np.repeat(weights, self.n_subjects, axis=1)
            planted[region] = simulate_subject(design, self.n_subjects, weights=shared, snr=snr, seed=rng)
        return planted

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Nothing can be missing; the facts are named, the first of them that this is simulated."""
        return [Finding("note", fact) for fact in INFO.facts]

    @cached_property
    def _tr_times(self) -> np.ndarray:
        end = self.transcript().offsets[-1] + LEAD_OUT_S
        return np.arange(0, end, TR)


def word_properties(transcript: Transcript) -> np.ndarray:
    """(n_words, 6): letters, syllables, function word, new in the story, first of a sentence, duration (s)."""
    words = [word.lower() for word in transcript.words]
    sentences = transcript.sentences if transcript.sentences is not None else np.zeros(len(words), dtype=int)
    function_words = frozenset(_FUNCTION_WORDS.split())
    is_new = np.zeros(len(words))
    is_new[np.unique(words, return_index=True)[1]] = 1
    return np.column_stack(
        [
            [len(word) for word in words],
            [n_syllables(word) for word in words],
            [word in function_words for word in words],
            is_new,
            np.diff(sentences, prepend=-1) != 0,
            transcript.offsets - transcript.onsets,
        ]
    ).astype(np.float64)


def planted_design(transcript: Transcript, tr_times: np.ndarray, tau_words: float) -> np.ndarray:
    """Word properties, averaged over the past with time constant `tau_words`, as a delayed design matrix.

    Returns
    -------
    X : array of shape (n_trs, 4 * 6)
        Delay-major over delays of 1 to 4 TRs, z-scored columns.
    """
    from scipy.signal import lfilter

    decay = np.exp(-1 / tau_words)
    averaged = lfilter([1 - decay], [1, -decay], zscore(word_properties(transcript)), axis=0)
    at_trs = lanczos_matrix(transcript.mid_times, tr_times + TR / 2) @ averaged
    return delay_run(zscore(at_trs), DELAYS)


def load_simulated(*, n_subjects: int = 8, seed: int = 0) -> Simulated:
    return Simulated(n_subjects, seed)


def _recipe(region: str) -> tuple[float, float]:
    """A region's time constant in words and its SNR."""
    if region == NOISE_REGION:
        return 1.0, 0.0
    tau, strength = region.split("w-")
    return float(tau), SNRS[("strong", "weak").index(strength)]
