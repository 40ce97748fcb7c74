"""What a case and a batch are, and what training and evaluation ask of a kind of task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lib.data.studies import Item
from lib.tasks.spec import TaskSpec

Case = tuple[np.ndarray, ...]  # image, target, and further inputs of the network
Prepared = dict[tuple[Path, Path | None], Case]  # by the files of image and label


class Cases(Protocol):
    """Prepared cases of one task, by number."""

    task: TaskSpec
    items: list[Item]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Case: ...


@dataclass(frozen=True, kw_only=True)
class CaseFunctions:
    """How the cases of a kind of task are listed, read, and drawn for training.

    Attributes:
        list: returns the items of a studies folder; all, or the labelled ones.
        load: reads and prepares one item.
        fitted: returns the task as it is trained on cases of these largest sides.
        check_size: raises `InputError` if the network cannot be trained on cases of the size that
            the task asks for.
        draw: returns a case as it goes into a batch, augmented: image float32, target, and more.
        order: returns the indices of the cases of one pass, shuffled.
        batches: returns the number of batches of one pass.
        of_readers: returns the labelled items with the labels of the readers that are chosen by
            one of `lib.data.reader_choice.READERS`.
    """

    list: Callable[[Path, TaskSpec, bool], list[Item]]
    load: Callable[[Item, TaskSpec], Case]
    fitted: Callable[[TaskSpec, tuple[int, ...]], TaskSpec]
    check_size: Callable[[TaskSpec], None]
    draw: Callable[[Case, TaskSpec, np.random.Generator], Case]
    order: Callable[[Sequence[Item], TaskSpec, np.random.Generator], np.ndarray]
    batches: Callable[[Sequence[Item], TaskSpec], int]
    of_readers: Callable[[Path, TaskSpec, str], Sequence[Item]]


Batch = tuple[Tensor, ...]  # images, targets, and further inputs of the network

Loss = Callable[[Tensor, Tensor], Tensor]

Figures = dict[str, float]
VALIDATION_LOSS = "val_loss"


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What training asks of a kind of task.

    Attributes:
        loss: returns the loss of a batch, by task and training items.
        score: returns the figures of whole cases.
        collapsed: returns a warning where figures look good but all answers are the same, else "".
        answer: returns what the checkpoint keeps beside the weights, by figures and training items.
        complete: returns a batch as the step takes it, by the predictor that answers now.
        partial: whether a step may train some of the weights only, as where several networks are
            in one and a batch is for one of them.
    """

    loss: Callable[[TaskSpec, Sequence[Item]], Loss]
    score: Callable[[Any, Cases], Figures]
    collapsed: Callable[[TaskSpec, int, Figures], str] = lambda task, step, figures: ""
    answer: Callable[[TaskSpec, Figures, Sequence[Item]], dict[str, Any]] = (
        lambda task, figures, items: {}
    )
    complete: Callable[[Any, Batch], Batch] = lambda predictor, batch: batch
    partial: bool = False


class Report(Protocol):
    """The figures of one evaluation; ``failed`` of its data names cases without an answer."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How answers of a kind of task are compared with labels, and shown.

    Attributes:
        evaluate: returns the report of a predictor on labelled items, by ``(predictor, items, seed
            of the bootstrap, on_case, about)``. The last two may be left away: what is called after
            each case, for progress, and what to record beside versions, seed and data.
        count: returns the number of cases of a report.
        lines: returns a report as lines of text.
        pool: returns one report on the answers of several predictors, each on its own items, by
            the seed of the bootstrap; None where the kind has no figures of pooled answers.
        plots: draws a report's plain data into a folder, by the prefix of file names, and returns
            the files; None where nothing is drawn.
        figures: returns what a benchmark keeps of a report.
        outcome: returns these figures as one line of text.
    """

    evaluate: Callable[..., Report]
    count: Callable[[Any], int]
    lines: Callable[[Any], list[str]]
    pool: Callable[[Iterable[tuple[Any, Sequence[Item]]], int], Report] | None = None
    plots: Callable[[Path, dict[str, Any], str], list[Path]] | None = None
    figures: Callable[[Any], dict[str, Any]] = lambda report: report.as_dict()
    outcome: Callable[[Mapping[str, Any]], str] = lambda figures: ""
