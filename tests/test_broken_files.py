"""Whatever is done to a file, a reader gives what it can read or an error of ours that says what is wrong: no traceback, no hang.

A few hundred cases with every run of the tests; thousands under `make test-slow`.
"""

from __future__ import annotations

import gzip
import json
import os

import h5py
import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolm.brain import (
    Surface,
    VolumeMask,
    VoxelMap,
    read_bold,
    read_cifti_bold,
    read_confounds,
    read_mask,
    read_region_table,
    read_surface_bold,
)
from neurolm.brain.confounds import non_steady_volumes
from neurolm.brain.images import header_tr, read_gifti
from neurolm.checks import InputError
from neurolm.datasets import load_dataset
from neurolm.datasets.alice import _read_table
from neurolm.datasets.bids_stories import read_stimulus_events
from neurolm.datasets.bids_times import _seconds
from neurolm.datasets.narratives import _audio_starts
from neurolm.features.norms import Norms
from neurolm.stimuli import read_textgrid, read_transcript
from neurolm.storage import read_h5, read_json, write_h5
from neurolm.workflows.config import read_config
from neurolm.workflows.report_sections import found_sections

pytestmark = pytest.mark.filterwarnings("ignore:.* is not UTF-8")
N_TRS = 6
AFFINE = np.diag([3.0, 3, 3, 1])
MASK = np.ones((2, 3, 2), dtype=bool)
RNG = np.random.default_rng(0)

GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "word"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "down"
        intervals [2]:
            xmin = 1
            xmax = 2
            text = "the ""rabbit"" hole"
