"""Train small LSTMs in processes that test_killed.py kills.

Reads lines `FOLDER N_STEPS`; each is trained in a forked process, whose id is printed at once and
how it ended when it has. So torch is imported once, and every kill is a real one.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch

from neurolm.lm.dropout import RecurrentDropout
from neurolm.lm.lstm import LSTM
from neurolm.lm.word_tokenizer import WordTokenizer
from neurolm.training.batches import ContiguousStreams
from neurolm.training.evaluate import token_nats
from neurolm.training.loop import Trainer
from neurolm.training.objectives import NextToken
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings


def run(folder, n_steps, *, until=None):
    """Dropout, jittered segments, carried state, averaging, validation: everything that a checkpoint must hold."""
    torch.set_num_threads(1)
    tokenizer = WordTokenizer([f"w{i}" for i in range(48)])
    dropout = RecurrentDropout(embedding=0.1, inputs=0.1, hidden=0.1, outputs=0.1, weights=0.2)
    lm = LSTM(tokenizer, 16, 2, dropout=dropout)
    ids = np.random.default_rng(0).integers(0, 48, 3000)
    validation = [np.random.default_rng(1).integers(0, 48, 60)]
    settings = TrainerSettings(
        n_steps=n_steps,
        optimizer=OptimizerSettings(kind="asgd", lr=1.0, patience=1),
        clip=0.25,
        accumulate=2,
        validate_every=4,
        checkpoint_every=3,
        log_every=5,
    )
    trainer = Trainer(
        NextToken(lm, activation=1.0, temporal_activation=1.0),
        ContiguousStreams(ids, 4, 12, jitter=True),
        settings,
        folder=folder,
        validate=lambda: float(np.mean(token_nats(lm, validation)[0])),
    )
    trainer.fit(until=until)
    return lm, trainer


def serve():
    for line in sys.stdin:
        folder, n_steps = line.split()
        child = os.fork()
        if child == 0:
            run(Path(folder), int(n_steps))
            os._exit(0)
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201
    serve()
