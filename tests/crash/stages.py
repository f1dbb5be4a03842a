"""The stages that are interrupted: small real inputs, one `neurolm` command line each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pull_the_plug import Stage

NEUROLM = [sys.executable, "-m", "neurolm"]
ANALYSIS = """\
dataset: {{name: simulated, options: {{n_subjects: 3}}}}
features: {{model: smollm2-135m, layers: [0, 2], context: {{n: 64, unit: sliding}}}}
encode: {{permutations: 50, subject_permutations: 5}}
threads: 1
output: {output}
"""
TRAINING = """\
name: plug
corpus: {{files: [{text}], form: raw}}
tokenizer: {{kind: characters}}
model: {{kind: LSTM, settings: {{width: 32, n_layers: 1}}}}
batches: {{kind: streams, batch_size: 8, length: 32}}
trainer: {{n_steps: 300, checkpoint_every: 20, log_every: 20, optimizer: {{kind: adamw, lr: 0.003}}}}
baseline_order: 2
"""


def _analysis(folder: Path) -> Path:
    config = folder.with_suffix(".yaml")
    config.write_text(ANALYSIS.format(output=folder))
    return config


def _after(*earlier: str) -> Callable[[Path], list[str]]:
    """A command on its own, with what it reads made beforehand and undisturbed."""

    def prepare(folder: Path) -> list[str]:
        config = _analysis(folder)
        if not folder.exists():
            for step in earlier[:-1]:
                subprocess.run(
                    [*NEUROLM, *step.split(), str(config)],
                    check=True,
                    capture_output=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
        return [*NEUROLM, *earlier[-1].split(), str(config)]

    return prepare


def _train(folder: Path) -> list[str]:
    config, text = folder.with_suffix(".yaml"), folder.with_suffix(".txt")
    text.write_text("the rabbit took a watch out of its waistcoat pocket and looked at it and then hurried on. " * 400)
    config.write_text(TRAINING.format(text=text))
    return [*NEUROLM, "train", "model", str(config), "--output", str(folder), "--device", "cpu"]


STAGES = [
    Stage("features", _after("stimuli check", "features extract")),
    Stage("fit and permutations", _after("stimuli check", "features extract", "encode")),
    Stage("report", _after("stimuli check", "features extract", "encode", "report")),
    Stage("whole workflow", _after("run")),
    Stage("training", _train),
]
