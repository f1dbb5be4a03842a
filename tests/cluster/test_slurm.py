"""The same workflow on a real scheduler ends with the same bytes as on this machine."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from one_node import missing, one_node

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing()), reason=missing() or "SLURM is here"),
]

CONFIG = """\
dataset: {{name: simulated, options: {{n_subjects: 3}}}}
features: {{model: smollm2-135m, layers: [0, 2], context: {{n: 64, unit: sliding}}}}
encode: {{permutations: 20, subject_permutations: 5}}
threads: 1
output: {output}
"""
PROFILE = """\
executor: slurm
jobs: 4
latency-wait: 30
slurm-status-command: squeue
slurm-init-seconds-before-status-checks: 5
default-resources: [slurm_partition=main, slurm_account=none, mem_mb=4000, runtime=30]
"""


def test_a_workflow_on_slurm_gives_the_bytes_of_the_local_run(tmp_path):
    import os
    import subprocess

    def run(name, *options, env):
        config = tmp_path / f"{name}.yaml"
        config.write_text(CONFIG.format(output=tmp_path / name))
        command = [sys.executable, "-m", "neurolm", "run", str(config), *options]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=1500)

    local = run("local", env=dict(os.environ))
    assert local.returncode == 0, local.stderr
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(PROFILE)
    with one_node(tmp_path / "slurm") as node:
        remote = run("remote", "--profile", str(profile), env=node.environment)
        log = tmp_path / "remote" / ".neurolm" / "snakemake.log"
        assert remote.returncode == 0, remote.stderr + log.read_text()[-3000:]
    for name in ("encoding/scores.h5", "encoding/scores.tsv", "features/story-theclockmakerofsaltmarsh_features.h5"):
        assert (tmp_path / "remote" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
