"""What is installed is what was tested: the wheel holds everything and runs away from its sources."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
import yaml
from tiny_model import save_tiny_model

from neurolm import __version__

ROOT = Path(__file__).parents[2]
CONFIG = """\
dataset: {{name: simulated, options: {{n_subjects: 2}}}}
features: {{model: {model}, layers: [1], context: {{n: 16, unit: sliding}}}}
encode: {{permutations: 0, subject_permutations: 0, content_free_draws: 0, alphas: {{low: 10, high: 1000, count: 3}}}}
threads: 1
output: out
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as CI builds it, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT]
    built = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PIP_NO_INDEX": "1"})
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel; what it depends on is taken from this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    place = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (place / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_holds_code_types_pipelines_configs_and_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind, inside in (("pipelines", "_pipelines"), ("configs", "_configs")):
        sources = {p.relative_to(ROOT / kind).as_posix() for p in (ROOT / kind).rglob("*") if p.is_file()}
        assert {f"neurolm/{inside}/{name}" for name in sources} <= names
    tracked = subprocess.run(["git", "ls-files", "neurolm"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert tracked
    assert set(tracked) <= names
    assert "neurolm/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/")) or name.endswith(".pyc")]


def test_version_and_licence_are_told_alike_everywhere(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    told = message_from_string(archive.read(metadata).decode())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told["Version"] == citation["version"] == __version__
    assert told["License-Expression"] == citation["license"]
    for key in ("cff-version", "title", "message", "authors", "type", "keywords", "abstract"):
        assert citation[key]


def test_the_installed_command_runs_an_analysis_away_from_the_sources(installed, tmp_path):
    (tmp_path / "my.yaml").write_text(CONFIG.format(model=save_tiny_model(tmp_path / "model")))
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "NEUROLM_DATA")}
    environment |= {"NEUROLM_CACHE": str(tmp_path / "cache"), "PATH": f"{installed}:{os.environ['PATH']}"}

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(installed.parent) in run("python", "-c", "import neurolm; print(neurolm.__file__)")
    assert "demo" in run("neurolm", "run", "--list")
    assert "check, features, encode, report computed" in run("neurolm", "run", "my.yaml")
    assert (tmp_path / "out" / "report.html").is_file()
