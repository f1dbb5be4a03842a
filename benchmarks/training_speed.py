"""Training tokens per second: our Trainer over nanoGPT's loop and over transformers' GPT-2, and our LSTM over plain nn.LSTM.

Same shapes, batch, optimiser (fused AdamW with two decay groups) and gradient clipping for all; the
candidates take turns and ratios are of the medians. nanoGPT is not part of this project: give a checkout.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/training_speed.py --nanogpt nanoGPT
    python benchmarks/training_speed.py --nanogpt nanoGPT --clock cpu --threads 1      # on a machine that others use too
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from neurolm.lm import LSTM, Transformer, WordTokenizer
from neurolm.training.batches import ContiguousStreams, RandomWindows
from neurolm.training.loop import Trainer
from neurolm.training.optim import OptimizerSettings, decay_groups
from neurolm.training.settings import TrainerSettings

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
# name: width, layers, heads, context, batch, steps per round
SIZES = {"0.8 M": (128, 4, 4, 64, 12, 20), "10.7 M": (384, 6, 6, 256, 8, 2)}
VOCABULARY = 65
LR, WEIGHT_DECAY, BETAS = 1e-3, 0.1, (0.9, 0.99)
IDS = np.random.default_rng(0).integers(0, VOCABULARY, 200_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.clock} time, {options.rounds} rounds")
    rows = []
    for name in options.sizes:
        rows += compare(f"transformer {name}", transformers_of(*SIZES[name], options.nanogpt), options)
    rows += compare("LSTM 2 x 256", lstms(), options)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = {"torch": torch.__version__, "threads": options.threads, "clock": options.clock, "rounds": options.rounds}
        options.json.write_text(json.dumps(about | {"results": rows}, indent=1) + "\n")


def compare(
    name: str, candidates: dict[str, tuple[Callable[[], None], int]], options: argparse.Namespace
) -> list[dict[str, object]]:
    """Take turns, round by round; the first round is thrown away."""
    clock, seconds = CLOCKS[options.clock], {label: [] for label in candidates}
    for turn in range(options.rounds + 1):
        for label, (work, _) in candidates.items():
            began = clock()
            work()
            if turn:
                seconds[label].append(clock() - began)
    rates = {label: n_tokens / statistics.median(seconds[label]) for label, (_, n_tokens) in candidates.items()}
    ours, *_peers = rates
    rows: list[dict[str, object]] = []
    for label, rate in rates.items():
        over = "" if label == ours else f"   ours / this = {rates[ours] / rate:.3f}"
        print(f"{name:20} {label:28} {rate:10,.0f} tokens/s{over}")
        rows.append({"model": name, "candidate": label, "tokens_per_s": rate, "ours_over_this": rates[ours] / rate})
    return rows


def transformers_of(
    width: int, n_layers: int, n_heads: int, context: int, batch: int, n_steps: int, nanogpt: Path | None
) -> dict[str, tuple[Callable[[], None], int]]:
    """One round of training for each candidate, and its tokens."""
    n_tokens = n_steps * batch * context
    tokenizer = WordTokenizer([f"w{i}" for i in range(VOCABULARY)], unknown=None, eos=None)
    ours = Transformer(tokenizer, width, n_layers, n_heads, context)
    found = {"neurolm Trainer": (trainer_round(ours, RandomWindows(IDS, batch, context), n_steps), n_tokens)}
    if nanogpt is not None:
        peer = nanogpt_model(nanogpt, width, n_layers, n_heads, context)
        found["nanoGPT"] = (plain_round(peer, lambda model, x, y: model(x, y)[1], batch, context, n_steps), n_tokens)
    peer = transformers_model(width, n_layers, n_heads, context)

    def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())

    found["transformers GPT-2"] = (plain_round(peer, loss, batch, context, n_steps), n_tokens)
    return found


def lstms() -> dict[str, tuple[Callable[[], None], int]]:
    """Our LSTM with its carried state, and what anybody would write with nn.LSTM, in 20 x 35 tokens a step."""
    width, batch, length, n_steps = 256, 20, 35, 6
    tokenizer = WordTokenizer([f"w{i}" for i in range(2000)], unknown=None, eos=None)
    ids = np.random.default_rng(0).integers(0, 2000, 200_000)
    ours = trainer_round(LSTM(tokenizer, width, 2), ContiguousStreams(ids, batch, length), n_steps)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(2000, width)
            self.lstm = nn.LSTM(width, width, 2, batch_first=True)
            self.head = nn.Linear(width, 2000)
            self.head.weight = self.embedding.weight

    state: list[tuple[torch.Tensor, torch.Tensor] | None] = [None]

    def loss(model: Plain, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        out, after = model.lstm(model.embedding(x), state[0])
        state[0] = (after[0].detach(), after[1].detach())
        return F.cross_entropy(model.head(out).flatten(0, 1), y.flatten())

    plain = plain_round(Plain(), loss, batch, length, n_steps, ids)
    return {"neurolm Trainer": (ours, n_steps * batch * length), "nn.LSTM, plain loop": (plain, n_steps * batch * length)}


def trainer_round(lm: nn.Module, source: object, n_steps: int) -> Callable[[], None]:
    """Our Trainer, n_steps further each time."""
    optimizer = OptimizerSettings(lr=LR, weight_decay=WEIGHT_DECAY, betas=BETAS)
    trainer = Trainer(lm, source, TrainerSettings(10**6, optimizer, log_every=0))
    taken = [0]

    def work() -> None:
        taken[0] += n_steps
        trainer.fit(until=taken[0])

    return work


def plain_round(
    model: nn.Module, loss: Callable[..., torch.Tensor], batch: int, length: int, n_steps: int, ids: np.ndarray = IDS
) -> Callable[[], None]:
    """The inner loop of nanoGPT's train.py: random windows, backward, clip, step."""
    model.train()
    optimizer = torch.optim.AdamW(decay_groups(list(model.parameters()), WEIGHT_DECAY), lr=LR, betas=BETAS, fused=True)
    text = torch.from_numpy(ids)

    def work() -> None:
        for _ in range(n_steps):
            starts = torch.randint(len(text) - length, (batch,))
            x = torch.stack([text[i : i + length] for i in starts])
            y = torch.stack([text[i + 1 : i + 1 + length] for i in starts])
            loss(model, x, y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return work


def nanogpt_model(path: Path, width: int, n_layers: int, n_heads: int, context: int) -> nn.Module:
    spec = importlib.util.spec_from_file_location("nanogpt_model", path / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    config = module.GPTConfig(context, VOCABULARY, n_layers, n_heads, width, dropout=0.0, bias=True)
    return module.GPT(config)


def transformers_model(width: int, n_layers: int, n_heads: int, context: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=width, n_layer=n_layers, n_head=n_heads, n_positions=context,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


if __name__ == "__main__":
    main()
