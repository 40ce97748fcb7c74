"""Where weights come from: what a run starts with, and what its checkpoints say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from torch import nn

from lib.errors import InputError
from lib.kinds import kind_of
from lib.networks import build_network
from lib.networks.efficientnet import IMAGENET, backbones
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases
from lib.training.options import FitOptions
from lib.training.step import TrainingStep
from lib.training.validation import Validator
from lib.weights.checkpoint import (
    Checkpoint,
    save_checkpoint,
    state_on_cpu,
    transfer_network,
    utc_now,
    versions,
)

GENERATIONS = 20  # ancestors of weights that their provenance tells of


def initial_network(
    task: TaskSpec, init: Checkpoint | None
) -> tuple[nn.Module, dict[str, Any] | None]:
    """Return the network that a run starts with, and what is known of its weights.

    Args:
        init: weights to start from; None starts as the recipe says: from random ones, of which
            there is nothing to say, or with the encoder's of ImageNet.

    Raises:
        InputError: too few of the weights fit the task's network, or those of ImageNet are missing.
    """
    if init is None:
        network = build_network(task.network)
        origin = _take_imagenet(task, network)
        if origin is not None:  # random weights have no statistics to keep
            _keep_statistics(task, network)
        return network, origin
    network, taken, fresh = transfer_network(task, init)
    _keep_statistics(task, network)
    transferred = {"tensors_taken": taken, "tensors_fresh": fresh}
    return network, shortened({**init.provenance, "task": init.task, **transferred})


def _take_imagenet(task: TaskSpec, network: nn.Module) -> dict[str, Any] | None:
    """Give the encoder the weights that the recipe asks for, and return what they are.

    Raises:
        InputError: the network has no such encoder, or its weights are missing.
    """
    if task.training.start == "random":
        return None
    if not (found := backbones(network)):
        raise InputError(
            f"task '{task.name}': only a known encoder can start from imagenet; set "
            f"network.encoder (of a classifier network.architecture), or training.start to random"
        )
    for backbone in found:
        backbone.load_imagenet()
    return {"weights": IMAGENET}


def _keep_statistics(task: TaskSpec, network: nn.Module) -> None:
    for backbone in backbones(network):
        backbone.keeps_statistics = task.training.encoder_statistics == "kept"


def shortened(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance with the last `GENERATIONS` of its ancestors.

    Weights that are trained on day after day would hold more of them than of anything else. How
    many earlier ones there were stands as ``earlier`` in the oldest one that is kept.
    """
    chain, earlier = [dict(provenance)], 0
    while isinstance(older := chain[-1].get("from"), Mapping):
        earlier = max(earlier, int(chain[-1].get("earlier") or 0))
        chain.append(dict(older))
    earlier = max(earlier, int(chain[-1].get("earlier") or 0))
    if len(chain) > GENERATIONS:
        earlier += len(chain) - GENERATIONS
        del chain[GENERATIONS:]
        chain[-1]["from"] = None
    if earlier:
        chain[-1]["earlier"] = earlier
    for younger, older in zip(chain[-2::-1], chain[:0:-1], strict=True):
        younger["from"] = older
    return chain[0]


@dataclass(frozen=True, kw_only=True)
class CheckpointWriter:
    """Writes the weights that a run keeps, with their figures and how they were trained.

    Attributes:
        path: of the checkpoint.
        data: fingerprint of all files that the run reads.
        origin: of the weights that the run started with; see `initial_network`.
    """

    path: Path
    options: FitOptions
    take_step: TrainingStep
    training: PreparedCases
    validator: Validator
    data: str
    origin: dict[str, Any] | None

    def write(self, steps: int) -> None:
        """Write the weights after so many steps; the first of several processes does."""
        if idist.get_rank() != 0:
            return
        task, items = self.training.task, self.training.items
        figures = self.validator.kept
        checkpoint = Checkpoint(
            task=task.name,
            spec=task.as_dict(),
            weights=state_on_cpu(self.take_step.averaged or self.take_step.network),
            metrics=figures,
            provenance={
                "step": steps,
                "seed": self.options.seed,
                "data": self.data,
                "training_cases": len(self.training),
                "validation_cases": len(self.validator.cases),
                "new_cases": sum(item.id in self.options.new_ids for item in items),
                "precision": str(self.take_step.dtype).removeprefix("torch."),
                "device": str(self.take_step.device),
                "from": self.origin,
                "created": utc_now(),
                "versions": versions(),
                "command": self.options.command,
            },
            answer=kind_of(task).scoring.answer(task, figures, items),
        )
        save_checkpoint(self.path, checkpoint)
