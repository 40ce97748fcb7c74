"""The state of a training run on disk, from which an interrupted run continues."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch

from lib.data.studies import Item, fingerprint_of
from lib.files import write_json
from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions
from lib.training.step import TrainingStep
from lib.training.validation import Validator
from lib.weights.checkpoint import load_checkpoint, save_tensors, state_on_cpu, weights_fingerprint

BEST = "best.pt"
STATE = "state.pt"
HISTORY = "history.json"
SAVE_SECONDS = 60.0


def run_identity(
    task: TaskSpec, items: Sequence[Item], validation: Sequence[Item], options: FitOptions
) -> dict[str, Any]:
    """Return what two runs must have in common for one to continue from the other's state.

    Args:
        task: with its recipe in steps.
        items: all labelled items; those in `validation` are held out.
    """
    return {
        "task": json.loads(json.dumps(task.as_trained())),
        "seed": options.seed,
        "data": fingerprint_of(items),
        "validation": sorted(item.id for item in validation),
        "init": weights_fingerprint(options.init) if options.init else False,
        "world_size": idist.get_world_size(),
        **({"keep": "last"} if options.keep == "last" else {}),
        **({"new": sorted(options.new_ids)} if options.new_ids else {}),
    }


class RunState:
    """The parts of a run that change with its steps, and the file that holds them.

    Args:
        folder: of the run.
        identity: of the run, as `run_identity` returns it.
        take_step: has the network, its optimiser, schedule and averaged weights.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], take_step: TrainingStep, validator: Validator
    ) -> None:
        self.folder, self.identity = folder, identity
        self.take_step, self.validator = take_step, validator
        self._saved = time.time()

    def save(self, steps: int) -> None:
        """Write the state after so many steps, and the history for people to read."""
        self._saved = time.time()
        if idist.get_rank() != 0:
            return
        validator = self.validator
        state = {
            "identity": self.identity,
            "step": steps,
            "network": state_on_cpu(self.take_step.network),
            **self.take_step.state_dict(),
            "best": validator.kept,
            "initial": validator.initial,
            "history": validator.history,
            "losses": [float(loss) for loss in validator.losses],
        }
        save_tensors(self.folder / STATE, state)
        write_json(self.folder / HISTORY, validator.history)

    def save_if_due(self, steps: int) -> None:
        """Write the state if it was last written `SAVE_SECONDS` ago."""
        if time.time() - self._saved > SAVE_SECONDS:
            self.save(steps)

    def load(self) -> int | None:
        """Take up the state on disk and return its steps; None if there is none of this run."""
        state = _read(self.folder)
        if state is None or state["identity"] != self.identity:
            return None
        self.take_step.network.load_state_dict(state["network"])
        self.take_step.load_state_dict(state)
        validator = self.validator
        validator.kept, validator.initial = state["best"], state["initial"]
        validator.history = state["history"]
        validator.losses = [torch.tensor(loss) for loss in state["losses"]]
        steps: int = state["step"]
        return steps


def _read(folder: Path) -> dict[str, Any] | None:
    """Return the state in the run's folder; None where there is none, or a damaged one."""
    file = folder / STATE
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if state["best"]:
            load_checkpoint(folder / BEST)
    except Exception:  # a damaged file fails in many ways; the run starts again
        return None
    return state
