"""nanoGPT's recipe for a processor: tiny Shakespeare, 4 layers, 4 heads, 128 wide, 2,000 steps of 12 x 64 characters.

Published validation loss: 1.88. It is the mean over windows of 64 characters, each read on its own, of
the last tenth of the text; here over all of them without overlap. NEUROLM_DATA names the folder of data.

    python benchmarks/shakespeare_cpu.py [FOLDER]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from neurolm.training.config import TrainConfig
from neurolm.training.corpus import encode_documents
from neurolm.training.evaluate import token_nats
from neurolm.training.recipe import train

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "shakespeare-char-cpu.yaml"
PUBLISHED = 1.88


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="where the model goes; a run that is there goes on")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    options = parser.parse_args()
    config = TrainConfig.from_dict(yaml.safe_load(CONFIG.read_text()))
    began = time.perf_counter()

    def say(done: float, total: float, unit: str = "", note: str = "") -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {done:.0f}/{total:.0f} {unit}  {note}", flush=True)

    report = train(config, options.folder or tempfile.mkdtemp(), say)
    assert report is not None
    held_out = encode_documents([*report.split.validation, *report.split.test], report.lm.tokenizer)
    nats = np.concatenate(token_nats(report.lm, held_out, context=64, stride=64))
    result = {
        "validation_loss": float(nats.mean()),
        "published": PUBLISHED,
        "n_characters": len(nats),
        "n_parameters": report.n_parameters,
        "seconds": time.perf_counter() - began,
        "best_step": report.result.best_step,
    }
    print(f"validation loss {result['validation_loss']:.4f} (published {PUBLISHED}) over {len(nats):,} characters")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
