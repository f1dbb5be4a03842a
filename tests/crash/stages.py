"""What is interrupted: small real inputs, a second or two of work each."""

from __future__ import annotations

import hashlib
import http.server
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from victim import command_line

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_model import save_tiny_model

ANALYSIS = """\
dataset: {{name: simulated, options: {{n_subjects: 2}}}}
features: {{model: {place}/model, layers: [0, 2], context: {{n: 32, unit: sliding}}}}
encode: {{permutations: {shifts}, subject_permutations: {own}, content_free_draws: 0, folds: 3, alphas: {{low: 1, high: 10000, count: 4}}}}
threads: 1
device: cpu
output: {place}/run
"""
TRAINING = """\
name: plug
corpus: {{files: [{place}/text-*.txt], form: raw, validation: 0.2, test: 0.2}}
tokenizer: {{kind: characters}}
model: {{kind: LSTM, settings: {{width: 32, n_layers: 1}}}}
batches: {{kind: streams, batch_size: 8, length: 32}}
trainer: {{n_steps: 150, checkpoint_every: 15, log_every: 15, optimizer: {{kind: adamw, lr: 0.003}}}}
baseline_order: 0
"""
DECODING = """\
analysis: decoding
simulated: {{training: [a, b, c], test: d, training_s: 50, test_s: 16, n_voxels: 20, snr: 20, rank: 6}}
features: {{model: {place}/model, layer: 1, context: {{n: 3, unit: words}}}}
decoder: {{alphas: [1.0, 100.0], n_voxels: 12, n_bootstraps: 2, chunk_trs: 8, beam_width: 3}}
evaluation:
  {{window_s: 8, step_s: 4, scores: [wer], teacher_forced: false, nulls: {{circular_shift: 1, min_shift_s: 6}}}}
threads: 1
device: cpu
output: {place}/run
"""
SENTENCE = "the rabbit took a watch out of its waistcoat pocket and looked at it and then hurried on. "


@dataclass
class Stage:
    """One thing to interrupt.

    before : what is done, undisturbed, to make its inputs
    work : what is interrupted; both are given the folder `place`, and write to `place/run`
    uncompared : names of files that hold times or process ids
    """

    name: str
    work: Callable[[Path], Callable[[], None]]
    before: list[Callable[[Path], Callable[[], None]]] = field(default_factory=list)
    shifts: tuple[int, int] = (19, 0)
    uncompared: tuple[str, ...] = ()


def write_inputs(stage: Stage, place: Path) -> None:
    """Configs, a model and a text, outside of the folder that is compared."""
    shifts, own = stage.shifts
    (place / "analysis.yaml").write_text(ANALYSIS.format(place=place, shifts=shifts, own=own))
    (place / "training.yaml").write_text(TRAINING.format(place=place))
    (place / "decoding.yaml").write_text(DECODING.format(place=place))
    for i in range(8):
        (place / f"text-{i}.txt").write_text(SENTENCE[i:] * 50)
    if not (place / "model").exists():
        save_tiny_model(place / "model", width=48)


def _of_analysis(*words: str) -> Callable[[Path], Callable[[], None]]:
    return lambda place: command_line(*words, str(place / "analysis.yaml"))


def _train(place: Path) -> Callable[[], None]:
    return command_line("train", "model", str(place / "training.yaml"), "--output", str(place / "run"), "--device", "cpu")


def _decode(place: Path) -> Callable[[], None]:
    return command_line("decode", str(place / "decoding.yaml"))


FILES = {f"part-{i}.bin": np.random.default_rng(i).bytes(300_000) for i in range(6)}


def _download(place: Path) -> Callable[[], None]:
    def work() -> None:
        from neurolm.cli.app import carry_out
        from neurolm.datasets.fetch import Pinned, fetch_files

        registry = {f"deep/{name}": Pinned(f"sha256:{hashlib.sha256(b).hexdigest()}", len(b)) for name, b in FILES.items()}
        carry_out(lambda: fetch_files(registry, os.environ["PLUG_SERVER"], place / "run"))

    return work


class SlowServer(http.server.BaseHTTPRequestHandler):
    """Serves FILES at about 1.5 MB/s, with ranges."""

    def do_GET(self) -> None:
        content = FILES[self.path.rsplit("/", 1)[-1]]
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(416 if asked and start >= len(content) else 206 if asked else 200)
        self.send_header("Content-Length", str(max(0, len(content) - start)))
        self.end_headers()
        for piece in range(start, len(content), 1 << 15):
            try:
                self.wfile.write(content[piece : piece + (1 << 15)])
            except OSError:
                return
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> tuple[int, str]:
    """A server in a process of its own: (process id, address)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowServer)
        os.write(write, str(server.server_port).encode())
        os.close(write)
        threading.current_thread().name = "server"
        server.serve_forever()
        os._exit(0)
    os.close(write)
    port = os.read(read, 16).decode()
    os.close(read)
    return pid, f"http://127.0.0.1:{port}/"


CHECK, EXTRACT, ENCODE, REPORT = (
    _of_analysis(*words.split()) for words in ("stimuli check", "features extract", "encode", "report")
)
STAGES = [
    Stage("features", EXTRACT, [CHECK]),
    Stage("fit", ENCODE, [CHECK, EXTRACT], shifts=(0, 0)),
    Stage("permutations", ENCODE, [CHECK, EXTRACT], shifts=(60, 10)),
    Stage("report", REPORT, [CHECK, EXTRACT, ENCODE]),
    Stage("training", _train, uncompared=("log.jsonl",)),
    Stage("decoding", _decode),
    Stage("downloads", _download),
]
