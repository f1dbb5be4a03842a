"""nanoGPT's recipe for a processor: tiny Shakespeare, 4 layers, 4 heads, 128 wide, 2,000 steps of 12 x 64 characters.

Published validation loss: 1.88. It is the mean over windows of 64 characters, each read on its own, of
the last tenth of the text; here over all of them without overlap. NEUROLM_DATA names the folder of data.

    python benchmarks/shakespeare_cpu.py [FOLDER]
    python benchmarks/shakespeare_cpu.py [FOLDER] --nanogpt nanoGPT     # its model in its loop on the same windows, too
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
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
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT, to be measured in the same way")
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
    if options.nanogpt is not None:
        tokenizer = report.lm.tokenizer
        train_ids, held_out_ids = (
            np.concatenate([tokenizer.encode(document.text) for document in part])
            for part in (report.split.train, [*report.split.validation, *report.split.test])
        )
        result["nanogpt_validation_loss"] = nanogpt_loss(options.nanogpt, train_ids, held_out_ids, tokenizer.vocab_size)
        print(f"nanoGPT's own model and loop, same windows: {result['nanogpt_validation_loss']:.4f}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def nanogpt_loss(path: Path, train_ids: np.ndarray, held_out_ids: np.ndarray, vocab_size: int) -> float:
    """Validation loss of nanoGPT's model after the loop of its train.py with the settings of its README."""
    sys.path.insert(0, str(path))
    from model import GPT, GPTConfig

    torch.manual_seed(1337)
    model = GPT(GPTConfig(64, vocab_size, 4, 4, 128, dropout=0.0, bias=False))
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    text = torch.from_numpy(train_ids)
    for step in range(2001):
        lr = 1e-3 * (step + 1) / 101 if step < 100 else 1e-4 + 9e-4 * (1 + math.cos(math.pi * (step - 100) / 1900)) / 2
        for group in optimizer.param_groups:
            group["lr"] = lr
        starts = torch.randint(len(text) - 64, (12,))
        x, y = (torch.stack([text[i + j : i + j + 64] for i in starts]) for j in (0, 1))
        model(x, y)[1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    n = (len(held_out_ids) - 1) // 64
    x, y = (torch.from_numpy(held_out_ids[j : j + n * 64]).view(n, 64) for j in (0, 1))
    with torch.no_grad():
        return sum(float(model(x[i : i + 64], y[i : i + 64])[1]) * len(x[i : i + 64]) for i in range(0, n, 64)) / n


if __name__ == "__main__":
    main()
