"""A BIDS data set with fMRIPrep's output in miniature: real file names, tiny images, a planted answer to the words."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

from neurolm.datasets import load_dataset
from neurolm.stimuli import Transcript

TR, START = 2.0, 12.0  # seconds; the story begins 12 s into the scan
AFFINE = np.array([[-20.0, 0, 0, 70], [0, 20, 0, -105], [0, 0, 20, -50], [0, 0, 0, 1]])
SHAPE = (8, 10, 8)
N_VERTICES = {"fsaverage5": 10242}
VOLUME = "space-MNI152NLin2009cAsym_res-2"


def story_words(seconds: float) -> Transcript:
    """The first part of the simulated story, its clock starting at its first word less 1 s."""
    whole = load_dataset("simulated").transcript()
    n = int(np.searchsorted(whole.offsets, whole.onsets[0] + seconds))
    first = whole.onsets[0] - 1
    return Transcript(whole.words[:n], whole.onsets[:n] - first, whole.offsets[:n] - first)


def response(words: Transcript, n_trs: int) -> np.ndarray:
    """(n_trs,) z-scored answer to the word rate, 6 s later; scan time starts START seconds before the story."""
    seconds = np.arange(0, n_trs * TR, 0.1)
    rate = np.histogram(words.onsets + START, np.append(seconds, n_trs * TR))[0].astype(float)
    lag = np.arange(0, 16, 0.1)
    kernel = lag**5 * np.exp(-lag)
    heard = np.convolve(rate, kernel)[: len(seconds)].reshape(n_trs, -1).mean(1)
    return (heard - heard.mean()) / heard.std()


def build(
    root: Path,
    *,
    subjects: tuple[str, ...] = ("01", "02"),
    runs: tuple[str, ...] = ("task-clock_run-1", "task-clock_run-2"),
    n_trs: int = 120,
    forms: tuple[str, ...] = ("volume", "surface", "cifti"),
    seed: int = 0,
) -> Path:
    """Write the whole tree and return its folder."""
    rng = np.random.default_rng(seed)
    words = story_words(n_trs * TR - START - 14)
    signal = response(words, n_trs)
    write_json(root / "dataset_description.json", {"Name": "Clockmaker", "BIDSVersion": "1.10.0", "License": "CC0"})
    write_json(root / "task-clock_bold.json", {"RepetitionTime": TR, "TaskName": "clock"})
    rows = [f"{w}\t{a:.3f}\t{b:.3f}" for w, a, b in zip(words.words, words.onsets, words.offsets, strict=True)]
    write_text(root / "stimuli" / "clock.tsv", "\n".join(["word\tonset\toffset", *rows]) + "\n")
    for subject in subjects:
        func = root / "derivatives" / "fmriprep" / f"sub-{subject}" / "func"
        for run in runs:
            stem = f"sub-{subject}_{run}"
            raw = root / f"sub-{subject}" / "func"
            write_text(
                raw / f"{stem}_events.tsv", f"onset\tduration\ttrial_type\tstim_file\n{START}\t200\tstory\tclock_audio.wav\n"
            )
            write_confounds(func, stem, n_trs, rng)
            if "volume" in forms:
                write_volume(func, stem, signal, rng)
            if "surface" in forms:
                write_surface(func, stem, signal, rng)
            if "cifti" in forms:
                write_cifti(func, stem, signal, rng)
    return root


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value))


def write_volume(func: Path, stem: str, signal: np.ndarray, rng: np.random.Generator) -> None:
    data = 500 + 10 * (signal + rng.standard_normal((*SHAPE, len(signal))))
    image = nibabel.Nifti1Image(data.astype(np.float32), AFFINE)
    image.header.set_zooms((20, 20, 20, TR))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, func / f"{stem}_{VOLUME}_desc-preproc_bold.nii.gz")
    write_json(
        func / f"{stem}_{VOLUME}_desc-preproc_bold.json", {"RepetitionTime": TR, "StartTime": TR / 2, "SkullStripped": False}
    )
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:-1, 1:-1, 1:-1] = 1
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), func / f"{stem}_{VOLUME}_desc-brain_mask.nii.gz")


def write_surface(func: Path, stem: str, signal: np.ndarray, rng: np.random.Generator, mesh: str = "fsaverage5") -> None:
    for side, structure in (("L", "CortexLeft"), ("R", "CortexRight")):
        data = signal[:, None] + rng.standard_normal((len(signal), N_VERTICES[mesh])).astype(np.float32)
        arrays = [nibabel.gifti.GiftiDataArray(row.astype(np.float32), intent="NIFTI_INTENT_TIME_SERIES") for row in data]
        meta = nibabel.gifti.GiftiMetaData(AnatomicalStructurePrimary=structure)
        name = f"{stem}_hemi-{side}_space-{mesh}_bold"
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays, meta=meta), func / f"{name}.func.gii")
        write_json(func / f"{name}.json", {"RepetitionTime": TR, "StartTime": TR / 2})


def write_cifti(func: Path, stem: str, signal: np.ndarray, rng: np.random.Generator) -> None:
    axis = nibabel.cifti2.BrainModelAxis
    left = axis.from_surface(np.array([0, 2, 3]), 6, name="CORTEX_LEFT")
    right = axis.from_surface(np.array([1, 4]), 6, name="CORTEX_RIGHT")
    below = np.zeros((4, 4, 4), dtype=bool)
    below[1, 2, 3] = below[2, 2, 1] = True
    models = left + right + axis.from_mask(below, name="THALAMUS_LEFT", affine=np.diag([2.0, 2, 2, 1]))
    data = (signal[:, None] + rng.standard_normal((len(signal), len(models)))).astype(np.float32)
    series = nibabel.cifti2.SeriesAxis(0, TR, len(signal))
    image = nibabel.Cifti2Image(data, (series, models))
    nibabel.save(image, func / f"{stem}_space-fsLR_den-91k_bold.dtseries.nii")
    write_json(func / f"{stem}_space-fsLR_den-91k_bold.json", {"RepetitionTime": TR, "StartTime": TR / 2})


def write_confounds(func: Path, stem: str, n_trs: int, rng: np.random.Generator) -> None:
    motion = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    columns = {}
    for name in (*motion, "csf", "white_matter", "global_signal"):
        values = rng.standard_normal(n_trs)
        columns |= {name: values, f"{name}_derivative1": np.append(np.nan, np.diff(values)), f"{name}_power2": values**2}
        columns[f"{name}_derivative1_power2"] = columns[f"{name}_derivative1"] ** 2
    for i in range(3):
        columns[f"cosine{i:02d}"] = np.cos(np.pi * (i + 1) * (np.arange(n_trs) + 0.5) / n_trs)
    rows = ["\t".join("n/a" if np.isnan(v[i]) else f"{v[i]:.6f}" for v in columns.values()) for i in range(n_trs)]
    write_text(func / f"{stem}_desc-confounds_timeseries.tsv", "\n".join(["\t".join(columns), *rows]) + "\n")
    write_json(func / f"{stem}_desc-confounds_timeseries.json", {})