"""
CHRONOLOGICAL = (
    '"Praat chronological TextGrid text file"\n0 2\n1 ! tiers\n"IntervalTier" "word" 0 2\n1 0 1\n"down"\n1 1 2\n"hole"\n'
)
GENTLE = json.dumps(
    {
        "transcript": "Down the hole. It was deep.",
        "words": [
            {"case": "success", "word": w, "start": i * 0.5, "end": i * 0.5 + 0.4, "startOffset": 0, "endOffset": 3}
            for i, w in enumerate(["Down", "the", "hole", "It", "was", "deep"])
        ],
    }
)
EVENTS = "onset\tduration\ttrial_type\tstim_file\n12.0\t200\tstory\tpieman_audio.wav\n"
WORDS = "word\tonset\toffset\nDown\t0.5\t0.9\nthe\t1.0\t1.2\nhole\t1.5\t2.0\n"
CONFIG = "dataset: {name: alice, options: {radius: 10mm}}\nfeatures:\n  layers: [0, 5]\nencode: {alphas: {low: 1, high: 10, count: 3}}\n"
CONFOUNDS = "csf\twhite_matter\tcosine00\n" + "\n".join(f"{i}.5\t{i * i}\t0.1" for i in range(N_TRS)) + "\n"
NORMS = "Word,Conc.M\ndog,4.8\nidea,1.6\n"


def gifti_in_one(folder):
    array = nibabel.gifti.GiftiDataArray(RNG.standard_normal((5, N_TRS)).astype(np.float32), intent="NIFTI_INTENT_TIME_SERIES")
    return nibabel.gifti.GiftiImage(darrays=[array]).to_bytes()


def nifti(folder, n_trs=N_TRS, dtype="f4"):
    data = RNG.standard_normal((*MASK.shape, n_trs) if n_trs else MASK.shape).astype(np.float32)
    image = nibabel.Nifti1Image(data, AFFINE)
    image.set_data_dtype(dtype)
    if n_trs:
        image.header.set_zooms((3, 3, 3, 2.0))
        image.header.set_xyzt_units("mm", "sec")
    return image.to_bytes()


def gifti(folder, n=N_TRS):
    arrays = [
        nibabel.gifti.GiftiDataArray(RNG.standard_normal(5).astype(np.float32), intent="NIFTI_INTENT_NONE") for _ in range(n)
    ]
    return nibabel.gifti.GiftiImage(darrays=arrays).to_bytes()


def cifti(folder):
    axis = nibabel.cifti2.BrainModelAxis.from_surface(np.arange(3), 5, name="CORTEX_LEFT")
    data = RNG.standard_normal((N_TRS, 3)).astype(np.float32)
    return nibabel.Cifti2Image(data, (nibabel.cifti2.SeriesAxis(0, 2, N_TRS), axis)).to_bytes()


def hdf5(folder):
    write_h5(folder / "seed.h5", {"space/names": np.array(["a", "b"]), "r": np.ones((3, 2))}, {"space": "regions"})
    return (folder / "seed.h5").read_bytes()


def lebel(folder):
    with h5py.File(folder / "seed.hf5", "w") as file:
        file["data"] = np.ones((15, 3), dtype=np.float64)
    return (folder / "seed.hf5").read_bytes()


def read_lebel(path):
    root = path.parent / "ds003020" / "derivative"
    for folder in ("TextGrids", "preprocessed_data/UTS01"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "respdict.json").write_text('{"souls": 35}')
    (root / "TextGrids" / "souls.TextGrid").write_text(GRID)
    os.replace(path, root / "preprocessed_data/UTS01/souls.hf5")
    return load_dataset("lebel2023", folder=root.parent).bold("UTS01", "souls")


def read_surface(path):
    right = path.with_name("whole.func.gii")
    right.write_bytes(gifti(path.parent))
    return read_surface_bold(path, right, "fsaverage5", first_tr_s=0, tr=2.0)


def read_fmriprep_confounds(path):
    image = path.with_name("sub-01_task-a_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz")
    image.write_bytes(gzip.compress(nifti(path.parent)))
    path.with_name("sub-01_task-a_desc-confounds_timeseries.json").write_text("{}")
    os.replace(path, path.with_name("sub-01_task-a_desc-confounds_timeseries.tsv"))
    return read_confounds(image, ["high_pass"])


def read_decoded(path):
    home = path.parent / "decoding"
    home.mkdir(exist_ok=True)
    (home / "scores.json").write_text('{"settings": {}, "summary": {"words": {"exact": 0, "gist": 0, "error": 1}, "scores": []}}')
    (home / "windows.csv").write_text("centre_s,bleu1\n10,0.5\n")
    os.replace(path, home / "table.csv")
    return found_sections([path.parent], "group")


def place(path):
    return VoxelMap.from_csv(path, VolumeMask(MASK[:1, :1], AFFINE))


SPACE = VolumeMask(MASK, AFFINE)
# what a reader is called: (name of the file, its whole content or a maker of it, the reader)
READERS = {
    "TextGrid": ("a.TextGrid", GRID, read_textgrid),
    "TextGrid in UTF-16": ("a.TextGrid", GRID.encode("utf-16"), read_textgrid),
    "chronological TextGrid": ("a.TextGrid", CHRONOLOGICAL, read_textgrid),
    "gentle JSON": ("a.json", GENTLE, read_transcript),
    "gentle CSV": ("align.csv", "Down,down,0.5,0.9\nthe,the,1.0,1.2\n", read_transcript),
    "table of words": ("a.tsv", WORDS, read_transcript),
    "BIDS events": ("sub-01_task-pieman_events.tsv", EVENTS, read_stimulus_events),
    "events of narratives": ("sub-01_task-pieman_events.tsv", EVENTS, _audio_starts),
    "NIfTI run": ("a.nii", nifti, lambda p: read_bold(p, SPACE, first_tr_s=0)),
    "packed NIfTI run": ("a.nii.gz", lambda f: gzip.compress(nifti(f)), lambda p: read_bold(p, SPACE, first_tr_s=0)),
    "NIfTI header": ("a.nii", nifti, header_tr),
    "mask": ("a.nii", lambda f: nifti(f, 0), read_mask),
    "map": ("a.nii", lambda f: nifti(f, 0), VoxelMap.from_nifti),
    "GIFTI run": ("a.func.gii", gifti, read_surface),
    "GIFTI map": ("a.func.gii", lambda f: gifti(f, 1), lambda p: VoxelMap.from_gifti(p, p, mesh="fsaverage5")),
    "CIFTI run": ("a.dtseries.nii", cifti, lambda p: read_cifti_bold(p, first_tr_s=0)),
    "map as CSV": ("a.csv", "region,r\nLIFG,0.5\nLATL,\n", VoxelMap.from_csv),
    "map of voxels as CSV": ("a.csv", "x_mm,y_mm,z_mm,r\n0,0,0,0.5\n0,0,3,0.1\n", place),
    "map of vertices as CSV": (
        "a.csv",
        "hemisphere,vertex,r\nleft,0,0.5\nright,0,0.1\n",
        lambda p: VoxelMap.from_csv(p, Surface("fsaverage5", 1, 1)),
    ),
    "confounds": ("confounds.tsv", CONFOUNDS, read_fmriprep_confounds),
    "events with an index": ("a_events.tsv", "\t" + EVENTS.replace("\n12", "\n0\t12"), read_stimulus_events),
    "events in quotes": ("a_events.tsv", '"onset"\t"duration"\t"stim_file"\n6\t70\t"a.wav"\n', read_stimulus_events),
    "GIFTI series in one array": ("a.func.gii", lambda f: gifti_in_one(f), read_gifti),
    "NIfTI run of scaled whole numbers": ("a.nii", lambda f: nifti(f, dtype="i2"), lambda p: read_bold(p, SPACE, first_tr_s=0)),
    "flags of volumes": (
        "sub-01_task-a_desc-confounds_timeseries.tsv",
        "csf\tnon_steady_state_outlier00\n1\t1\n2\t0\n",
        lambda p: non_steady_volumes(p.with_name("sub-01_task-a_space-T1w_desc-preproc_bold.nii.gz")),
    ),
    "sidecar": ("a.json", '{"RepetitionTime": 2.0, "StartTime": 1.0}', lambda p: _seconds(p, "RepetitionTime", 0.1, 30)),
    "regions with an index": ("a.csv", ",LIFG,LATL\n0,1,2\n1,3,4\n", lambda p: read_region_table(p, first_tr_s=0, tr=2.0)),
    "region table": ("a.txt", "1 2 3\n4 5 6\n7 8 9\n", lambda p: _read_table(p, 3, 3)),
    "regions of a run": ("a.csv", "LIFG,LATL\n1,2\n3,4\n5,n/a\n", lambda p: read_region_table(p, first_tr_s=0, tr=2.0)),
    "HDF5": ("a.h5", hdf5, read_h5),
    "HDF5 of responses": ("a.hf5", lebel, read_lebel),
    "JSON": ("a.json", '{"RepetitionTime": 2.0, "words": [1, 2, {"a": null}]}', read_json),
    "config": ("a.yaml", CONFIG, read_config),
    "norms": ("a.csv", NORMS, lambda p: Norms(p, "Conc.M")),
    "decoded words": ("t.csv", "start_s,end_s,heard,decoded,marks,bleu1\n0,20,a dog,the dog,error exact,0.5\n", read_decoded),
}


@st.composite
def damages(draw):
    """Some ways in which files go wrong, one after the other: (kind, where, length, bytes)."""
    kinds = st.sampled_from(["cut", "change", "insert", "remove", "double", "zero", "swap"])
    nasty = st.sampled_from(
        [b"\x00", b"\xff", b"-1", b"1e999", b"nan", b'"', b"\n", b"\t", b"{", b"\xef\xbb\xbf", b"99999999999999999999"]
    )
    one = st.tuples(kinds, st.floats(0, 1), st.integers(1, 40), nasty | st.binary(min_size=1, max_size=8))
    return draw(st.lists(one, min_size=1, max_size=4))


def damaged(content, todo):
    for kind, where, length, extra in todo:
        i = int(where * len(content))
        if kind == "cut":
            content = content[:i]
        elif kind == "change":
            content = content[:i] + extra + content[i + len(extra) :]
        elif kind == "insert":
            content = content[:i] + extra + content[i:]
        elif kind == "remove":
            content = content[:i] + content[i + length :]
        elif kind == "double":
            content = content[: i + length] + content[i:]
        elif kind == "zero":
            content = content[:i] + bytes(min(length, len(content) - i)) + content[i + length :]
        else:
            content = content[i:] + content[:i]
    return content


def whole(name, folder):
    content = READERS[name][1]
    content = content(folder) if callable(content) else content
    return content.encode() if isinstance(content, str) else content


@pytest.mark.parametrize("name", READERS)
def test_the_whole_file_is_read(name, tmp_path):
    file, _, read = READERS[name]
    path = tmp_path / file
    path.write_bytes(whole(name, tmp_path))
    read(path)


def survives(name, folder, todo):
    file, _, read = READERS[name]
    path = folder / file
    path.write_bytes(damaged(whole(name, folder), todo))
    try:
        read(path)
    except InputError as error:
        said = str(error)
        if len(said) < 20 or "\n" in said.strip()[-1:]:
            pytest.fail(f"{said!r} says too little")


QUICK = settings(max_examples=12, deadline=10_000, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
LONG = settings(max_examples=250, deadline=10_000, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.parametrize("name", READERS)
@QUICK
@given(todo=damages())
def test_broken_files_end_in_an_error_of_ours(name, tmp_path, todo):
    survives(name, tmp_path, todo)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@LONG
@given(todo=damages())
def test_thousands_of_broken_files_end_in_an_error_of_ours(name, tmp_path, todo):
    survives(name, tmp_path, todo)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 400, b"\xff\xfe", b"<html>404</html>", b"PK\x03\x04" + bytes(100), b"\x1f\x8b\x08"]
)
def test_what_is_another_file_is_refused_or_read_as_text(name, content, tmp_path):
    file, _, read = READERS[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError):
        read(tmp_path / file)
