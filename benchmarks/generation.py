"""Generation with a cache at batch 1: tokens/s of neurolm over transformers' `generate`.

Same weights (random, of GPT-2's architecture), same prompt, greedy, the same tokens out; the two take turns,
and the ratio is of the medians. Every token needs every weight once, so nothing can be faster than reading them:
"limit" is what that leaves over transformers' speed, at the bandwidth of summing one large tensor. Run with the
machine otherwise idle, or with `--clock cpu --threads 1`:

    python benchmarks/generation.py
    python benchmarks/generation.py --threads 2 --rounds 7 --tokens 128 --sizes "GPT-2 small"
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SIZES = {  # width, layers, heads, vocabulary, context
    "0.8 M parameters": (128, 4, 4, 65, 256),
    "10.7 M parameters": (384, 6, 6, 65, 256),
    "GPT-2 small": (768, 12, 12, 50257, 1024),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: CPU time, for a machine that others use too")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.clock} time")
    print(f"{options.rounds} rounds of {options.tokens} tokens, batch 1, greedy")
    clock = CLOCKS[options.clock]
    results = {}
    for name in options.sizes:
        results[name] = row = compare(SIZES[name], options.rounds, options.tokens, clock)
        print(
            f"{name:>15}: neurolm {row['ours']:7.1f} tokens/s, transformers {row['theirs']:7.1f} tokens/s, "
            f"ratio {row['ratio']:.2f} (rounds {row['lowest']:.2f} to {row['highest']:.2f}); "
            f"reading the weights alone {row['reading']:7.1f} tokens/s, limit {row['reading'] / row['theirs']:.2f}",
            flush=True,
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"threads": options.threads, "clock": options.clock, "torch": torch.__version__, "results": results},
                file,
                indent=1,
            )


def compare(sizes: tuple[int, int, int, int, int], n_rounds: int, n_tokens: int, clock: Callable[[], float]) -> dict[str, float]:
    import torch
    import transformers

    from neurolm.lm import load

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    width, n_layers, n_heads, vocabulary, context = sizes
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=width, n_layer=n_layers, n_head=n_heads, vocab_size=vocabulary, n_positions=context, bos_token_id=0, eos_token_id=0
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = load(folder, tokenizer=Ids(vocabulary))
    prompt = torch.randint(0, vocabulary, (16,)).tolist()
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for round_ in range(n_rounds + 1):
        made = {}
        for name, write in (("ours", write_ours), ("theirs", write_theirs)):
            began = clock()
            made[name] = write({"ours": ours, "theirs": theirs}[name], prompt, n_tokens)
            if round_ > 0:  # the first round warms up
                times[name].append(clock() - began)
        assert made["ours"] == made["theirs"], "the two wrote different tokens"
    ratios = [b / a for a, b in zip(times["ours"], times["theirs"])]
    return {
        "ours": n_tokens / statistics.median(times["ours"]),
        "theirs": n_tokens / statistics.median(times["theirs"]),
        "ratio": statistics.median(times["theirs"]) / statistics.median(times["ours"]),
        "lowest": min(ratios),
        "highest": max(ratios),
        "reading": 1 / reading_seconds(ours, clock),
    }


def reading_seconds(model, clock: Callable[[], float]) -> float:
    """Seconds to fetch every weight of the model once, in one stream; the best of several."""
    import torch

    weights = torch.ones(sum(p.numel() for p in model.parameters()) - model.positions.weight.numel())
    best = float("inf")
    for _ in range(9):
        began = clock()
        weights.sum()
        best = min(best, clock() - began)
    return best


def write_ours(model, prompt: list[int], n_tokens: int) -> list[int]:
    from neurolm.lm.generate import Sampling, generate_ids

    return list(generate_ids(model, prompt, n_tokens, sampling=Sampling(0)))


def write_theirs(model, prompt: list[int], n_tokens: int) -> list[int]:
    import torch

    ids = torch.tensor([prompt])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=n_tokens, min_new_tokens=n_tokens,
            eos_token_id=None, pad_token_id=0, use_cache=True,
        )  # fmt: skip
    return out[0, len(prompt) :].tolist()


class Ids:
    """A tokenizer's size, which is all that ids need."""

    bos_id = eos_id = 0

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size


if __name__ == "__main__":
    main()
