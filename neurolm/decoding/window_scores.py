"""A decoded story against the one that was heard, window by window, beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from neurolm.checks import bad, check_choice
from neurolm.decoding.text_scores import TextScore, normalised, text_scores
from neurolm.progress import Progress, silent
from neurolm.statistics import fdr, permutation_p
from neurolm.stimuli.transcript import Transcript


@dataclass(frozen=True, eq=False)
class WindowScores:
    """Scores of every window; with null decodes, where they stand among those.

    centres : (n_windows,) seconds on the story's clock
    window_s : length of a window
    scores : name -> (n_windows,); NaN where nothing was heard
    null : name -> (n_nulls, n_windows) of null decodes; empty without them
    labels : name -> what the score is
    errors : names of scores where less is better
    """

    centres: np.ndarray
    window_s: float
    scores: Mapping[str, np.ndarray]
    null: Mapping[str, np.ndarray] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    errors: frozenset[str] = frozenset()

    def story_score(self, name: str) -> float:
        """Mean over windows."""
        return float(np.nanmean(self._of(name)))

    def story_null(self, name: str) -> np.ndarray:
        """(n_nulls,) the same of every null decode."""
        return np.nanmean(self._null_of(name), axis=1)

    def window_z(self, name: str) -> np.ndarray:
        """(n_windows,) in standard deviations (ddof 0) of the null, positive is better; NaN where the null does not vary."""
        return self._z(name, self._of(name), self._null_of(name))

    def story_z(self, name: str) -> float:
        """The same for the mean over windows."""
        return float(self._z(name, np.array([self.story_score(name)]), self.story_null(name)[:, None])[0])

    def window_p(self, name: str) -> np.ndarray:
        """(n_windows,) one-sided: (1 + nulls at least as good) / (1 + nulls). Windows overlap and are not independent."""
        sign = -1 if name in self.errors else 1
        return permutation_p(sign * self._of(name), sign * self._null_of(name))

    def window_q(self, name: str, method: str = "by") -> np.ndarray:
        """(n_windows,) false discovery rate; "by" holds for any dependence between windows."""
        return fdr(self.window_p(name), method)

    def story_p(self, name: str) -> float:
        """One-sided p of the story score; with n nulls never below 1 / (n + 1)."""
        sign = -1 if name in self.errors else 1
        return float(permutation_p(np.array([sign * self.story_score(name)]), sign * self.story_null(name)[:, None])[0])

    def table(self) -> list[dict[str, float | str]]:
        """One row per score, for a report: score, and with nulls their number, mean, z, p and the share of windows with q < .05.

        That share is NaN where so few null decodes could have shown nothing in any window.
        """
        rows: list[dict[str, float | str]] = []
        for name in self.scores:
            row: dict[str, float | str] = {"score": name, "label": self.labels.get(name, name), "story": self.story_score(name)}
            if name in self.null:
                n_null = len(self._null_of(name))
                q = self.window_q(name)
                can_be_found = (fdr(np.full(len(q), 1 / (1 + n_null)), "by") < 0.05).any()
                row |= {
                    "null_mean": float(self.story_null(name).mean()),
                    "story_z": self.story_z(name),
                    "story_p": self.story_p(name),
                    "windows_q05": float((q < 0.05).mean()) if can_be_found else float("nan"),
                    "n_null": n_null,
                }
            rows.append(row)
        return rows

    def _of(self, name: str) -> np.ndarray:
        return self.scores[check_choice("score", name, self.scores)]

    def _null_of(self, name: str) -> np.ndarray:
        self._of(name)
        if name not in self.null:
            raise bad("null", "be given for z and p", "none", "Pass null decodes to score_windows (see decoding.null).")
        return self.null[name]

    def _z(self, name: str, values: np.ndarray, null: np.ndarray) -> np.ndarray:
        spread = null.std(axis=0)
        sign = -1 if name in self.errors else 1
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(spread > 1e-12, sign * (values - null.mean(axis=0)) / spread, np.nan)


def score_windows(
    decoded: Transcript,
    story: Transcript,
    window_s: float = 20.0,
    *,
    step_s: float = 1.0,
    segment: tuple[float, float] | None = None,
    scores: Sequence[TextScore] | None = None,
    null: Sequence[Transcript] = (),
    progress: Progress = silent,
) -> WindowScores:
    """Compare decoded with heard words in overlapping windows.

    Parameters
    ----------
    decoded, story : Transcript
        Words lie where their middle is.
    window_s, step_s : float
        Published: windows of 20 s, one for every second, [centre - 10, centre + 10).
    segment : (float, float), optional
        Seconds; the part of the story that is evaluated. Default: first onset to last offset.
    scores : sequence of TextScore, optional
        Default: WER, BLEU-1 and METEOR.
    null : sequence of Transcript
        Null decodes at the same word times (`null_decodes`).

    Raises
    ------
    InputError
        If the segment is shorter than a window.
    """
    chosen = list(scores) if scores is not None else text_scores()
    centres = window_centres(story, window_s, step_s, segment)
    heard = cut_windows(normalised(story), centres, window_s)
    results: dict[str, list[np.ndarray]] = {score.name: [] for score in chosen}
    texts = [decoded, *null]
    for done, text in enumerate(texts, start=1):
        own = cut_windows(normalised(text), centres, window_s)
        for score in chosen:
            results[score.name].append(score(heard, own))
        progress(done, len(texts), "texts scored")
    return WindowScores(
        centres,
        window_s,
        {name: values[0] for name, values in results.items()},
        {name: np.stack(values[1:]) for name, values in results.items()} if null else {},
        {score.name: score.label for score in chosen},
        frozenset(score.name for score in chosen if score.is_error),
    )


def window_centres(
    story: Transcript, window_s: float = 20.0, step_s: float = 1.0, segment: tuple[float, float] | None = None
) -> np.ndarray:
    """Centres (s), `step_s` apart, of the windows that lie within the segment."""
    if window_s <= 0 or step_s <= 0:
        raise bad("window_s and step_s", "be > 0", (window_s, step_s))
    if not len(story):
        raise bad("story", "hold at least one word", "none")
    start, end = segment or (float(story.onsets[0]), float(story.offsets.max()))
    if end - start < window_s:
        hint = "Shorten window_s (evaluation.window_s in a config), or judge a longer part."
        raise bad("segment", f"be at least as long as a window, {window_s:g} s", f"{start:g}-{end:g} s", hint)
    return np.arange(start + window_s / 2, end - window_s / 2 + 1e-9, step_s)


def cut_windows(transcript: Transcript, centres: np.ndarray, window_s: float) -> list[tuple[str, ...]]:
    """The words of each window: those whose middle lies in [centre - window_s / 2, centre + window_s / 2)."""
    times = transcript.mid_times
    order = np.argsort(times, kind="stable")
    first = np.searchsorted(times[order], centres - window_s / 2)
    last = np.searchsorted(times[order], centres + window_s / 2)
    return [tuple(transcript.words[i] for i in order[a:b]) for a, b in zip(first, last)]
