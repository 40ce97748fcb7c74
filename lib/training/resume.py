"""The state of a training run on disk, from which an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch

from lib.data.studies import Item, fingerprint_of
from lib.files import write_json
from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions
from lib.weights.checkpoint import load_checkpoint, save_tensors, weights_print

BEST = "best.pt"
STATE = "state.pt"
HISTORY = "history.json"


def run_identity(
    task: TaskSpec, items: Sequence[Item], validation: Sequence[Item], options: FitOptions
) -> dict[str, Any]:
    """Return what two runs must have in common for one to go on with the other's state.

    Args:
        task: with its recipe in steps.
        items: all labelled items; those in `validation` are held out.
    """
    return {
        "task": json.loads(json.dumps(task.as_trained())),
        "seed": options.seed,
        "data": fingerprint_of(items),
        "validation": sorted(item.id for item in validation),
        "init": weights_print(options.init) if options.init else False,
        "world_size": idist.get_world_size(),
        **({"keep": "last"} if options.keep == "last" else {}),
        **({"new": sorted(options.new_ids)} if options.new_ids else {}),
    }


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run, and its ``history`` for people, into the run's folder.

    Args:
        state: by name; ``identity`` is that of `run_identity`, ``best`` is empty before the first
            validation.
    """
    save_tensors(folder / STATE, state)
    write_json(folder / HISTORY, state["history"])


def read_state(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return what `write_state` wrote; None where there is none, or of another run, or damaged."""
    file = folder / STATE
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        if state["best"]:
            load_checkpoint(folder / BEST)
    except Exception:  # damaged by something else than us: start again
        return None
    return state if state["identity"] == identity else None
