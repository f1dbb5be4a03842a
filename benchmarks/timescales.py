"""What a context sweep and ten thousand permutations cost.

    python benchmarks/timescales.py --threads 2 --rounds 2    # about four minutes on 2 cores
    python benchmarks/timescales.py permutations --threads 2
    python benchmarks/timescales.py --quick                   # only checks that it runs

sweep         hidden states at ten window lengths, 1 to 64 words, on the first eight minutes of the simulated story
              with SmolLM2-135M, layer 20: all ten from one sweep, beside the longest window alone, in turns. Share of
              peak: floating-point operations of the blocks that were run, over those of a large matrix product by torch
              (MKL) and by neurolm.products (oneDNN, where the processor has AVX-512), measured before and after.
permutations  `Contrast` of 2 x 60 items with three covariates: 10,000 permutations over 10,000 voxels
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

PARTS = ("sweep", "permutations")
CONTEXTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
LAYER, STORY_S = 20, 480.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}", flush=True)
    for part in options.parts:
        {"sweep": sweep, "permutations": permutations}[part](options.quick, options.rounds)


def sweep(quick: bool, rounds: int) -> None:
    """Ten windows from one sweep, against the longest alone."""
    from neurolm.datasets import load_dataset
    from neurolm.features import LMStates
    from neurolm.lm import load
    from neurolm.stimuli import ContextWindow

    lm = load("smollm2-135m", device="cpu")
    story = load_dataset("simulated").transcript()
    story = story[: int(np.searchsorted(story.onsets, 20.0 if quick else STORY_S))]
    states = LMStates(lm, LAYER, ContextWindow(CONTEXTS[-1]), lowercase=True)
    peaks = [_peaks()]
    plan = states.prepare(story, [ContextWindow(n) for n in CONTEXTS])[1]
    flops = _flops(lm, int(plan.lengths.sum()))
    states.extract(story[: CONTEXTS[-1]])  # weights are made ready once
    alone, swept = [], []
    for _ in range(rounds):
        alone.append(_seconds(lambda: states.extract(story)))
        swept.append(_seconds(lambda: states.sweep(story, CONTEXTS)))
        ratios = [s / a for s, a in zip(swept, alone)]
        print(f"  longest {alone[-1]:.1f} s, all {swept[-1]:.1f} s, ratio {ratios[-1]:.3f}", flush=True)
    peaks.append(_peaks())
    rate = flops / min(swept)
    print(f"sweep: {len(story)} words, {plan.lengths.sum():,} tokens in {len(plan.lengths):,} passes, layers 1 to {LAYER}")
    print(f"  longest window alone   {min(alone):7.1f} s (best of {rounds})")
    print(f"  all {len(CONTEXTS)} windows         {min(swept):7.1f} s   ratios {', '.join(f'{r:.3f}' for r in ratios)}")
    print(f"  {flops / 1e12:.2f} TFLOP in the blocks: {rate / 1e9:.0f} GFLOP/s")
    for name, peak in zip(("torch.mm", "oneDNN"), map(max, zip(*peaks))):
        print(f"  {rate / peak:.0%} of the {peak / 1e9:.0f} GFLOP/s of {name}")


def permutations(quick: bool, rounds: int) -> None:
    """The item permutation test of a contrast."""
    from neurolm.timescales import Contrast

    rng = np.random.default_rng(0)
    n_items, n_covariates = 60, 3
    n_permutations, n_voxels = (500, 500) if quick else (10_000, 10_000)
    first, second = rng.normal(size=(2, n_items, n_voxels))
    covariates = rng.normal(size=(2 * n_items, n_covariates))
    test = Contrast(n_permutations)
    seconds = min(_seconds(lambda: test.run(first, second, covariates=covariates)) for _ in range(rounds))
    flops = 2.0 * n_permutations * 2 * n_items * n_voxels * (1 + n_covariates)
    print(
        f"permutations: {n_permutations:,} of 2 x {n_items} items, {n_covariates} covariates, {n_voxels:,} voxels: {seconds:.1f} s"
    )
    print(f"  (1 + {n_covariates}) products of {n_permutations:,} x {2 * n_items} x {n_voxels:,}: {flops / 1e9:.0f} GFLOP,")
    print(f"  {flops / seconds / 1e9:.0f} GFLOP/s with the t statistics, in float64")


def _flops(lm: Any, n_tokens: int) -> float:
    """Of the blocks up to LAYER: two for each weight and token; attention, at most 5 % at these lengths, is left out."""
    weights = sum(p.numel() for name, p in lm.model.named_parameters() if _block(name) is not None and _block(name) < LAYER)
    return 2.0 * weights * n_tokens


def _block(name: str) -> Any:
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else None


def _peaks() -> tuple[float, float]:
    """Operations a second of a large float32 product by torch and by `neurolm.products`, the best of five."""
    import torch

    from neurolm.products import matmul

    a, b = torch.rand(2, 2048, 2048)
    seconds = [min(_seconds(partial(product, a, b)) for _ in range(5)) for product in (torch.mm, matmul)]
    return 2.0 * 2048**3 / seconds[0], 2.0 * 2048**3 / seconds[1]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
