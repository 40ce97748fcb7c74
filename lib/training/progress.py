"""How a training run shows itself: a bar or lines, a small file for viewers, TensorBoard."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch import Tensor

from lib.files import write_json
from lib.tasks.spec import TaskSpec

STATS = "stats.json"
STATS_SECONDS = 1.0
LINE_SECONDS = 5.0
TENSORBOARD_STEPS = 10


class Run(Protocol):
    """What is shown of a run."""

    task: TaskSpec
    first_step: int
    history: list[dict[str, float]]
    scheduler: Any

    def standing(self, step: int, active: bool) -> dict[str, Any]:
        """Return where the run stands."""

    def headline(self, output: Tensor) -> dict[str, str]:
        """Return the figures of a progress line."""


class Shown(Protocol):
    """What the options of a run say of showing it."""

    @property
    def out(self) -> Path:
        """Folder of the run."""

    @property
    def progress(self) -> bool:
        """Whether to show a bar or lines."""

    @property
    def tensorboard(self) -> bool:
        """Whether to write event files."""


def attach_progress(engine: Engine, run: Run, options: Shown, steps: int) -> None:
    """Show `run` on a terminal as a bar, elsewhere as a line every few seconds.

    Writes `stats.json` once a second, and TensorBoard events, to the run's folder.
    """
    first = run.first_step
    interactive = os.isatty(2)
    if options.progress and interactive:
        title = f"{run.task.name} from step {first}" if first else run.task.name
        ProgressBar(persist=True, desc=title).attach(engine, output_transform=run.headline)
    shown = {"stats": 0.0, "line": time.time()}

    @engine.on(Events.ITERATION_COMPLETED)
    def report(engine: Engine) -> None:
        step, now = first + engine.state.iteration, time.time()
        if now - shown["stats"] < STATS_SECONDS and step < steps:
            return
        shown["stats"] = now
        stats = run.standing(step, active=True)
        write_json(options.out / STATS, stats)
        if options.progress and not interactive and now - shown["line"] > LINE_SECONDS:
            shown["line"] = now
            figures = ", ".join(f"{k} {v}" for k, v in run.headline(engine.state.output).items())
            left = stats["seconds_left"] / 60
            print(
                f"{run.task.name}: step {step}/{steps}, {figures}, {left:.1f} min left",
                file=sys.stderr,
                flush=True,
            )

    if options.tensorboard:
        _attach_tensorboard(engine, run, options.out / "tensorboard")


def _attach_tensorboard(engine: Engine, run: Run, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    first = run.first_step
    writer = SummaryWriter(str(folder))

    @engine.on(Events.ITERATION_COMPLETED)
    def log(engine: Engine) -> None:
        step = first + engine.state.iteration
        if step % TENSORBOARD_STEPS == 0:
            writer.add_scalar("train/loss", float(engine.state.output), step)
            writer.add_scalar("train/learning_rate", run.scheduler.get_last_lr()[0], step)
        if run.history and run.history[-1]["step"] == step:
            for name, value in run.history[-1].items():
                if name not in ("step", "loss"):
                    writer.add_scalar(f"validation/{name}", value, step)

    engine.add_event_handler(Events.COMPLETED, writer.close)
