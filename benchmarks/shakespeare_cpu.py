"""nanoGPT's recipe for a processor: tiny Shakespeare, 4 layers, 4 heads, 128 wide, 2,000 steps of 12 x 64 characters.

Published validation loss: 1.88, nanoGPT's estimate from 20 batches of 12 windows drawn from the last tenth of the text.
Here each model is measured in both ways, by such an estimate and over every window of that text without overlap, and
with several seeds; `--nanogpt` trains nanoGPT's own model in the loop of its train.py, to be measured alike. The
learning rate is nanoGPT's, .001, unless `--lr` says another.
NEUROLM_DATA names the folder of data.

    python benchmarks/shakespeare_cpu.py
    python benchmarks/shakespeare_cpu.py --lr 0.003
    python benchmarks/shakespeare_cpu.py --nanogpt nanoGPT --seeds 1337 1 2 --json shakespeare.json   # a killed run goes on
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from torch.nn import functional as F

from neurolm.training.config import TrainConfig
from neurolm.training.recipe import build_tokenizer, read_split, train

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "shakespeare-char-cpu.yaml"
PUBLISHED, LENGTH, ROWS, N_BATCHES = 1.88, 64, 12, 20
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # inputs, targets (B, T) -> nats per character


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337])
    parser.add_argument("--lr", type=float, default=1e-3, help="highest learning rate; the lowest is a tenth of it")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT, to be trained and measured too")
    parser.add_argument(
        "--json", type=Path, help="write the results to this file, run by run; runs that it holds are not repeated"
    )
    options = parser.parse_args()
    config = TrainConfig.from_dict(yaml.safe_load(CONFIG.read_text()))
    split = read_split(config.corpus)
    tokenizer = build_tokenizer(config.tokenizer, split.train)
    parts = split.train, [*split.validation, *split.test]
    train_ids, held_out = (torch.tensor(np.concatenate([tokenizer.encode(d.text) for d in part])) for part in parts)
    runs: dict[str, Callable[[int], Loss]] = {"neurolm": lambda seed: our_loss(config, seed, options.lr)}
    if options.nanogpt is not None:
        runs["nanoGPT"] = lambda seed: nanogpt_loss(options.nanogpt, train_ids, tokenizer.vocab_size, seed, options.lr)
    found = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {(len(held_out) - 1) // LENGTH} held-out windows")
    for seed in options.seeds:
        for name, run in runs.items():
            row = next((row for row in found if (row["model"], row["seed"], row["lr"]) == (name, seed, options.lr)), None)
            if row is None:
                began = time.perf_counter()
                loss = run(seed)
                seconds = time.perf_counter() - began
                row = {"model": name, "seed": seed, "lr": options.lr, "seconds": seconds, **measure(loss, held_out, seed)}
                found.append(row)
            print(
                f"{name:8} seed {seed:4}: all windows {row['all']:.4f}, 20 batches {row['estimate']:.4f}, {row['seconds']:.0f} s"
            )
            if options.json:
                options.json.write_text(json.dumps(found, indent=1) + "\n")
    for name in runs:
        every, estimates = (
            [row[key] for row in found if (row["model"], row["lr"]) == (name, options.lr)] for key in ("all", "estimate")
        )
        print(
            f"{name:8} mean of {len(every)}: all windows {np.mean(every):.4f}, 20 batches {np.mean(estimates):.4f}; "
            f"published {PUBLISHED}"
        )


def measure(loss: Loss, held_out: torch.Tensor, seed: int) -> dict[str, float]:
    """Over every window, each from a blank start; and from random windows, as nanoGPT estimates it."""
    n = (len(held_out) - 1) // LENGTH
    x, y = (held_out[j : j + n * LENGTH].view(n, LENGTH) for j in (0, 1))
    generator = torch.Generator().manual_seed(seed)
    drawn = [windows(held_out, torch.randint(len(held_out) - LENGTH, (ROWS,), generator=generator)) for _ in range(N_BATCHES)]
    with torch.no_grad():
        total = sum(float(loss(x[i : i + 64], y[i : i + 64])) * len(x[i : i + 64]) for i in range(0, n, 64))
        return {"all": total / n, "estimate": float(np.mean([float(loss(*batch)) for batch in drawn]))}


def windows(text: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = (torch.stack([text[i + j : i + j + LENGTH] for i in starts]) for j in (0, 1))
    return x, y


def our_loss(config: TrainConfig, seed: int, lr: float) -> Loss:
    """Our model after our trainer."""
    optimizer = replace(config.trainer.optimizer, lr=lr, min_lr=lr / 10)
    trainer = replace(config.trainer, seed=seed, optimizer=optimizer)
    config = replace(config, batches=replace(config.batches, seed=seed), trainer=trainer)
    with tempfile.TemporaryDirectory() as folder:
        report = train(config, folder)
    assert report is not None
    return lambda x, y: F.cross_entropy(report.lm.step(x, None, []).logits.flatten(0, 1), y.flatten())


def nanogpt_loss(path: Path, train_ids: torch.Tensor, vocab_size: int, seed: int, highest: float) -> Loss:
    """nanoGPT's model after the loop of its train.py with the settings of its README."""
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    from model import GPT, GPTConfig

    torch.manual_seed(seed)
    model = GPT(GPTConfig(LENGTH, vocab_size, 4, 4, 128, dropout=0.0, bias=False))
    optimizer = model.configure_optimizers(0.1, highest, (0.9, 0.99), "cpu")
    for step in range(2001):
        share = (step + 1) / 101 if step < 100 else 0.1 + 0.9 * (1 + math.cos(math.pi * (step - 100) / 1900)) / 2
        for group in optimizer.param_groups:
            group["lr"] = highest * share
        x, y = windows(train_ids, torch.randint(len(train_ids) - LENGTH, (ROWS,)))
        model(x, y)[1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()
    return lambda x, y: model(x, y)[1]


if __name__ == "__main__":
    main()
