"""How much time content checks add to a second `neurolm run`: a BIDS study of 200 runs, all results there.

Images are sparse files of the size that is asked for: a second run looks at their names, sizes, times and inodes, and
reads none of them. Their first hash is measured too, on a few runs with bytes in them.

    python benchmarks/content_checks.py [--subjects 50] [--gigabytes 100]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

RUNS = 4
N_WORDS = 1500
CONFIG = """\
analysis: encoding
dataset: {{name: bids, options: {{folder: {folder}, confounds: [motion]}}}}
features: {{model: neurolm/lstm-small, layers: [1]}}
output: {folder}/out
"""


def make_study(root: Path, n_subjects: int, run_bytes: int) -> int:
    """Sparse images, real words; returns the number of files."""
    for run in range(1, RUNS + 1):
        times = np.cumsum(np.full(N_WORDS, 0.4))
        rows = [f"word{i % 90},{t:.3f},{t + 0.2:.3f}" for i, t in enumerate(times)]
        path = root / "stimuli" / f"story_run-{run}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["word,onset,offset", *rows]) + "\n")
    for subject in range(1, n_subjects + 1):
        raw, func = (place / f"sub-{subject:03d}" / "func" for place in (root, root / "derivatives" / "fmriprep"))
        raw.mkdir(parents=True)
        func.mkdir(parents=True)
        for run in range(1, RUNS + 1):
            stem = f"sub-{subject:03d}_task-story_run-{run}"
            (raw / f"{stem}_events.tsv").write_text(f"onset\tduration\tstim_file\n0\t600\tstory_run-{run}.wav\n")
            image = f"{stem}_space-MNI152NLin2009cAsym_desc"
            for name, size in {f"{image}-preproc_bold.nii.gz": run_bytes, f"{image}-brain_mask.nii.gz": 40_000}.items():
                with open(func / name, "wb") as file:
                    file.truncate(size)
            (func / f"{image}-preproc_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
            (func / f"{stem}_desc-confounds_timeseries.tsv").write_text("rot_x\n" * 300)
            (func / f"{stem}_desc-confounds_timeseries.json").write_text("{}")
    return sum(len(files) for _, _, files in os.walk(root))


def remember(judge, stages) -> int:
    """Records of stages and hashes of files as after a finished run; no byte is read. The number of hashed files."""
    from neurolm.storage import write_json

    paths = {path for stage in stages for path in stage.inputs().values() if isinstance(path, Path)}
    known = {}
    for path in paths:
        s = path.stat()
        known[os.path.abspath(path)] = [[s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino], time.time() + 60, "0" * 64]
    write_json(judge.hashes.path, known)
    for stage in stages:
        for name in stage.makes:
            (stage.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (stage.folder / name).write_text("made")
    from neurolm.workflows.stages import Judge

    fresh = Judge()
    for stage in stages:
        outputs = fresh.hashes.of(stage.folder / name for name in stage.makes)
        made = {str(path.relative_to(stage.folder)): value for path, value in outputs.items()}
        write_json(stage.record, {**fresh.state(stage), "outputs": made})
    return len(paths)


def main() -> None:
    from neurolm.file_hashes import FileHashes
    from neurolm.workflows.config import read_config
    from neurolm.workflows.encoding import make_plan
    from neurolm.workflows.stages import Judge

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=50)
    parser.add_argument("--gigabytes", type=float, default=100.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        os.environ["NEUROLM_CACHE"] = str(Path(folder) / "cache")
        n_runs = asked.subjects * RUNS
        n_files = make_study(root, asked.subjects, int(asked.gigabytes * 1e9 / n_runs))
        config = Path(folder) / "my.yaml"
        config.write_text(CONFIG.format(folder=root))
        stages = make_plan(read_config(config)).stages()
        n_hashed = remember(Judge(), stages)
        plans, checks = [], []
        for _ in range(5):
            began = time.perf_counter()
            stages = make_plan(read_config(config)).stages()
            planned = time.perf_counter()
            outdated = Judge().outdated(stages)
            plans.append(planned - began)
            checks.append(time.perf_counter() - planned)
            assert not outdated, outdated
        print(f"{n_runs} runs of {asked.subjects} subjects, {asked.gigabytes:g} GB, {n_files} files, {n_hashed} of them inputs")
        print(f"plan (without content checks)   {statistics.median(plans):6.2f} s")
        print(f"content checks, all remembered  {statistics.median(checks):6.2f} s")
        block = Path(folder) / "block"
        block.write_bytes(os.urandom(1 << 28))
        began = time.perf_counter()
        FileHashes().of([block])
        print(f"first hash of a file            {block.stat().st_size / 1e9 / (time.perf_counter() - began):6.2f} GB/s")


if __name__ == "__main__":
    main()
