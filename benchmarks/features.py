"""Feature extraction, side by side: exact windows, context sweeps, transformers' pipeline.

GPT-2 small with random weights (values do not change the cost) on a real story, all 13 hidden states: in
neurolm's own transformer, which is what `load("gpt2")` gives, and through the adapter for transformers.
Everything that is compared is run in one process, turn by turn, with the rate of a large matrix product
measured around each turn, and its values are compared too. Rates and ratios are those of the least time of each
over the rounds, as `timeit` has it; the ratio of every round is printed too. Only words whose windows are full are
counted, so that both sides read the same tokens for them; one window at a time is timed on every third. Run with
the machine otherwise idle, or with `--clock cpu --threads 1`:

    python benchmarks/features.py                      # everything; about ten minutes on 2 cores
    python benchmarks/features.py windows pipeline     # some parts
    python benchmarks/features.py --quick              # minutes, with a small model: only checks that it runs

The story and GPT-2's tokenizer come from the folder NEUROLM_DATA. On a CPU the C library's malloc is set
to keep large blocks (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_), for everything compared alike.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("NEUROLM_DATA", "data"))
EVERY = 3  # one window at a time is timed on every third of the windows
PARTS = ("windows", "pipeline", "sweep", "recurrent")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(8 << 30)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, nargs=2, default=(450, 60), help="how many of 20 and of 100 words")
    parser.add_argument("--words", type=int, default=2174, help="how much of the story is swept; the default is all of it")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: CPU time, for a machine that others use too")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    if not MALLOC.items() <= os.environ.items():  # malloc reads these when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    import torch

    torch.set_num_threads(options.threads)
    bench = Bench(options)
    results: dict[str, Any] = {"machine": bench.machine()}
    print(json.dumps(results["machine"]))
    for part in options.parts:
        results[part] = getattr(bench, part)()
        print(part, json.dumps(results[part], indent=1), flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


class Bench:
    """One model, one story, and what is measured on them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.quick = options, options.quick
        self.rounds = 1 if options.quick else options.rounds
        self.tokenizer = gpt2_tokenizer()
        self.theirs, self.lm, self.adapter = gpt2_small(self.tokenizer, options)
        self.words = real_story()

    def machine(self) -> dict[str, Any]:
        import torch
        import transformers

        return {
            "cpu": _cpu_name(),
            "device": torch.cuda.get_device_name() if self.options.device == "cuda" else "cpu",
            "dtype": self.options.dtype,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "clock": self.options.clock,
            "load_average": os.getloadavg()[0],
            "matmul_gflops": self.peak() / 1e9,
        }

    def peak(self, product: Any = None) -> float:
        """The best rate of a square product at several sizes, now, on this device in this format: torch's, or `product`."""
        import torch

        sizes = (4096, 8192) if self.lm.device.type == "cuda" else (1024, 2048)
        a = {n: torch.randn(n, n, device=self.lm.device, dtype=_dtype(self.options)) for n in sizes}
        with torch.inference_mode():
            return max(2 * n**3 / self.timed(product or torch.matmul, x, x)[0] for n, x in a.items() for _ in range(3))

    def timed(self, run: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
        """(seconds, what it gives)."""
        import torch

        clock = CLOCKS[self.options.clock]
        begun = clock()
        result = run(*arguments)
        if self.lm.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - begun, result

    def windows(self) -> dict[str, Any]:
        """Batched exact windows against one window at a time, at 20 and 100 words of context."""
        return {f"{n} words": self.windows_of(n, count) for n, count in zip((20, 100), self.options.windows)}

    def windows_of(self, n_context: int, n_windows: int) -> dict[str, Any]:
        """One length of context."""
        from neurolm.features import LMStates
        from neurolm.products import matmul
        from neurolm.stimuli import ContextWindow

        n_windows = min(n_windows, 30) if self.quick else n_windows
        story = self.part(n_context - 1 + n_windows)
        spaces = {
            name: LMStates(lm, "all", ContextWindow(n_context), lowercase=True)
            for name, lm in {"neurolm": self.lm, "adapter": self.adapter}.items()
        }
        runs: dict[str, Callable[..., Any]] = {name: space.extract for name, space in spaces.items()}
        runs["one at a time"] = functools.partial(self.one_at_a_time, spaces["adapter"])
        for run in runs.values():
            run(story[: n_context + 2])  # warms up
        flops = self.flops_of(spaces["neurolm"], story, n_context)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        values: dict[str, np.ndarray] = {}
        peaks, onednn = [self.peak()], [self.peak(matmul)]
        for _ in range(self.rounds):
            for name, run in runs.items():
                taken, result = self.timed(run, story)
                peaks.append(self.peak())
                onednn.append(self.peak(matmul))
                seconds[name].append(taken)
                values[name] = result.values[n_context - 1 :: EVERY] if hasattr(result, "values") else result
        alone = np.array(seconds["one at a time"]) * n_windows / len(values["one at a time"])
        seconds["one at a time"] = list(alone)
        rows = {
            name: {
                "words_per_s": round(n_windows / min(times), 2),
                "ratio": round(float(alone.min()) / min(times), 2),
                "ratio_of_each_round": [round(float(r), 2) for r in alone / np.array(times)],
                "share_of_peak": round(flops / min(times) / max(peaks), 3),
                "share_of_onednn_peak": round(flops / min(times) / max(onednn), 3),
                "largest_difference_of_scale": _difference(values[name], values["one at a time"]),
            }
            for name, times in seconds.items()
        }
        gflops = {"gflops_of_peak": [round(p / 1e9) for p in peaks], "gflops_of_onednn_peak": [round(p / 1e9) for p in onednn]}
        return {"n_windows": n_windows, **gflops, **rows}

    def flops_of(self, space: Any, story: Any, n_context: int) -> float:
        """Of the windows of `n_context` words, attention counted as if it were dense."""
        plan = space.prepare(story, [space.context])[1]
        assert len(plan.starts) == len(story) - n_context + 1  # one pass for each full window
        config, tokens = self.theirs.config, plan.lengths.astype(float)
        return float((24 * config.n_layer * config.n_embd**2 * tokens + 4 * config.n_layer * config.n_embd * tokens**2).sum())

    def one_at_a_time(self, space: Any, story: Any) -> np.ndarray:
        """What extractors do that run a model on each word's own window, for every third full window: (n, 13 * 768)."""
        import torch

        tokens = space.prepare(story, [space.context])[0].tokens
        rows = []
        with torch.inference_mode():
            for word in range(space.context.n - 1, len(story), EVERY):
                start, stop = tokens.spans[word - space.context.n + 1, 0], tokens.spans[word, 1]
                ids = torch.tensor([[self.tokenizer.bos_id, *tokens.ids[start:stop]]], device=self.lm.device)
                states = self.theirs.transformer(ids, output_hidden_states=True, use_cache=False).hidden_states
                rows.append(torch.cat([state[0, -1] for state in states]).float().cpu().numpy())
        return np.array(rows)

    def pipeline(self) -> dict[str, Any]:
        """transformers' feature-extraction pipeline on the same windows, last layer, last token."""
        import transformers

        from neurolm.features import LMStates
        from neurolm.stimuli import ContextWindow

        story = self.part(19 + self.options.windows[0])
        n_windows = len(story) - 19
        space = LMStates(self.lm, -1, ContextWindow(20), lowercase=True, leading_space=True, bos=False)
        tokenizer = self.tokenizer.tokenizer
        tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
        pipe = transformers.pipeline(
            "feature-extraction", model=self.theirs.transformer, tokenizer=tokenizer, device=self.lm.device
        )
        words = [word.lower() for word in story.words]
        texts = [" " + " ".join(words[i - 19 : i + 1]) for i in range(19, len(words), EVERY)]
        rows: dict[str, Any] = {"n_windows": n_windows}
        ours = [self.timed(space.extract, story) for _ in range(self.rounds)]
        taken = min(seconds for seconds, _ in ours)
        for size in (1, 16):
            turns = [self.timed(functools.partial(pipe, batch_size=size, return_tensors=True), texts) for _ in range(self.rounds)]
            seconds, states = min(turn[0] for turn in turns) * n_windows / len(texts), turns[0][1]
            last = [state[0, len(tokenizer(text)["input_ids"]) - 1] for state, text in zip(states, texts)]
            theirs = np.array([vector.float().cpu().numpy() for vector in last])
            rows[f"batch {size}"] = {
                "ratio": seconds / taken,
                "words_per_s": n_windows / taken,
                "words_per_s_pipeline": n_windows / seconds,
                "largest_difference_of_scale": _difference(ours[0][1].values[19::EVERY], theirs),
            }
        return rows

    def sweep(self) -> dict[str, Any]:
        """Every context from 1 to 100 words against context 100 alone, and against separate extractions."""
        from neurolm.features import LMStates
        from neurolm.stimuli import ContextWindow

        longest, every = (10, 3) if self.quick else (100, 10)
        middle, story = self.lm.n_layers // 2, self.part(self.options.words)
        rows = {f"layer {layer}": self.sweep_of(layer, longest, story) for layer in (middle, self.lm.n_layers)}
        layers, part = [middle], self.part(60 if self.quick else min(200, self.options.words))
        space = LMStates(self.lm, layers, ContextWindow(longest), lowercase=True)
        with tempfile.TemporaryDirectory() as folder:
            swept_part, _ = self.timed(self.cached(space, folder).sweep, part, range(1, longest + 1))
        measured = range((every + 1) // 2, longest + 1, every)
        one_by_one = [LMStates(self.lm, layers, ContextWindow(n), lowercase=True) for n in measured]
        separate = every * sum(self.timed(one.extract, part)[0] for one in one_by_one)
        return {
            "n_words": len(story),
            "contexts": f"1..{longest}",
            **rows,
            "n_words_of_part": len(part),
            "seconds_sweep_of_part": swept_part,
            "seconds_separate_of_part": separate,
            "separate_contexts_measured": f"every {every}th, times {every}",
            "separate_over_sweep": separate / swept_part,
        }

    def sweep_of(self, layer: int, longest: int, story: Any) -> dict[str, float]:
        """Every context up to `longest` words, into a cache, against the longest alone, which is not kept."""
        from neurolm.features import LMStates
        from neurolm.stimuli import ContextWindow

        space = LMStates(self.lm, [layer], ContextWindow(longest), lowercase=True)
        with tempfile.TemporaryDirectory() as folder:
            alone, expected = self.timed(space.extract, story)
            swept, result = self.timed(self.cached(space, folder).sweep, story, range(1, longest + 1))
            n_bytes = sum(path.stat().st_size for path in Path(folder).glob("*.h5"))
            return {
                "seconds_longest_alone": alone,
                "seconds_sweep": swept,
                "sweep_over_longest_alone": swept / alone,
                "largest_difference_of_scale": _difference(result[longest].values, expected.values),
                "bytes_on_disk_over_values": n_bytes / (longest * expected.values.nbytes),
            }

    def recurrent(self) -> dict[str, Any]:
        """The same for an LSTM of 2 x 650 units, and its stream."""
        from neurolm.features import LMStates
        from neurolm.lm import LSTM
        from neurolm.stimuli import ContextWindow

        lm = LSTM(self.tokenizer, width=64 if self.quick else 650, n_layers=2).to(self.lm.device).eval()
        story = self.part(min(600, self.options.words))
        space = LMStates(lm, [1, 2], ContextWindow(100), lowercase=True)
        alone, expected = self.timed(space.extract, story)
        swept, result = self.timed(space.sweep, story, range(1, 101))
        stream = LMStates(lm, [1, 2], ContextWindow(unit="story"), lowercase=True)
        return {
            "n_words": len(story),
            "sweep_over_longest_alone": swept / alone,
            "largest_difference_of_scale": _difference(result[100].values, expected.values),
            "words_per_s_at_100": len(story) / alone,
            "words_per_s_stream": len(story) / min(self.timed(stream.extract, story)[0] for _ in range(3)),
        }

    def part(self, n_words: int) -> Any:
        """The story's first words; fewer in a quick run."""
        from neurolm.stimuli import Transcript

        n_words = min(n_words, 250) if self.quick else n_words
        onsets = np.arange(n_words) * 0.4
        return Transcript(tuple(self.words[:n_words]), onsets, onsets + 0.3)

    def cached(self, space: Any, folder: str) -> Any:
        from neurolm.features import FeatureCache, LMStates

        return LMStates(space.lm, space.layers, space.context, lowercase=True, cache=FeatureCache(folder))


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def gpt2_tokenizer() -> Any:
    import tokenizers
    import transformers

    from neurolm.lm import TransformersTokenizer

    transformers.logging.set_verbosity_error()
    folder = DATA / "gpt2_bpe"
    if not folder.is_dir():
        sys.exit("Set NEUROLM_DATA to the folder with gpt2_bpe/ and moth_textgrids/.")
    merges = next(path for path in (folder / "merges.txt", folder / "merges_reconstructed.txt") if path.is_file())
    bpe = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(merges))
    return TransformersTokenizer(transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>"))


def gpt2_small(tokenizer: Any, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The same random weights in transformers, in neurolm's transformer, and in transformers behind the adapter."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from neurolm.lm import Transformer, TransformersModel
    from neurolm.lm.gpt2 import from_transformers

    torch.manual_seed(0)
    size = {"n_embd": 96, "n_layer": 3, "n_head": 4} if options.quick else {}
    config = GPT2Config(vocab_size=50257, **size)
    theirs = GPT2LMHeadModel(config).to(options.device, _dtype(options)).eval()
    ours = Transformer(tokenizer, config.n_embd, config.n_layer, config.n_head, 1024).to(options.device, _dtype(options)).eval()
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    adapted = copy.deepcopy(theirs)  # the adapter changes how the products of its model are computed
    return theirs, ours, TransformersModel(adapted, tokenizer, name="gpt2-small, random", fast_products=True)


def real_story() -> list[str]:
    from neurolm.stimuli import read_textgrid

    grids = sorted((DATA / "moth_textgrids" / "TextGrids").glob("*.TextGrid"))
    return [word for grid in grids[:1] for word in read_textgrid(grid, tier="word").words]


def _dtype(options: argparse.Namespace) -> Any:
    import torch

    return getattr(torch, options.dtype)


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
