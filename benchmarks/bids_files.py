"""How long it takes to find the files of a BIDS tree: neurolm, nilearn's own, bids2table.

A synthetic tree of about 4,300 files in the shape of fMRIPrep's output. Each row: every preprocessed
run of every subject with its entities, from a process that has the tree in the system's cache.

    python benchmarks/bids_files.py [--subjects 60] [--bids2table /path/to/its/python]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

RUNS = 4
KINDS = (
    *(
        f"_space-MNI152NLin2009cAsym_res-2_{kind}"
        for kind in ("boldref.nii.gz", "desc-brain_mask.nii.gz", "desc-brain_mask.json")
    ),
    *(f"_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.{ending}" for ending in ("nii.gz", "json")),
    *(f"_hemi-{side}_space-fsaverage5_bold.{ending}" for side in "LR" for ending in ("func.gii", "json")),
    *(f"_desc-confounds_timeseries.{ending}" for ending in ("tsv", "json")),
    *(f"_space-fsLR_den-91k_bold.{ending}" for ending in ("dtseries.nii", "json")),
    *(f"_from-{a}_to-{b}_mode-image_xfm.txt" for a, b in (("scanner", "T1w"), ("T1w", "scanner"))),
    "_desc-hmc_boldref.nii.gz",
    "_desc-coreg_boldref.nii.gz",
    "_desc-summary_bold.html",
)


def make_tree(root: Path, n_subjects: int) -> int:
    (root / "dataset_description.json").write_text('{"Name": "tree", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}')
    count = 1
    for subject in range(1, n_subjects + 1):
        func = root / f"sub-{subject:03d}" / "func"
        func.mkdir(parents=True)
        for run in range(1, RUNS + 1):
            for kind in KINDS:
                (func / f"sub-{subject:03d}_task-story_run-{run}{kind}").touch()
                count += 1
    return count


def seconds(work, repeats: int = 5) -> tuple[float, int]:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), found


def ours(root: Path) -> int:
    from neurolm.datasets.bids_files import find_files, preprocessed_runs

    return len(preprocessed_runs(find_files(root), root, "MNI152NLin2009cAsym").images)


def nilearns(root: Path) -> int:
    from nilearn.interfaces.bids import get_bids_files, parse_bids_filename

    files = get_bids_files(root, file_tag="bold", file_type="nii.gz", filters=[("desc", "preproc")])
    return len([parse_bids_filename(file) for file in files])


BIDS2TABLE = """
import statistics, time, bids2table
taken = []
for _ in range(3):
    began = time.perf_counter()
    table = bids2table.index_dataset({root!r})
    frame = table.to_pylist()
    found = sum(row.get("desc") == "preproc" and row.get("suffix") == "bold" and row.get("ext") == ".nii.gz" for row in frame)
    taken.append(time.perf_counter() - began)
print(statistics.median(taken), found)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--bids2table", help="python of an environment that has bids2table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        n_files = make_tree(root, arguments.subjects)
        print(f"{n_files} files, {arguments.subjects} subjects, {arguments.subjects * RUNS} runs; 1 thread")
        for name, work in (("neurolm", ours), ("nilearn", nilearns)):
            taken, found = seconds(lambda work=work: work(root))
            print(f"{name:<12}{taken:8.3f} s   {found} runs found")
        if arguments.bids2table:
            told = subprocess.run(
                [arguments.bids2table, "-c", BIDS2TABLE.format(root=str(root))], capture_output=True, text=True, check=True
            ).stdout.split()
            print(f"{'bids2table':<12}{float(told[0]):8.3f} s   {told[1]} runs found")


if __name__ == "__main__":
    main()
