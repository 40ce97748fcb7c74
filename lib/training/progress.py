"""How a training run shows itself: a bar or lines, a small file for viewers, TensorBoard."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from lib.files import write_json
from lib.tasks.spec import TaskSpec
from lib.training.validation import Validator

STATS = "stats.json"
STATS_SECONDS = 1.0
LINE_SECONDS = 5.0
BAR_SECONDS = 0.5
TENSORBOARD_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The status of a run, in numbers.

    Attributes:
        task: with its recipe in steps.
        batches_per_epoch: of one pass over the training cases.
        first_step: steps that were done before, by the run that this one continues.
        started: time of the start, seconds since the epoch.
    """

    task: TaskSpec
    batches_per_epoch: int
    first_step: int
    started: float
    validator: Validator

    def stats(self, step: int, active: bool) -> dict[str, Any]:
        """Return the status after `step`, for viewers that poll."""
        steps, key = self.task.training.steps, self.task.key_metric
        per_epoch = max(1, self.batches_per_epoch)
        elapsed = time.time() - self.started
        done = max(1, step - self.first_step)
        stats: dict[str, Any] = {
            "active": active,
            "step": step,
            "total_steps": steps,
            "epoch": math.ceil(step / per_epoch),
            "total_epochs": math.ceil(steps / per_epoch),
            "best_metric": self.validator.kept.get(key, 0.0),
            "key_metric": key,
            "seconds": round(elapsed, 1),
            "seconds_left": round(elapsed / done * (steps - step), 1) if active else 0,
            "pid": os.getpid(),
        }
        if self.validator.warning:
            stats["warning"] = self.validator.warning
        if self.validator.losses:
            stats["loss"] = float(self.validator.losses[-1])
        return stats

    def figures(self, loss: Tensor) -> dict[str, str]:
        """Return what a progress bar or line shows after a step with this loss."""
        shown = {"loss": f"{float(loss):.4f}"}  # waits until the device has it
        key, validator = self.task.key_metric, self.validator
        if validator.history:
            shown[key] = f"{validator.history[-1][key]:.4f}"
            shown["best"] = f"{validator.kept[key]:.4f}"
        return shown


def attach_progress(engine: Engine, status: RunStatus, folder: Path, visible: bool) -> None:
    """Write ``stats.json`` to the run's folder once a second, and show the run while it goes on.

    Args:
        folder: of the run.
        visible: show a bar on a terminal, elsewhere a line every few seconds, on standard error.
    """
    name, first, steps = status.task.name, status.first_step, status.task.training.steps
    terminal = os.isatty(2)
    if visible and terminal:
        _attach_bar(engine, status)
    last = {"stats": 0.0, "line": time.time()}

    @engine.on(Events.ITERATION_COMPLETED)
    def report(engine: Engine) -> None:
        step, now = first + engine.state.iteration, time.time()
        if now - last["stats"] < STATS_SECONDS and step < steps:
            return
        last["stats"] = now
        stats = status.stats(step, active=True)
        write_json(folder / STATS, stats)
        if visible and not terminal and now - last["line"] > LINE_SECONDS:
            last["line"] = now
            figures = ", ".join(f"{k} {v}" for k, v in status.figures(engine.state.output).items())
            minutes = stats["seconds_left"] / 60
            print(
                f"{name}: step {step}/{steps}, {figures}, {minutes:.1f} min left",
                file=sys.stderr,
                flush=True,
            )


def _attach_bar(engine: Engine, status: RunStatus) -> None:
    """Show a bar of steps; Ignite's own counts iterations, which may be several steps."""
    bar = tqdm(total=status.task.training.steps, initial=status.first_step, desc=status.task.name)
    figures = _seldom(status.figures)

    @engine.on(Events.ITERATION_COMPLETED)
    def show(engine: Engine) -> None:
        bar.set_postfix(figures(engine.state.output), refresh=False)
        bar.update(status.first_step + engine.state.iteration - bar.n)

    @engine.on(Events.COMPLETED)
    def close() -> None:
        bar.close()


def _seldom(figures: Callable[[Tensor], dict[str, str]]) -> Callable[[Tensor], dict[str, str]]:
    """Return `figures`, asked every half second; between, its last answer, so that no step waits.

    The bar asks after each iteration, however seldom it draws.
    """
    last: dict[str, Any] = {"time": -math.inf, "shown": {}}

    def shown(loss: Tensor) -> dict[str, str]:
        if time.monotonic() - last["time"] >= BAR_SECONDS:
            last.update(time=time.monotonic(), shown=figures(loss))
        answer: dict[str, str] = last["shown"]
        return answer

    return shown


def attach_tensorboard(
    engine: Engine, status: RunStatus, scheduler: LRScheduler, folder: Path
) -> None:
    """Write losses, learning rates and validation figures as event files to `folder`."""
    from torch.utils.tensorboard import SummaryWriter

    first, history = status.first_step, status.validator.history
    writer = SummaryWriter(str(folder))
    waiting: list[tuple[int, float, Any, Any]] = []  # values that may still be on the device

    def write() -> None:
        for step, seconds, loss, rate in waiting:
            writer.add_scalar("train/loss", float(loss), step, seconds)
            writer.add_scalar("train/learning_rate", float(rate), step, seconds)
        waiting.clear()

    @engine.on(Events.ITERATION_COMPLETED)
    def log(engine: Engine) -> None:
        step, now = first + engine.state.iteration, time.time()
        if step % TENSORBOARD_STEPS == 0:
            waiting.append((step, now, engine.state.output, scheduler.get_last_lr()[0]))
        if waiting and now - waiting[0][1] >= STATS_SECONDS:
            write()
        if history and history[-1]["step"] == step:
            for name, value in history[-1].items():
                if name not in ("step", "loss"):
                    writer.add_scalar(f"validation/{name}", value, step)

    @engine.on(Events.COMPLETED)
    def close() -> None:
        write()
        writer.close()
