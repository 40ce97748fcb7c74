"""What a run starts from where its variant asks for the weights of another task."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.reproduction.sources import nuclei_items
from lib.data.studies import Item
from lib.errors import InputError
from lib.files import fingerprint
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.checkpoint import Checkpoint, load_checkpoint, transfer_network

NUCLEI = "nuclei_vhllrhe"
SHARE = 3500 / 30000  # of the steps: the thesis takes nuclei weights of step 3500, ends at 30000


@dataclass(frozen=True)
class Prior:
    """Weights of another task.

    Attributes:
        weights: their file; None where a run makes them first, of `task` on `items`.
    """

    weights: Path | None = None
    task: TaskSpec | None = None
    items: tuple[Item, ...] = ()

    @property
    def story(self) -> str:
        """Where the weights are from, in words."""
        if self.weights:
            return self.weights.name
        return f"a run on {len(self.items)} phantoms of nuclei"

    def identity(self) -> dict[str, Any]:
        """Return what decides the weights."""
        if self.weights:
            return {"weights": fingerprint([self.weights])}
        assert self.task is not None
        files = [path for item in self.items for path in (item.image, item.label) if path]
        task = json.loads(json.dumps(self.task.as_trained()))
        return {"task": task, "data": fingerprint(files)}

    def load(self, options: FitOptions) -> Checkpoint:
        """Return the weights.

        Args:
            options: of the run that starts from them, for the run that makes them.
        """
        if self.weights:
            return load_checkpoint(self.weights)
        assert self.task is not None
        own = replace(options, out=options.out / "prior", validation_ids=None)
        return load_checkpoint(fit(self.task, self.items, own).weights)


def choose_prior(task: TaskSpec, given: Path | None, shipped: Path | None, folder: Path) -> Prior:
    """Return the weights that were given; else the shipped ones if they fit, else a run's.

    Args:
        task: what starts from them.
        folder: where phantoms for a run are written.

    Raises:
        InputError: the given file is no checkpoint.
    """
    if given:
        load_checkpoint(given)
        return Prior(given)
    if shipped and shipped.is_file():
        try:
            transfer_network(task, load_checkpoint(shipped))
        except InputError:
            pass
        else:
            return Prior(shipped)
    return Prior(task=nuclei_like(task), items=tuple(nuclei_items(folder)))


def nuclei_like(task: TaskSpec) -> TaskSpec:
    """Return the row that trains the network of `task` on nuclei, for `SHARE` of its steps."""
    nuclei = get_task(NUCLEI)
    steps = max(1, round(SHARE * task.training.steps))
    return replace(
        task,
        name=f"{task.name}_prior",
        labels=nuclei.labels,
        input=nuclei.input,
        augment=nuclei.augment,
        training=replace(task.training, steps=steps, val_interval=steps),
        key_metric=nuclei.key_metric,
    )
