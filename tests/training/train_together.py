"""Started by torchrun from test_distributed.py: one small run, shared by all processes.

train_together.py OUT MODEL BATCHES ACCUMULATE
"""

import sys
from pathlib import Path

import numpy as np
import torch

from neurolm.lm.lstm import LSTM
from neurolm.lm.transformer import Transformer
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.storage import write_json
from neurolm.training.batches import ContiguousStreams, Examples, RandomWindows
from neurolm.training.distributed import process_group, process_index
from neurolm.training.loop import Trainer
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings


def run(folder, model, batches, accumulate, *, n_steps=12, until=None, lr=0.01):
    torch.set_num_threads(1)
    tokenizer = WordTokenizer([f"w{i}" for i in range(18)])
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 18, 600)
    rows = [rng.integers(0, 18, n) for n in rng.integers(2, 12, 30)]
    source = {
        "streams": lambda: ContiguousStreams(ids, 8, 10),
        "windows": lambda: RandomWindows(ids, 8, 10),
        "uneven": lambda: Examples([row[:-1] for row in rows], [row[1:] for row in rows], 8),
    }[batches]()
    lm = LSTM(tokenizer, 12, 2) if model == "lstm" else Transformer(tokenizer, 12, 1, 2, 16)
    settings = TrainerSettings(n_steps, OptimizerSettings(lr=lr), accumulate=accumulate, log_every=1, checkpoint_every=4)
    return Trainer(lm, source, settings, folder=folder).fit(until=until)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with process_group(torch.device("cpu")):
        cases = {}
        for case in sys.argv[2:]:
            model, batches, accumulate = case.split("-")
            cases[case] = [line["loss"] for line in run(out / case, model, batches, int(accumulate)).log]
        run(out / "parts", "lstm", "streams", 1, until=5)
        run(out / "parts", "lstm", "streams", 1)
        if process_index() == 0:
            write_json(out / "losses.json", cases)
