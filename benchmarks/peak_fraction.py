"""How near the processor's peak: forward passes and training over the fastest matrix product measured here.

Floating point operations per token, forward: 24 L d^2 + 4 L d T + 2 d V for a transformer of L layers, d wide,
T tokens, V words (attention counted in full, as if it were not causal); 8 H (I + H) a layer + 2 H V for an LSTM.
Training is three times that. A peak is the best of the square products of 1,024 and 2,048, measured before and after: of
torch.mm, and of oneDNN, to which neurolm sends large products where it is the faster one (`neurolm.products`).

    python benchmarks/peak_fraction.py
    python benchmarks/peak_fraction.py --threads 1 --clock cpu --cases "0.8 M"
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from neurolm import products
from neurolm.lm import LSTM, Transformer, WordTokenizer

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
# name: width, layers, heads, vocabulary, tokens, rows, whether it is trained
TRANSFORMERS = {
    "0.8 M": (128, 4, 4, 65, 64, 12, True),
    "10.7 M": (384, 6, 6, 65, 256, 8, True),
    "GPT-2 small": (768, 12, 12, 50257, 256, 8, False),
}
PRODUCTS = {"torch.mm": torch.mm} | ({"oneDNN": products.matmul} if products.has_onednn() else {})
LSTMS = {"LSTM 2 x 650": (650, 2, 10_000, 35, 20, True)}  # width, layers, vocabulary, tokens, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--cases", nargs="+", choices=[*TRANSFORMERS, *LSTMS], default=[*TRANSFORMERS, *LSTMS])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    print(f"torch {torch.__version__}, {options.threads} threads, {options.clock} time, {options.rounds} rounds", flush=True)
    for name in options.cases:
        for what, flops, work in cases(name):
            before = matmul_peaks(clock)
            work()
            seconds = statistics.median(timed(work, clock) for _ in range(options.rounds))
            peaks = [max(pair) for pair in zip(before, matmul_peaks(clock))]
            rate = flops / seconds
            shares = ", ".join(f"{rate / peak:4.0%} of {peak / 1e9:.1f} ({label})" for label, peak in zip(PRODUCTS, peaks))
            print(f"{name:14} {what:9} {rate / 1e9:7.1f} GFLOP/s: {shares}", flush=True)


def cases(name: str) -> list[tuple[str, float, Callable[[], None]]]:
    """(what, floating point operations, the work) of one model."""
    if name in TRANSFORMERS:
        width, n_layers, n_heads, vocabulary, n_tokens, n_rows, trained = TRANSFORMERS[name]
        lm = Transformer(words(vocabulary), width, n_layers, n_heads, n_tokens)
        per_token = 24 * n_layers * width**2 + 4 * n_layers * width * n_tokens + 2 * width * vocabulary
    else:
        width, n_layers, vocabulary, n_tokens, n_rows, trained = LSTMS[name]
        lm = LSTM(words(vocabulary), width, n_layers)
        per_token = 16 * n_layers * width**2 + 2 * width * vocabulary
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(0, vocabulary, (n_rows, n_tokens + 1), generator=torch.Generator().manual_seed(0))

    def read() -> None:
        with torch.inference_mode():
            lm.step(ids[:, :-1], layers=[])

    def train() -> None:
        optimizer.zero_grad()
        F.cross_entropy(lm.step(ids[:, :-1], layers=[]).logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()

    flops = per_token * n_rows * n_tokens
    return [("forward", flops, read), ("training", 3 * flops, train)][: 2 if trained else 1]


def words(n: int) -> WordTokenizer:
    return WordTokenizer([f"w{i}" for i in range(n)], unknown=None, eos=None)


def matmul_peaks(clock: Callable[[], float]) -> list[float]:
    """Floating point operations per second of the best square product, for each of PRODUCTS."""
    best = [0.0] * len(PRODUCTS)
    for n in (1024, 2048):
        a, b = torch.rand(n, n), torch.rand(n, n)
        for i, product in enumerate(PRODUCTS.values()):
            product(a, b)
            best[i] = max(best[i], *(2 * n**3 / timed(functools.partial(product, a, b), clock) for _ in range(3)))
    return best


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of one call; the shortest ones are repeated."""
    began, n = clock(), 0
    while True:
        work()
        n += 1
        if clock() - began > 0.3:
            return (clock() - began) / n


if __name__ == "__main__":
    main()
