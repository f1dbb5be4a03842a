"""A cortex to test on: thousands of voxels in a real mask, planted gradients, real stories, realistic noise.

Every voxel follows real features of real stories with its own share of signal, its own timescale
and its own preference for concrete words, which change smoothly over the brain. Whatever an
analysis says about signal, timescale and concreteness can be laid beside what was planted. Nobody
was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from neurolm.brain import BoldRun, VolumeMask, VoxelMap
from neurolm.checks import bad, check_choice, check_same_length
from neurolm.datasets import DatasetInfo, Finding
from neurolm.encoding.design import Design
from neurolm.features import Features, FeatureSpace
from neurolm.progress import Progress, silent
from neurolm.statistics import ar1_noise, columnwise_correlation
from neurolm.stimuli import Transcript

DELAYS = (1, 2, 3, 4)
HRF = np.array([0.5, 1.0, 0.7, 0.3])  # response to a word 2, 4, 6, 8 s later, at a TR of 2 s
N_COMPONENTS = 15  # directions of feature space that voxels read
LEAD_OUT_S = 12.0

INFO = DatasetInfo(
    name="simulated_cortex",
    description="SIMULATED voxels in a brain mask, driven by real features of real stories; gradients of signal, timescale and "
    "concreteness are planted. Nobody was measured.",
    design="One run for each story and simulated listener; all listeners share signal and gradients, not noise.",
    format="Made in memory from a mask, transcripts and features.",
    licence="BSD-3-Clause, as neurolm; stories and mask have their own",
    citation="neurolm, simulated cortex.",
    url="",
    facts=(
        "SIMULATED: results say whether an analysis finds what was planted, and nothing about brains.",
        "Gradients: signal is strongest in the lateral temporal lobes and the medial parietal cortex, timescales lengthen from the "
        "back to the front, preference for concrete words rises from below to above.",
        "Noise: white, autocorrelated (AR(1), .5) and slow drift, smooth over 8 mm.",
    ),
    is_simulated=True,
)


@dataclass(frozen=True, eq=False)
class PlantedMaps:
    """What is true of every voxel.

    share : (n_voxels,) of the BOLD variance that is signal; a perfect model's correlation is its root
    timescale : (n_voxels,) which of the drivers it follows, in that driver's unit (words)
    concreteness : (n_voxels,) from -1 (abstract) to 1 (concrete): part of its signal that follows concreteness
    """

    share: np.ndarray
    timescale: np.ndarray
    concreteness: np.ndarray


def plant_gradients(space: VolumeMask, timescales: Sequence[float], max_share: float = 0.35) -> PlantedMaps:
    """Smooth gradients over a brain; coordinates in mm as in MNI space.

    Parameters
    ----------
    space : VolumeMask
    timescales : sequence of float
        Those that drivers exist for; the nearest one to each voxel's place on a logarithmic gradient from
        the back (shortest) to the front (longest).
    max_share : float
        Largest share of signal in the BOLD variance.
    """
    x, y, z = space.coordinates().T
    temporal = np.exp(-(((np.abs(x) - 54) / 18) ** 2 + ((y + 22) / 32) ** 2 + ((z - 2) / 20) ** 2) / 2)
    parietal = np.exp(-((x / 14) ** 2 + ((y + 58) / 18) ** 2 + ((z - 34) / 18) ** 2) / 2)
    front = np.exp(-(((np.abs(x) - 46) / 16) ** 2 + ((y - 24) / 22) ** 2 + ((z - 18) / 20) ** 2) / 2)
    share = max_share * np.clip(temporal + 0.9 * parietal + 0.6 * front, 0, 1)
    steps = np.sort(np.log(np.asarray(timescales, dtype=np.float64)))
    place = (y - y.min()) / (y.max() - y.min())
    wanted = steps[0] + place * (steps[-1] - steps[0])
    timescale = np.exp(steps[np.abs(wanted[:, None] - steps).argmin(1)])
    concreteness = 0.8 * np.clip((z - np.median(z)) / 40, -1, 1)
    return PlantedMaps(share, timescale, concreteness)


class SimulatedCortex:
    """A simulated data set that follows the protocol of `neurolm.datasets.Dataset`.

    Parameters
    ----------
    transcripts : mapping of str to Transcript
        Real stories by name.
    space : VolumeMask
        Any brain mask in MNI space: `read_mask(path)`.
    drivers : mapping of float to FeatureSpace
        Features that voxels of each timescale follow: hidden states with a context of so many words.
    concreteness : FeatureSpace
        One column: `Norms(path, "Conc.M", missing="mean")`.
    n_subjects : int
    max_share : float
        Largest share of signal in the BOLD variance.
    tr : float
        Seconds.
    seed : int
        The same seed gives the same bytes on the same machine.
    """

    info = INFO
    is_simulated = True
    folder: Path | None = None
    sources: tuple[Path, ...] = ()  # files that it was made from, where it was

    def __init__(
        self,
        transcripts: Mapping[str, Transcript],
        space: VolumeMask,
        drivers: Mapping[float, FeatureSpace],
        concreteness: FeatureSpace,
        *,
        n_subjects: int = 1,
        max_share: float = 0.35,
        tr: float = 2.0,
        seed: int = 0,
    ) -> None:
        if not transcripts or not drivers:
            raise bad("transcripts and drivers", "hold at least one each", f"{len(transcripts)} and {len(drivers)}")
        if min(drivers) <= 0:
            raise bad("timescales of drivers", "be > 0", min(drivers))
        self.transcripts, self.space, self.drivers, self.concreteness = dict(transcripts), space, dict(drivers), concreteness
        self.n_subjects, self.tr, self.seed = n_subjects, tr, seed
        self.truth = plant_gradients(space, sorted(drivers), max_share)

    def subjects(self) -> list[str]:
        return [f"sim{i + 1:02d}" for i in range(self.n_subjects)]

    def stories(self, subject: str | None = None) -> list[str]:
        return list(self.transcripts)

    def transcript(self, story: str) -> Transcript:
        return self.transcripts[check_choice("story", story, self.transcripts)]

    def tr_times(self, story: str) -> np.ndarray:
        """(n_trs,) from story time 0 until some seconds after the last word."""
        return np.arange(0, self.transcript(story).offsets[-1] + LEAD_OUT_S, self.tr)

    def bold(self, subject: str, story: str) -> BoldRun:
        """Signal and noise in their planted shares, (n_trs, n_voxels) float32; unit variance in expectation."""
        who = self.subjects().index(check_choice("subject", subject, self.subjects()))
        times = self.tr_times(story)
        rng = np.random.default_rng([self.seed, who, self.stories().index(story)])
        noise = cortical_noise(self.space, len(times), self.tr, rng)
        share = self.truth.share.astype(np.float32)
        data = np.sqrt(share) * self.signal(story) + np.sqrt(1 - share) * noise
        return BoldRun(data, times, self.space, subject, story)

    def files(self, story: str, subject: str | None = None) -> list[Path]:
        """Everything that it was made from: the signal of each story is scaled by that of all."""
        return list(self.sources)

    def rows(self, subject: str, story: str) -> BoldRun:
        """The times and voxels of `bold`, without its numbers: zeros that take no memory."""
        times = self.tr_times(story)
        return BoldRun(np.broadcast_to(np.float32(0), (len(times), self.space.n_voxels)), times, self.space, subject, story)

    def signal(self, story: str) -> np.ndarray:
        """(n_trs, n_voxels) float32: what a perfect model predicts, variance 1 over all stories."""
        return self._unscaled(story) / self._scale

    def planted(self) -> dict[str, VoxelMap]:
        """The truth as maps: explainable_correlation, timescale, concreteness."""
        truth = {
            "explainable_correlation": np.sqrt(self.truth.share),
            "timescale": self.truth.timescale,
            "concreteness": self.truth.concreteness,
        }
        return {name: VoxelMap(values, self.space, name) for name, values in truth.items()}

    def check(self, progress: Progress = silent) -> list[Finding]:
        """Nothing can be missing; the facts are named, the first of them that this is simulated."""
        return [Finding("note", fact) for fact in INFO.facts]

    def _unscaled(self, story: str) -> np.ndarray:
        responses, about = self._responses[story]
        preference = self.truth.concreteness.astype(np.float32)
        signal = np.empty((len(about), self.space.n_voxels), dtype=np.float32)
        for timescale, response in responses.items():
            voxels = np.isclose(self.truth.timescale, timescale)
            mixtures = self._mixtures[: response.shape[1], voxels]
            signal[:, voxels] = response @ (mixtures / np.sqrt((mixtures**2).sum(0)))
        return np.sqrt(1 - preference**2) * signal + preference * about

    @cached_property
    def _scale(self) -> np.ndarray:
        """(n_voxels,) standard deviation of the unscaled signal over all stories."""
        stories = [self._unscaled(story) for story in self.stories()]
        n = sum(len(s) for s in stories)
        mean = sum(s.sum(0, dtype=np.float64) for s in stories) / n
        return np.sqrt(sum(((s - mean) ** 2).sum(0, dtype=np.float64) for s in stories) / n).astype(np.float32)

    @cached_property
    def _mixtures(self) -> np.ndarray:
        """(n_components, n_voxels): what each voxel reads, smooth over the brain."""
        rng = np.random.default_rng([self.seed, 1_000_003])
        return cortical_noise(self.space, N_COMPONENTS, self.tr, rng, in_time=False, fwhm_mm=20.0)

    @cached_property
    def _responses(self) -> dict[str, tuple[dict[float, np.ndarray], np.ndarray]]:
        """For each story: (n_trs, n_components) of each timescale, and (n_trs, 1) of concreteness, unit variance."""
        stories = self.stories()
        by_scale = {
            t: self._convolved([space.extract(self.transcripts[s]) for s in stories]) for t, space in self.drivers.items()
        }
        about = self._convolved([self.concreteness.extract(self.transcripts[s]) for s in stories])
        return {s: ({t: runs[i] for t, runs in by_scale.items()}, about[i]) for i, s in enumerate(stories)}

    def _convolved(self, features: list[Features]) -> list[np.ndarray]:
        """Features through the planted HRF, as their leading directions, each of unit variance over all stories."""
        times = [self.tr_times(s) for s in self.stories()]
        design = Design.from_training(features, times, DELAYS)
        runs = []
        for story, t in zip(features, times):
            delayed = design.transform(story, t).reshape(len(t), len(DELAYS), -1)
            runs.append(np.einsum("d,tdf->tf", HRF, delayed))
        whole = np.concatenate(runs)
        whole = whole - whole.mean(0)
        _, _, directions = np.linalg.svd(whole, full_matrices=False)
        directions = directions[:N_COMPONENTS]
        spread = (whole @ directions.T).std(0)
        return [((run - np.concatenate(runs).mean(0)) @ directions.T / spread).astype(np.float32) for run in runs]


def map_correlation(found: VoxelMap, planted: VoxelMap, where: np.ndarray | None = None) -> float:
    """Correlation of two maps over the voxels that both have a value for (and that `where` keeps)."""
    check_same_length("found", len(found.values), "planted", len(planted.values), "Both maps need one space.")
    keep = np.isfinite(found.values) & np.isfinite(planted.values)
    keep &= True if where is None else np.asarray(where, dtype=bool)
    if keep.sum() < 3:
        raise bad("maps", "share at least 3 voxels with values", int(keep.sum()))
    return float(columnwise_correlation(found.values[keep, None], planted.values[keep, None])[0])


AR1 = 0.5
SHARES = {"autocorrelated": 0.5, "white": 0.3, "drift": 0.2}
"""Of the noise variance: AR(1) with coefficient AR1, white in time, and drift slower than 128 s."""


def cortical_noise(
    space: VolumeMask,
    n_trs: int,
    tr: float,
    rng: np.random.Generator,
    *,
    in_time: bool = True,
    fwhm_mm: float = 8.0,
) -> np.ndarray:
    """Noise of unit variance in expectation: (n_trs, n_voxels) float32.

    Parameters
    ----------
    space : VolumeMask
    tr : float
        Seconds.
    in_time : bool
        False gives independent rows: smooth random maps.
    fwhm_mm : float
        Width of the spatial smoothing.
    """
    if not in_time:
        return _smooth_maps(space, n_trs, fwhm_mm, rng)
    n_warm_up = 20
    slow = ar1_noise(_smooth_maps(space, n_trs + n_warm_up, fwhm_mm, rng), AR1)[n_warm_up:]
    white = _smooth_maps(space, n_trs, fwhm_mm, rng)
    drifts = _cosines(n_trs, tr)
    drift = drifts @ _smooth_maps(space, drifts.shape[1], fwhm_mm, rng)
    parts = {"autocorrelated": slow, "white": white, "drift": drift}
    return sum(np.float32(np.sqrt(share)) * parts[name].astype(np.float32) for name, share in SHARES.items())


def _smooth_maps(space: VolumeMask, n: int, fwhm_mm: float, rng: np.random.Generator) -> np.ndarray:
    """(n, n_voxels) independent maps of unit variance in expectation, also at the mask's edge."""
    from scipy.ndimage import gaussian_filter

    sigma = fwhm_mm / 2.3548 / np.sqrt((space.affine[:3, :3] ** 2).sum(0))  # in voxels, axis by axis
    shape = space.mask.shape
    impulse = np.zeros([2 * int(4 * s + 1) + 1 for s in sigma])
    impulse[tuple(n // 2 for n in impulse.shape)] = 1
    scale = np.sqrt((gaussian_filter(impulse, sigma, mode="constant") ** 2).sum())
    maps = np.empty((n, space.n_voxels), dtype=np.float32)
    for i in range(n):
        smooth = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
        maps[i] = smooth[space.mask] / scale
    return maps


def _cosines(n_trs: int, tr: float, slowest_s: float = 128.0) -> np.ndarray:
    """Cosines slower than `slowest_s`, scaled so that independent weights give unit variance: (n_trs, n_cosines)."""
    n = max(1, int(2 * n_trs * tr / slowest_s))
    t = (np.arange(n_trs) + 0.5) / n_trs
    return np.sqrt(2 / n) * np.cos(np.pi * np.arange(1, n + 1) * t[:, None])
