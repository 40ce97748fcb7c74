"""What a case and a batch are, and what training asks of a kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lib.data.studies import Item
from lib.tasks.spec import TaskSpec

Case = tuple[np.ndarray, ...]  # image, target, and what else the network is given


class CaseList(Protocol):
    """The items of one task, not yet read."""

    task: TaskSpec
    items: list[Item]

    def __len__(self) -> int: ...


class Cases(CaseList, Protocol):
    """Prepared cases of one task, by number."""

    def __getitem__(self, index: int) -> Case: ...


@dataclass(frozen=True)
class CaseKind:
    """What the cases of a kind of task are.

    Attributes:
        list: the items of a studies folder; all, or the labelled ones.
        load: one item, prepared.
        fitted: the task as it is trained on cases of these largest sides.
        draw: a case as it goes into a batch, augmented: image float32, target, more.
        order: numbers of the cases of one pass, shuffled.
        batches: how many batches one pass has.
    """

    list: Callable[[Path, TaskSpec, bool], list[Item]]
    load: Callable[[Item, TaskSpec], Case]
    fitted: Callable[[TaskSpec, tuple[int, ...]], TaskSpec]
    draw: Callable[[Case, TaskSpec, np.random.Generator], Case]
    order: Callable[[CaseList, np.random.Generator], np.ndarray]
    batches: Callable[[Sequence[Item], TaskSpec], int]


Batch = tuple[Tensor, ...]  # images, targets, and what else the network is given

Loss = Callable[[Tensor, Tensor], Tensor]

Figures = dict[str, float]
VALIDATION_LOSS = "val_loss"


@dataclass(frozen=True)
class Scoring:
    """What training asks of a kind of task.

    Attributes:
        loss: of a batch, by task and training items.
        score: figures of whole cases.
        collapsed: what is wrong with figures that look well, for a warning; empty where nothing is.
        answer: what the checkpoint keeps beside the weights, by figures and training items.
        complete: a batch as the step takes it, by the predictor that answers now.
        partial: whether a step may train a part of the weights only: of several networks in one,
            those of its batch.
    """

    loss: Callable[[TaskSpec, Sequence[Item]], Loss]
    score: Callable[[Any, Cases], Figures]
    collapsed: Callable[[TaskSpec, int, Figures], str]
    answer: Callable[[TaskSpec, Figures, Sequence[Item]], dict[str, Any]]
    complete: Callable[[Any, Batch], Batch] = lambda predictor, batch: batch
    partial: bool = False
