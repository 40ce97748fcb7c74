"""The only training loop: an Ignite engine over the steps of a recipe.

`fit` trains one task on labelled items and keeps the weights that score best on the fixed
validation cases. The state of the run is on disk at every validation, so a killed run goes on where
it was. Under ``torchrun`` several processes share each batch and take the same steps as one.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lib.data.case import VALIDATION_LOSS
from lib.data.studies import Item
from lib.devices import resolve_device, resolve_precision
from lib.distributed import over_processes
from lib.errors import DivergedError
from lib.files import write_json
from lib.kinds import kind_of, score_cases
from lib.networks import build_network, place_network
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases, StepBatches, loading_threads, prefetch
from lib.training.options import FitOptions, FitResult
from lib.training.plan import plan_run
from lib.training.progress import STATS, attach_progress
from lib.training.resume import BEST, read_state, run_identity, write_state
from lib.training.step import TrainingStep
from lib.weights.checkpoint import (
    Checkpoint,
    save_checkpoint,
    state_on_cpu,
    transfer_network,
    utc_now,
    versions,
)

STATE_SECONDS = 60.0
logger = logging.getLogger(__name__)


def fit(task: TaskSpec, items: Sequence[Item], options: FitOptions) -> FitResult:
    """Train `task` on labelled `items` by its recipe (`task.training`).

    The items are split by `lib.data.studies.split_items`. Every `val_interval` steps the
    network is scored on whole validation images; the best weights by `task.key_metric` are kept.

    Raises:
        InputError: too few or unreadable items, a patient on both sides of a given split, or an
            impossible recipe.
        DivergedError: the loss is no longer finite.
    """
    return _Run(task, items, options).fit()


class _Run:
    """State and handlers of one call of `fit`."""

    def __init__(self, task: TaskSpec, items: Sequence[Item], options: FitOptions) -> None:
        task, training, validation = plan_run(task, items, options)
        recipe = task.training
        self.task, self.options, self.recipe = task, options, recipe
        self.device = _process_device(options.device)
        self.dtype = resolve_precision(self.device, options.precision, task.network.spatial_dims)
        self.scoring = kind_of(task).scoring
        self.training = PreparedCases(training, task, options.cache_bytes, options.known)
        self.validation = PreparedCases(validation, task, options.cache_bytes // 4, options.known)
        self.main = idist.get_rank() == 0
        options.out.mkdir(parents=True, exist_ok=True)

        torch.manual_seed(options.seed)
        self.prior: dict[str, Any] | None = None
        if options.init:
            network, taken, fresh = transfer_network(task, options.init)
            origin = {"tensors_taken": taken, "tensors_fresh": fresh}
            self.prior = {**options.init.provenance, "task": options.init.task, **origin}
        else:
            network = build_network(task.network)
        network = self.network = place_network(network, self.device, self.dtype).train()
        parallel: nn.Module = network
        if idist.get_world_size() > 1:
            index = [self.device.index or 0] if self.device.type == "cuda" else None
            parallel = DistributedDataParallel(
                network, device_ids=index, find_unused_parameters=self.scoring.partial
            )
        loss = self.scoring.loss(task, training)
        self.take_step = TrainingStep(network, recipe, self.device, self.dtype, parallel, loss=loss)
        self.scheduler = self.take_step.scheduler
        averaged = self.take_step.averaged
        answering = averaged or network
        self.predictor = kind_of(task).predictor(task, answering, self.device, options.precision)
        self.completed = partial(self.scoring.complete, self.predictor)
        self.key = task.key_metric
        self.best: dict[str, float] = {}
        self.initial: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.losses: list[Tensor] = []
        self.warning = ""
        self.first_step = 0
        self.started = time.time()
        self.identity = run_identity(task, items, validation, options)

    @property
    def best_file(self) -> Path:
        return self.options.out / BEST

    def fit(self) -> FitResult:
        for cases in (self.training, self.validation):  # every file is read once before the start
            for index in range(len(cases)):
                cases[index]
        if not (self.options.resume and self._resume()):
            self.initial = score_cases(self.predictor, self.validation)
        recipe = self.recipe
        stopped_early = 0 < recipe.early_stop_patience <= self._waited()
        steps = range(self.first_step, self.first_step if stopped_early else recipe.steps)
        if steps:
            engine = Engine(lambda engine, batch: self.take_step(self.completed(batch)))
            engine.logger.disabled = True  # errors are raised; the caller reports them
            self._attach(engine)
            batches = StepBatches(
                self.training,
                self.options.seed,
                idist.get_rank(),
                idist.get_world_size(),
                self.options.new_ids,
            )
            engine.state.iteration = 0
            loader = prefetch(batches, steps, loading_threads())
            try:
                engine.run(loader, max_epochs=1, epoch_length=len(steps))
            finally:
                loader.close()
            stopped_early = engine.state.iteration < len(steps)
            self.first_step += engine.state.iteration
        if not self.best:  # cannot happen: the last step always validates
            raise RuntimeError("training ended without a validation")
        if self.main:
            write_json(self.options.out / STATS, self.standing(self.first_step, active=False))
        return FitResult(
            self.best_file,
            self.best,
            self.initial,
            self.history,
            self.first_step,
            stopped_early,
            [item.id for item in self.training.items],
            [item.id for item in self.validation.items],
        )

    def _attach(self, engine: Engine) -> None:
        """Hook validation, early stopping, progress and TensorBoard to the engine."""
        recipe, first = self.recipe, self.first_step
        stopper = None
        if recipe.early_stop_patience > 0:
            stopper = EarlyStopping(
                recipe.early_stop_patience, lambda _: self.history[-1][self.key], engine
            )
            if self.history:  # what patience is left from before the interruption
                stopper.best_score = max(entry[self.key] for entry in self.history)
                stopper.counter = self._waited()

        saved = [time.time()]

        @engine.on(Events.ITERATION_COMPLETED)
        def collect(engine: Engine) -> None:
            self.losses.append(engine.state.output)
            if time.time() - saved[0] > STATE_SECONDS:
                saved[0] = time.time()
                self.save_state(first + engine.state.iteration)

        def due(engine: Engine, event: int) -> bool:
            step = first + event
            return step % recipe.val_interval == 0 or step == recipe.steps

        @engine.on(Events.ITERATION_COMPLETED(event_filter=due))
        def validate(engine: Engine) -> None:
            self._validate(first + engine.state.iteration)
            if stopper is not None:
                stopper(engine)
            self.save_state(first + engine.state.iteration)

        if self.main:
            attach_progress(engine, self, self.options, self.recipe.steps)

    def _waited(self) -> int:
        """Return the validations since the best one."""
        seen = [entry[self.key] for entry in self.history]
        return len(seen) - 1 - seen.index(max(seen)) if seen else 0

    def _validate(self, step: int) -> None:
        """Score the network on the validation cases and keep it if it is the best so far."""
        losses = torch.stack(self.losses).double().mean()
        mean_loss = float(over_processes(losses)) / idist.get_world_size()
        self.losses.clear()
        if not math.isfinite(mean_loss):
            raise DivergedError(
                f"the loss of '{self.task.name}' is no longer finite at step {step}; lower the "
                f"learning rate (now {self.recipe.learning_rate}) or set a gradient clip"
            )
        scores = score_cases(self.predictor, self.validation)
        self.network.train()
        self._say_if_collapsed(step, scores)
        self.take_step.report(scores.get(VALIDATION_LOSS, -scores[self.key]))
        self.history.append({"step": step, "loss": mean_loss, **scores})
        better = not self.best or scores[self.key] > self.best[self.key]
        if better or self.options.keep == "last":
            self.best = scores
            if self.main:
                save_checkpoint(self.best_file, self._checkpoint(step, scores))

    def _say_if_collapsed(self, step: int, scores: dict[str, float]) -> None:
        """Warn of answers that are all the same, and score well where the others are rare."""
        self.warning = self.scoring.collapsed(self.task, step, scores)
        if self.warning and self.main:
            logger.warning(self.warning)

    def _checkpoint(self, step: int, scores: dict[str, float]) -> Checkpoint:
        return Checkpoint(
            self.task.name,
            self.task.as_dict(),
            state_on_cpu(self.predictor.network),
            scores,
            {
                "step": step,
                "seed": self.options.seed,
                "data": self.identity["data"],
                "training_cases": len(self.training),
                "validation_cases": len(self.validation),
                "new_cases": sum(c.id in self.options.new_ids for c in self.training.items),
                "precision": str(self.dtype).removeprefix("torch."),
                "device": str(self.device),
                "from": self.prior,
                "created": utc_now(),
                "versions": versions(),
                "command": self.options.command,
            },
            self.scoring.answer(self.task, scores, self.training.items),
        )

    def save_state(self, step: int) -> None:
        """Write all that a restarted run needs to go on from `step`."""
        if not self.main:
            return
        state = {
            "identity": self.identity,
            "step": step,
            "network": state_on_cpu(self.network),
            **self.take_step.state_dict(),
            "best": self.best,
            "initial": self.initial,
            "history": self.history,
            "losses": [float(loss) for loss in self.losses],
        }
        write_state(self.options.out, state)

    def _resume(self) -> bool:
        """Take up the state of an interrupted run of the same task, data, recipe and seed."""
        state = read_state(self.options.out, self.identity)
        if state is None:
            return False
        self.network.load_state_dict(state["network"])
        self.take_step.load_state_dict(state)
        self.best, self.initial = state["best"], state["initial"]
        self.history, self.first_step = state["history"], state["step"]
        self.losses = [torch.tensor(loss) for loss in state["losses"]]
        return True

    def standing(self, step: int, active: bool) -> dict[str, Any]:
        """Return where the run stands, for viewers that poll."""
        per_epoch = max(1, kind_of(self.task).cases.batches(self.training.items, self.task))
        elapsed = time.time() - self.started
        done = max(1, step - self.first_step)
        stats: dict[str, Any] = {
            "active": active,
            "step": step,
            "total_steps": self.recipe.steps,
            "epoch": math.ceil(step / per_epoch),
            "total_epochs": math.ceil(self.recipe.steps / per_epoch),
            "best_metric": self.best.get(self.key, 0.0),
            "key_metric": self.key,
            "seconds": round(elapsed, 1),
            "seconds_left": round(elapsed / done * (self.recipe.steps - step), 1) if active else 0,
            "pid": os.getpid(),
        }
        if self.warning:
            stats["warning"] = self.warning
        if self.losses:
            stats["loss"] = float(self.losses[-1])
        return stats

    def headline(self, output: Tensor) -> dict[str, str]:
        """Return the figures of a progress line."""
        shown = {"loss": f"{float(output):.4f}"}
        if self.history:
            shown[self.key] = f"{self.history[-1][self.key]:.4f}"
            shown["best"] = f"{self.best[self.key]:.4f}"
        return shown


def _process_device(name: str | None) -> torch.device:
    """Return this process's device: its own GPU under ``torchrun`` with nccl."""
    if idist.get_world_size() > 1 and idist.backend() == "nccl":
        return torch.device("cuda", idist.get_local_rank())
    return resolve_device(name)
