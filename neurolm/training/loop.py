"""The training loop: the same for every model and task, and exact when it is interrupted.

A step is: read a batch, differentiate the objective (through at most the batch's own length, with
the state carried in and cut off: truncated BPTT), clip, change the weights. Everything that the
next step depends on is in the checkpoint, so a run killed at any instant ends with the same bytes
as one that was left alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurolm.checks import bad, bad_file
from neurolm.lm.language_model import LanguageModel, State, detach_state, map_state
from neurolm.progress import Progress, silent
from neurolm.storage import remove_parts
from neurolm.training import checkpoint as files
from neurolm.training.batches import Batch, BatchSource
from neurolm.training.distributed import gather, in_parallel, n_processes, our_rows, process_index, summed, wait_for_all
from neurolm.training.objectives import NextToken, Objective
from neurolm.training.optim import WeightAverage, build_optimizer, learning_rate, should_average
from neurolm.training.precision import check_compile, check_precision, pinned
from neurolm.training.run_log import RunLog
from neurolm.training.settings import TrainerSettings

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"


@dataclass(frozen=True)
class TrainResult:
    """How a run ended; the trained weights are in the module, the best ones where there is a validation.

    step : the last step taken
    validations : (step, nats per target) of each
    best_step, best_loss : the best of them, or None
    stopped_early : the validation loss had stopped falling
    log : what the log file holds, one dict per line
    """

    step: int
    validations: list[tuple[int, float]]
    best_step: int | None
    best_loss: float | None
    stopped_early: bool
    log: list[dict[str, Any]]


class Trainer:
    """Train a model on a source of batches.

    Parameters
    ----------
    task : LanguageModel or Objective
        A language model is trained to predict the next token.
    batches : BatchSource
    settings : TrainerSettings
    folder : path, optional
        Where the checkpoint and the log go. A run that is there already goes on.
    validate : callable, optional
        Gives the validation loss of the model as it is now, in nats per target.
    """

    def __init__(
        self,
        task: LanguageModel | Objective,
        batches: BatchSource,
        settings: TrainerSettings,
        *,
        folder: str | Path | None = None,
        validate: Callable[[], float] | None = None,
    ) -> None:
        self.objective: Objective = NextToken(task) if isinstance(task, LanguageModel) else task
        self.module, self.batches, self.settings = self.objective.module, batches, settings
        self.folder, self.validate = None if folder is None else Path(folder), validate
        self.device = next(self.module.parameters()).device
        check_precision(settings.precision, self.device)
        self._rows = our_rows(batches.batch_size, settings.accumulate)
        self._loss = in_parallel(self.objective)
        if settings.compile:
            check_compile(self.device)
            self._loss = torch.compile(self._loss)  # type: ignore[assignment]
        self._optimizer = build_optimizer(self.module, settings.optimizer)
        self._parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._average: WeightAverage | None = None
        self._states: list[State] = [None] * settings.accumulate
        self._best: dict[str, torch.Tensor] = {}
        self._pace = [0, 0.0]  # targets and seconds of training since the last log line
        self._log = RunLog(None if self.folder is None else self.folder / LOG)
        self._facts: dict[str, Any] = {
            "step": 0,
            "n_targets": 0,
            "n_threads": torch.get_num_threads(),
            "n_processes": n_processes(),
            "validations": [],
            "best": None,
            "stopped_early": False,
            "window": [0.0, 0],  # error and targets since the last log line
        }

    def fit(self, progress: Progress = silent, *, until: int | None = None) -> TrainResult:
        """Train to the end, or to step `until` (0 trains nothing), from where the folder's checkpoint is.

        Raises
        ------
        InputError
            If the loss or the gradient is no longer finite: at which step, and where the last
            good checkpoint is.
        FileError
            If the checkpoint is damaged, of another architecture, or of a run with other settings.
        """
        if until is not None and until < 0:
            raise bad("until", "be at least 0", until)
        saved = self._find()
        if saved is not None:
            self._facts["n_threads"] = saved[1]["n_threads"]
        with pinned(self.device, self._facts["n_threads"]):
            torch.manual_seed(self.settings.seed + process_index())
            if saved is not None:
                self._go_on(*saved)
            if self.folder is not None and process_index() == 0:
                remove_parts(self.folder)
            self._log.start(self._facts["step"])
            self._run(self.settings.n_steps if until is None else min(until, self.settings.n_steps), progress)
        facts = self._facts
        if facts["step"] == self.settings.n_steps or facts["stopped_early"]:
            self._load_best()
        return self._result()

    def give_up(self) -> TrainResult:
        """Take the best weights of the folder's checkpoint without a further step; `fit` can still go on later.

        Raises
        ------
        FileError
            If there is no checkpoint, or as in `fit`.
        """
        saved = self.check_given_up()
        with pinned(self.device):
            self._go_on(*saved)
        self._log.start(self._facts["step"])
        self._load_best()
        return self._result()

    def check_given_up(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The checkpoint that `give_up` takes its weights from: tensors and facts.

        Raises
        ------
        FileError
            If there is none of this run.
        """
        saved = self._find()
        if saved is None:
            raise bad_file(self.folder or "the trainer", "holds no checkpoint of this run", "Train first.")
        return saved

    def _result(self) -> TrainResult:
        facts = self._facts
        step, loss = facts["best"] or (None, None)
        validations = [(int(at), float(value)) for at, value in facts["validations"]]
        return TrainResult(facts["step"], validations, step, loss, facts["stopped_early"], list(self._log.lines))

    # -- the loop -----------------------------------------------------------------------------

    def _run(self, last: int, progress: Progress) -> None:
        facts, settings = self._facts, self.settings
        training = self.module.training
        self.module.train()
        while facts["step"] < last and not facts["stopped_early"]:
            line = self._step()
            if _due(facts["step"], settings.validate_every) and self.validate is not None:
                line["validation"] = self._validate()
            if "validation" in line or _due(facts["step"], settings.log_every) or facts["step"] == settings.n_steps:
                progress(facts["step"], settings.n_steps, "steps", _note(self._write_line(line)))
            if _due(facts["step"], settings.checkpoint_every) or facts["step"] == last or facts["stopped_early"]:
                self.save()
        self.module.train(training)

    def _step(self) -> dict[str, Any]:
        """Change the weights once."""
        facts, settings, began = self._facts, self.settings, time.perf_counter()
        batch = self.batches.next_batch()
        count = self.objective.count(batch)
        lr = learning_rate(facts["step"], settings.n_steps, settings.optimizer) * batch.lr_scale
        self._optimizer.zero_grad(set_to_none=True)
        error = torch.zeros((), device=self.device)
        for part, rows in enumerate(self._rows):
            with self._synchronised(part == len(self._rows) - 1):
                error += self._backward(part, batch.rows(rows).to(self.device), count)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, settings.clip or math.inf)
        self._check_finite("loss", float(summed(error)))
        self._check_finite("gradient norm", float(norm))
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        facts["step"] += 1
        facts["n_targets"] += count
        facts["window"] = [facts["window"][0] + float(error), facts["window"][1] + count]
        self._pace = [self._pace[0] + count, self._pace[1] + time.perf_counter() - began]
        return {"step": facts["step"], "lr": lr, "grad_norm": float(norm)}

    def _backward(self, part: int, batch: Batch, count: int) -> torch.Tensor:
        """Add the gradient of one part of the batch; gradients of processes are averaged later."""
        state = _begin(self._states[part], batch.fresh)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            total, error, after = self._loss(batch, state)
        (total * (n_processes() / max(count, 1))).backward()
        self._states[part] = None if batch.fresh is None else detach_state(after)
        return error

    def _synchronised(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Processes exchange gradients after the last part only."""
        no_sync = getattr(self._loss, "no_sync", None)
        return contextlib.nullcontext() if last or no_sync is None else no_sync()

    def _validate(self) -> float:
        """The validation loss, with averaged weights where there are some; keeps the best weights."""
        assert self.validate is not None
        facts = self._facts
        if self._average is not None:
            self._average.swap()
        self.module.eval()
        loss = float(self.validate())
        self.module.train()
        self._check_finite("validation loss", loss)
        facts["validations"].append([facts["step"], loss])
        if facts["best"] is None or loss < facts["best"][1]:
            facts["best"] = [facts["step"], loss]
            self._best = {name: tensor.clone() for name, tensor in files.pack_module(self.module).items()}
        if self._average is not None:
            self._average.swap()
        self._react([value for _, value in facts["validations"]])
        return loss

    def _react(self, losses: list[float]) -> None:
        """Begin averaging, or stop, when the validation loss says so."""
        settings = self.settings
        if settings.optimizer.kind == "asgd" and self._average is None and should_average(losses, settings.optimizer.patience):
            self._average = WeightAverage(self.module)
        since_best = len(losses) - 1 - losses.index(min(losses))
        self._facts["stopped_early"] = settings.patience is not None and since_best >= settings.patience

    def _check_finite(self, name: str, value: float) -> None:
        if math.isfinite(value):
            return
        kept = self._checkpoint_path()
        where = (
            f"The last good checkpoint is {kept}." if kept is not None and kept.exists() else "No checkpoint had been written."
        )
        got = f"{value:g} at step {self._facts['step'] + 1}"
        raise bad(name, "stay finite", got, f"{where} Lower the learning rate or clip harder.")

    # -- the checkpoint -----------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint, if there is a folder; called by `fit` as the settings say."""
        path = self._checkpoint_path()
        if path is None:
            return
        tensors, facts = self._pack()
        for name, tensor in files.pack_module(self.module).items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise bad(name, "stay finite", f"NaN or infinity after step {facts['step']}", f"{path} was left as it was.")
        if process_index() == 0:
            files.save_checkpoint(path, tensors, facts)
        wait_for_all()

    def _pack(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        optimizer, groups = files.pack_optimizer(self._optimizer)
        tensors = files.named("model", files.pack_module(self.module)) | files.named("optimizer", optimizer)
        tensors |= files.named("best", self._best)
        if self._average is not None:
            tensors |= files.named("average", self._average.means)
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        shape = None
        if self._states[0] is not None:
            state, shape = files.pack_state(files.concatenate_states(self._states))
            tensors |= files.named("state", {name: torch.cat(gather(part)) for name, part in state.items()})
        for name, value in rng.items():
            for process, own in enumerate(gather(value.to(self.device) if n_processes() > 1 else value)):
                tensors[f"rng.{name}{process}"] = own
        facts = self._facts | {
            "optimizer": groups,
            "n_averaged": 0 if self._average is None else self._average.n,
            "state": shape,
            "position": self.batches.position(),
            "data": self.batches.data_hash(),
            "settings": self.settings.decisive(),
        }
        return tensors, facts

    def check_checkpoint(self) -> None:
        """Refuse a folder whose checkpoint is damaged or of a run with other settings, as `fit` does; for a dry run.

        With how many processes a run was begun is left aside: a dry run is one.
        """
        self._find(but="processes")

    def _find(self, but: str = "") -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The folder's checkpoint, if there is one and it is of this run."""
        path = self._checkpoint_path()
        if path is None or not path.exists():
            return None
        tensors, facts = files.load_checkpoint(path)
        ours = self.settings.decisive() | {"data": self.batches.data_hash(), "processes": n_processes()}
        theirs = facts["settings"] | {"data": facts["data"], "processes": facts["n_processes"]}
        for name in ours:
            if name != but and ours[name] != theirs.get(name):
                problem = f"is of a run with other settings ({name}: {theirs.get(name)} there, {ours[name]} here)"
                raise bad_file(path, problem, "Train in another folder, or with the settings of that run.")
        return tensors, facts

    def _go_on(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Put everything back as it was when the checkpoint was written."""
        path = self._checkpoint_path()
        assert path is not None
        files.unpack_module(self.module, files.under("model", tensors), path)
        files.unpack_optimizer(self._optimizer, files.under("optimizer", tensors), facts["optimizer"])
        self._best = {name: tensor.to(self.device) for name, tensor in files.under("best", tensors).items()}
        if facts["n_averaged"]:
            self._average = WeightAverage(self.module)
            self._average.restore(files.under("average", tensors), facts["n_averaged"])
        if facts["state"] is not None:
            whole = files.unpack_state(files.under("state", tensors), facts["state"], self.device)
            self._states = [_rows_of(whole, rows) for rows in self._rows]
        self.batches.restore(facts["position"])
        torch.set_rng_state(tensors[f"rng.cpu{process_index()}"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors[f"rng.cuda{process_index()}"].cpu(), self.device)
        self._facts = {name: facts[name] for name in self._facts}

    def _checkpoint_path(self) -> Path | None:
        return None if self.folder is None else self.folder / CHECKPOINT

    def _load_best(self) -> None:
        if self._best:
            files.unpack_module(self.module, self._best, self._checkpoint_path() or "memory")

    def _write_line(self, line: dict[str, Any]) -> dict[str, Any]:
        """A log line: the mean loss of all steps since the one before."""
        (error, count), (n_targets, seconds) = self._facts["window"], self._pace
        self._facts["window"], self._pace = [0.0, 0], [0, 0.0]
        line = {"step": line["step"], "targets": self._facts["n_targets"], "loss": error / max(count, 1)} | line
        return self._log.write(line, n_targets / max(seconds, 1e-9))


def _rows_of(state: State, rows: slice) -> State:
    return map_state(lambda tensor: tensor[rows].clone(), state)


def _begin(state: State, fresh: torch.Tensor | None) -> State:
    """The state that a batch starts from: blank (zero) in fresh rows."""
    if state is None or fresh is None or bool(fresh.all()):
        return None
    if not bool(fresh.any()):
        return state

    def blank(tensor: torch.Tensor) -> torch.Tensor:
        return torch.where(fresh.view(-1, *[1] * (tensor.ndim - 1)), torch.zeros_like(tensor), tensor)

    return map_state(blank, state)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _note(line: dict[str, Any]) -> str:
    validation = f", validation {line['validation']:.3f}" if "validation" in line else ""
    return f"loss {line['loss']:.3f}{validation}, {line['per_s']:,} tokens/s"
