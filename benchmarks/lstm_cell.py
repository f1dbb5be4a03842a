"""The LSTM: our language model over plain `torch.nn.LSTM` in the same loop, and the readable equations over the fused kernel.

Two layers of 650 units (the medium LSTM of Zaremba et al. 2014), 10,000 words, tied weights, 35 tokens a step. The
candidates take turns; ratios are of the medians. Run with the machine otherwise idle, or with
`--clock cpu --threads 1`:

    python benchmarks/lstm_cell.py
    python benchmarks/lstm_cell.py --batch 20 --rounds 7 --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from neurolm.lm import LSTM, WordTokenizer

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WIDTH, N_LAYERS, VOCABULARY, N_TOKENS = 650, 2, 10_000, 35


class Plain(nn.Module):
    """What anybody would write with torch alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, N_LAYERS, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(ids))[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 20, 80])
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: CPU time, for a machine that others use too")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.clock} time")
    print(f"{N_LAYERS} x {WIDTH} units, {VOCABULARY} words, {N_TOKENS} tokens")
    rows = [row for batch in options.batch for row in measure(batch, options.rounds, CLOCKS[options.clock])]
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"threads": options.threads, "clock": options.clock, "torch": torch.__version__, "results": rows}, file, indent=1
            )


def measure(n_rows: int, n_rounds: int, clock: Callable[[], float]) -> list[dict[str, object]]:
    ours, plain = LSTM(WordTokenizer([f"w{i}" for i in range(VOCABULARY - 2)]), WIDTH, N_LAYERS), Plain()
    copy_weights(plain, ours)
    ids = torch.randint(0, VOCABULARY, (n_rows, N_TOKENS + 1), generator=torch.Generator().manual_seed(0))
    expected = plain(ids)
    assert torch.allclose(ours.step(ids).logits, expected, atol=1e-5), "the two compute different things"
    n_tokens = n_rows * N_TOKENS

    def train(model: nn.Module, predict: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

        def step() -> None:
            optimizer.zero_grad()
            F.cross_entropy(predict(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return step

    def inspect(x: torch.Tensor) -> torch.Tensor:
        return ours.predict(ours.gates(x)[-1].h)

    def read(predict: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def step() -> None:
            with torch.inference_mode():
                predict(ids[:, :-1])

        return step

    candidates = {
        "training": (train(ours, lambda x: ours.step(x, layers=[]).logits), train(plain, plain), "neurolm LSTM", "nn.LSTM"),
        "training, readable cell": (train(ours, inspect), train(plain, plain), "equations", "nn.LSTM"),
        "reading, readable cell": (
            read(lambda x: ours.gates(x)[-1].h),
            read(lambda x: plain.lstm(plain.embedding(x))[0]),
            "equations",
            "nn.LSTM",
        ),
    }
    rows = []
    for what, (a, b, name_a, name_b) in candidates.items():
        seconds = take_turns(a, b, n_rounds, max(1, 40 // n_rows), clock)
        ratio = statistics.median(seconds[1]) / statistics.median(seconds[0])
        per_s = [n_tokens / statistics.median(part) for part in seconds]
        print(
            f"batch {n_rows:3d}  {what:24} {name_a} {per_s[0]:8.0f} tokens/s, {name_b} {per_s[1]:8.0f} tokens/s, ratio {ratio:.2f}"
        )
        rows.append({"batch": n_rows, "what": what, name_a: per_s[0], name_b: per_s[1], "ratio": ratio})
    return rows


def copy_weights(plain: Plain, ours: LSTM) -> None:
    with torch.no_grad():
        plain.embedding.weight.copy_(ours.embedding.weight)
        plain.head.bias.copy_(ours.head_bias)
        for mine, theirs in zip(ours.layers, plain.lstm.all_weights):
            for weight, target in zip(mine.cell.all_weights[0], theirs):
                target.copy_(weight)


def take_turns(
    a: Callable[[], None], b: Callable[[], None], n_rounds: int, repeats: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Seconds of each call, the two alternating; the first round warms up and does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_ in range(n_rounds + 1):
        for call, kept in zip((a, b), seconds):
            began = clock()
            for _ in range(repeats):
                call()
            if round_ > 0:
                kept.append((clock() - began) / repeats)
    return seconds


if __name__ == "__main__":
    main()
