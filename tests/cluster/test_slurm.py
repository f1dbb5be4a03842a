"""The same workflow on a real scheduler ends with the same bytes as on this machine, whatever is killed in between."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tiny_model import save_tiny_model

sys.path.insert(0, str(Path(__file__).parent))
from one_node import missing, one_node

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing()), reason=missing() or "SLURM is here"),
]

CONFIG = """\
dataset: {{name: simulated, options: {{n_subjects: 3}}}}
features: {{model: {model}, layers: [0, 2], context: {{n: 64, unit: sliding}}}}
encode: {{permutations: 20, subject_permutations: 5, content_free_draws: 5, alphas: {{low: 1, high: 10000, count: 5}}}}
threads: 1
output: {output}
"""
TIMESCALES = """\
analysis: timescales
dataset: {{name: simulated, options: {{n_subjects: 3}}}}
features: {{model: {model}, layer: 1, context: {{n: 16, unit: sliding}}}}
fit: {{alphas: {{low: 1, high: 10000, count: 4}}, folds: 3, inner_folds: 3, permutations: 19, bootstrap: 20}}
estimators: [bands, isc]
bands: {{time_constants: [2, 8]}}
device: cpu
threads: 1
output: {output}
"""
PROFILE = """\
executor: slurm
jobs: 4
retries: 2
latency-wait: 30
slurm-status-command: squeue
slurm-init-seconds-before-status-checks: 2
default-resources: [slurm_partition=main, slurm_account=none, mem_mb=2000, runtime=30]
"""
SMALL = """\
set-resources:
  features: {mem_mb: 2000}
  encode: {mem_mb: 2000}
"""
UNCOMPARED = (".neurolm", ".snakemake", "config.json")  # they name their folder, times and process ids


def test_a_workflow_on_slurm_gives_the_bytes_of_the_local_run_after_kills(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    environment = os.environ | {"NEUROLM_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "neurolm", "run"]

    def config(name):
        return write_config(tmp_path, CONFIG, name, model)

    local = subprocess.run([*command, config("local")], capture_output=True, text=True, env=environment)
    assert local.returncode == 0, local.stderr

    profile = write_profile(tmp_path, PROFILE + SMALL)
    log = tmp_path / "remote" / ".neurolm" / "snakemake.log"
    with one_node(tmp_path / "slurm") as node:
        environment = node.environment | {"NEUROLM_CACHE": str(tmp_path / "other-cache")}
        run = [*command, config("remote"), "--profile", profile]

        first = subprocess.Popen(run, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        job = _wait_for_step("features extract", tmp_path / "remote")
        job.kill()  # the job dies; the scheduler's retry does it again
        retried = _wait_for_step("features extract", tmp_path / "remote", other_than=job.pid)
        node.kill_controller(retried.create_time())  # the head node goes down and comes back
        time.sleep(5)
        node.start_controller()
        step = _wait_for_step("encode", tmp_path / "remote")
        os.kill(first.pid, signal.SIGKILL)  # the run itself; its job lives on
        first.wait()
        assert step.is_running()

        again = subprocess.run(run, env=environment, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr + log.read_text()[-3000:]
        assert not step.is_running()
        assert "Reused, finished earlier: check, features." in again.stdout
        assert node.jobs() == []
    assert _hashes(tmp_path / "remote") == _hashes(tmp_path / "local")
    assert not list(tmp_path.rglob("*.part"))


def test_array_jobs_gpus_and_retries_are_asked_of_the_scheduler(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    command = [sys.executable, "-m", "neurolm", "run"]
    cache = {"NEUROLM_CACHE": str(tmp_path / "cache")}
    config = write_config(tmp_path, TIMESCALES, "local", model)
    local = subprocess.run([*command, config], capture_output=True, text=True, env=os.environ | cache)
    assert local.returncode == 0, local.stderr

    profile = write_profile(tmp_path, PROFILE.replace("retries: 2", "retries: 1") + "slurm-array-jobs: map\n")
    with one_node(tmp_path / "slurm", memory_mb=16_500) as node:
        node.note_submissions()

        def run(text, name):
            node.submitted.write_text("")
            path = write_config(tmp_path, text, name, model)
            done = subprocess.run(
                [*command, path, "--profile", profile], env=node.environment | cache, capture_output=True, text=True
            )
            return done, [line.split() for line in node.submitted.read_text().splitlines()]

        done, (check, estimators, report) = run(TIMESCALES, "array")
        assert done.returncode == 0, done.stderr
        assert "--array=1-2" in estimators
        assert not [word for word in check + report if word.startswith("--array")]

        done, jobs = run(CONFIG.replace("threads: 1", "threads: 1\ndevice: cuda"), "gpu")
        assert done.returncode == 2
        assert "CUDA" in done.stderr
        check, *features = jobs
        assert not [word for word in check if "gpu" in word and word.startswith("--")]
        assert [job[job.index("--mem") + 1] for job in features] == ["8000", "16000"]
        for job in features:
            assert "--gpus=1" in job
        said = subprocess.run(
            [sys.executable, "-m", "neurolm", "status", tmp_path / "gpu"], capture_output=True, text=True
        ).stdout
        assert "failed    features" in said
    assert _hashes(tmp_path / "array") == _hashes(tmp_path / "local")


def write_config(folder: Path, text: str, name: str, model: Path) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text.format(model=model, output=folder / name))
    return str(path)


def write_profile(folder: Path, text: str) -> str:
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text(text)
    return str(folder / "profile")


def _wait_for_step(words: str, output: Path, *, other_than: int = 0, seconds: float = 300) -> psutil.Process:
    """The process of a step of the run in `output`."""
    log = output / ".neurolm" / "snakemake.log"
    for _ in range(int(seconds * 5)):
        assert not log.exists() or "Exiting because" not in log.read_text(), log.read_text()
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join((process.info["cmdline"] or [])[1:])
            if line.startswith(f"-m neurolm {words} {output}/config.json") and process.pid != other_than:
                return process
        time.sleep(0.2)
    raise AssertionError(f"no step {words!r} came to work")


def _hashes(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file() and not set(UNCOMPARED) & set(p.relative_to(folder).parts))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}
