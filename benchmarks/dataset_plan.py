"""What a whole data set will take, from the library's own counts, before anything is computed.

By default 3 subjects who heard 27 hours of stories, 95,000 voxels each, and 10 models x 25 layers x 8 contexts.
Operations of the models are counted by running them on torch's meta device, which computes nothing
(`neurolm.features.preflight.count_flops`); those of ridge by `neurolm.encoding.ridge.preflight.preflight`. Speeds are
arguments: what was measured goes in, everything that comes out is arithmetic.

    python benchmarks/dataset_plan.py
    python benchmarks/dataset_plan.py --gflops 150 --workers 1          # a small computer
    python benchmarks/dataset_plan.py --gflops 30000 --workers 16       # a cluster
"""

from __future__ import annotations

import argparse
from typing import Any

WORDS_PER_S = 2.9  # 23,710 words in 8,186 s of eleven Moth stories
TOKENS_PER_WORD = 1.07  # of the same words, lower case, in GPT-2's tokenizer
CONTEXTS = (1, 5, 10, 20, 50, 100, 200, 500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--hours", type=float, default=27)
    parser.add_argument("--tr", type=float, default=2.0, help="seconds")
    parser.add_argument("--voxels", type=int, default=95_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=24, help="of a model; with the embeddings one layer more")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--contexts", type=int, nargs="+", default=list(CONTEXTS), help="words")
    parser.add_argument("--delays", type=int, default=4)
    parser.add_argument("--alphas", type=int, default=15)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--gflops", type=float, default=150.0, help="of a large float32 product on one worker")
    parser.add_argument("--feature-gflops", type=float, help="of the models, where they run in another format")
    parser.add_argument("--share", type=float, default=0.8, help="of that speed which batches of windows reach")
    parser.add_argument("--workers", type=int, default=1, help="machines or GPUs at once")
    parser.add_argument("--memory-gb", type=float, default=64.0, help="of one worker")
    print(plan(parser.parse_args()))


def plan(o: argparse.Namespace) -> str:
    """The table."""
    from neurolm.encoding.ridge.preflight import preflight

    n_words, n_trs = round(o.hours * 3600 * WORDS_PER_S), round(o.hours * 3600 / o.tr)
    n_layers, n_contexts = o.blocks + 1, len(o.contexts)
    per_word = {c: window_flops(o, c) for c in o.contexts}
    sweep, separate = per_word[max(o.contexts)] * n_words, sum(per_word.values()) * n_words
    rate = (o.feature_gflops or o.gflops) * 1e9 * o.share
    one_layer = 4 * n_words * o.width
    features_bytes = one_layer * n_layers * n_contexts * o.models
    fit = preflight(
        n_trs,
        o.delays * o.width,
        o.voxels,
        n_alphas=o.alphas,
        cv=o.folds,
        targets_on_disk=True,
        weights_on_disk=True,
        memory_gb=o.memory_gb,
        gflops=o.gflops,
        is_gpu=o.gflops > 5000,
    )
    n_fits = o.subjects * o.models * n_layers * n_contexts
    lines = [
        f"{n_words:,} words, {n_trs:,} TRs, {o.subjects} subjects x {o.voxels:,} voxels",
        f"{o.models} models x {n_layers} layers x contexts {', '.join(map(str, o.contexts))} = "
        f"{o.models * n_layers * n_contexts:,} feature spaces, {n_fits:,} fits",
        f"one worker: {o.gflops:,.0f} GFLOP/s, {o.memory_gb:.0f} GB; {o.workers} at once",
        "",
        "| stage | work | time on one | on all | disk |",
        "|---|---|---|---|---|",
        row("features of one model, all contexts in one sweep", sweep, sweep / rate, 1, features_bytes / o.models),
        row(f"features of {o.models} models", sweep * o.models, sweep * o.models / rate, o.workers, features_bytes),
        row("the same, each context by itself", separate * o.models, separate * o.models / rate, o.workers, features_bytes),
        row("one fit", fit.cost.total, fit.seconds, 1, 4.0 * o.voxels),
        row(f"{n_fits:,} fits", fit.cost.total * n_fits, fit.seconds * n_fits, o.workers, 4.0 * o.voxels * n_fits),
        row("BOLD of all subjects", 0, 0, 1, 4.0 * n_trs * o.voxels * o.subjects),
        "",
        f"Weights of one fit: {size(4.0 * o.delays * o.width * o.voxels)}; of all: "
        f"{size(4.0 * o.delays * o.width * o.voxels * n_fits)} (kept only where asked for).",
        f"One feature space: {size(one_layer)} with a row for each word, {size(4.0 * n_trs * o.width)} for each TR.",
        f"One fit: {fit.total_gb:.1f} GB of memory, {fit.n_targets_batch:,} voxels at a time, {fit.cost.method}.",
    ]
    return "\n".join(lines)


def window_flops(o: argparse.Namespace, n_words: int) -> float:
    """Operations of one window of so many words through all blocks, the beginning-of-text token included."""
    import torch

    from neurolm.features.preflight import count_flops
    from neurolm.lm import Transformer, WordTokenizer

    n_tokens = round(n_words * TOKENS_PER_WORD) + 1
    with torch.device("meta"):
        lm: Any = Transformer(WordTokenizer.from_words(["a"]), o.width, o.blocks, o.width // 64, n_tokens)
    return count_flops(lm, n_tokens, [o.blocks])


def row(stage: str, flops: float, seconds: float, workers: int, n_bytes: float) -> str:
    work = f"{flops / 1e15:,.{0 if flops > 1e17 else 2}f} PFLOP" if flops else ""
    return f"| {stage} | {work} | {duration(seconds)} | {duration(seconds / workers) if workers > 1 else ''} | {size(n_bytes)} |"


def duration(seconds: float) -> str:
    if not seconds:
        return ""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def size(n_bytes: float) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= length:
            return f"{n_bytes / length:,.1f} {unit}"
    return f"{n_bytes / 1e3:,.1f} kB"


if __name__ == "__main__":
    main()
