"""False alarms and power of the test of which words a run's BOLD follows, on simulated studies.

    python benchmarks/words_followed.py [n_studies]

Each study has 3 stories of 5 minutes and 700 voxels at a TR of 2 s. Noise is AR(1), a part of it shared by all voxels. A share of
the voxels responds to the word rate with a correlation of about .3. Printed: how often a study of sound runs is stopped by any of
the three checks, with and without a response, and how often wrong words, a shifted story and a shifted run are found.
"""

from __future__ import annotations

import sys

import numpy as np

from neurolm.datasets.word_following import SampledRun, StoryFollowing, expected_response, words_followed
from neurolm.stimuli import Transcript

TR, N_TRS, N_VOXELS, N_STORIES = 2.0, 150, 700, 3


def speech(rng: np.random.Generator, name: str) -> Transcript:
    """Words whose rate wanders as speech does: phrases, pauses, and slow changes."""
    onsets, t, pace = [], 1.0, 0.0
    while t < TR * N_TRS - 12:
        pace = 0.97 * pace + 0.25 * rng.standard_normal()
        t += rng.gamma(3.0, np.exp(0.25 * pace) * 0.28 / 3) + (rng.exponential(0.9) if rng.random() < 0.1 else 0.0)
        onsets.append(t)
    times = np.array(onsets)
    return Transcript([f"{name}{i}" for i in range(len(times))], times, times + 0.2, name=name)


def ar1(rng: np.random.Generator, n: int, rho: float = 0.5) -> np.ndarray:
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -rho], rng.standard_normal((N_TRS + 50, n)), axis=0)[50:] * np.sqrt(1 - rho**2)


def measured(
    rng: np.random.Generator, heard: Transcript, share: float, shift_s: float, subject: str, r: float = 0.3
) -> SampledRun:
    times = TR * np.arange(N_TRS)
    response = expected_response(heard, times + TR / 2 - 5.0 - shift_s)
    response = (response - response.mean()) / response.std()
    data = np.sqrt(0.9) * ar1(rng, N_VOXELS) + np.sqrt(0.1) * ar1(rng, 1) * rng.standard_normal(N_VOXELS)
    n = round(share * N_VOXELS)
    data[:, :n] += r / np.sqrt(1 - r**2) * response[:, None]
    return SampledRun((data - data.mean(0)) / data.std(0), times, subject, "one space")


def study(
    seed: int, n_subjects: int, share: float, *, told: tuple[int, ...] = (0, 1, 2), who: int | None = None, shift_s: float = 0.0
) -> dict[str, StoryFollowing]:
    """What is found where story i is given for BOLD of story told[i], or its BOLD is late by `shift_s`, in one subject or all."""
    rng = np.random.default_rng([seed, n_subjects])
    stories = [speech(rng, name) for name in "abc"]
    runs = {}
    for i, name in enumerate("abc"):
        wrong = [who is None or s == who for s in range(n_subjects)]
        late = [shift_s if i == 0 and is_wrong else 0.0 for is_wrong in wrong]
        heard = [stories[told[i]] if is_wrong else stories[i] for is_wrong in wrong]
        runs[name] = [measured(rng, h, share, t, f"s{s}") for s, (h, t) in enumerate(zip(heard, late, strict=True))]
    return words_followed(dict(zip("abc", stories, strict=True)), runs)


def stopped(found: dict[str, StoryFollowing], checks: tuple[str, ...] = ("shifted_lag", "shifted_runs", "other_words")) -> bool:
    return any(getattr(one, check) for one in found.values() for check in checks)


def main(n: int) -> None:
    def rate(label: str, n: int, **how: object) -> None:
        checks = how.pop("checks", ("shifted_lag", "shifted_runs", "other_words"))
        hits = [stopped(study(seed, **how), checks) for seed in range(n)]  # type: ignore[arg-type]
        print(f"{label:<68}{np.mean(hits):.3f} ({sum(hits)} of {n})", flush=True)

    for n_subjects in (1, 3):
        for share in (0.0, 0.3):
            rate(f"sound, {n_subjects} subjects, {share:.0%} respond: any check", n, n_subjects=n_subjects, share=share)
        for share in (0.02, 0.3):
            label, how = f"{n_subjects} subjects, {share:.0%} respond", {"n_subjects": n_subjects, "share": share}
            rate(f"two stories exchanged, {label}", n // 4, **how, told=(1, 0, 2), checks=("other_words",))
            rate(f"one story 20 s late, {label}", n // 4, **how, shift_s=20.0, checks=("shifted_lag", "shifted_runs"))
    for share in (0.02, 0.3):
        label, how = f"{share:.0%} respond", {"n_subjects": 3, "share": share}
        rate(
            f"two stories exchanged in one of 3 subjects, {label}", n // 4, **how, told=(1, 0, 2), who=1, checks=("other_words",)
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
