"""What a run starts from where its variant asks for the weights of another task."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.reproduction.sources import nuclei_items
from lib.data.studies import Item, fingerprint_of
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
class InitialWeights:
    """Weights of another task: a file, or a run on nuclei that makes them first.

    Attributes:
        file: None where a run makes them.
        task: of that run.
        items: of that run.
    """

    file: Path | None = None
    task: TaskSpec | None = None
    items: tuple[Item, ...] = ()

    @property
    def description(self) -> str:
        """Where the weights come from."""
        return self.file.name if self.file else f"a run on {len(self.items)} phantoms of nuclei"

    def identity(self) -> dict[str, Any]:
        """Return what decides the weights."""
        if self.file:
            return {"weights": fingerprint([self.file])}
        assert self.task is not None
        task = json.loads(json.dumps(self.task.as_trained()))
        return {"task": task, "data": fingerprint_of(self.items)}

    def load(self, options: FitOptions) -> Checkpoint:
        """Return the weights; where a run makes them, it is trained now.

        Args:
            options: of the run that starts from them.
        """
        if self.file:
            return load_checkpoint(self.file)
        assert self.task is not None
        options = replace(options, out=options.out / "prior", validation_ids=None)
        return load_checkpoint(fit(self.task, self.items, options).weights)


def choose_initial_weights(
    task: TaskSpec, file: Path | None, shipped: Path | None, folder: Path
) -> InitialWeights:
    """Return the weights in `file` if it is given, the shipped ones if they fit, else a run's.

    Args:
        task: what starts from them.
        folder: where phantoms for a run are written.

    Raises:
        InputError: `file` is no checkpoint.
    """
    if file:
        load_checkpoint(file)
        return InitialWeights(file)
    if shipped and shipped.is_file():
        try:
            transfer_network(task, load_checkpoint(shipped))
        except InputError:
            pass
        else:
            return InitialWeights(shipped)
    return InitialWeights(task=nuclei_like(task), items=tuple(nuclei_items(folder)))


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
