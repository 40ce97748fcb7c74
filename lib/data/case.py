"""What a case and a batch are, and what training and evaluation ask of a kind of task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from lib.data.ignore import UNKNOWN
from lib.data.studies import Item
from lib.tasks.spec import TaskSpec
from lib.weights.versions import Trivial

Case = tuple[np.ndarray, ...]  # image, target, and further inputs of the network
Batch = tuple[Tensor, ...]  # images, targets, and further inputs of the network
Prepared = dict[tuple[Path, Path | None], Case]  # by the files of image and label


class Cases(Protocol):
    """Prepared cases of one task, by number."""

    task: TaskSpec
    items: list[Item]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Case: ...


class Places:
    """The pixels of a mask `(*spatial)` by their number, in the order of `numpy.flatnonzero`.

    They take a bit for each pixel of the mask, and not eight bytes for each pixel in it.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self._shape = mask.shape
        lines = mask.reshape(-1, mask.shape[-1])
        self._ends = np.cumsum(np.count_nonzero(lines, axis=1))
        self._bits = np.packbits(lines, axis=1)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> tuple[int, ...]:
        line = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[line - 1]) if line else 0
        inside = np.flatnonzero(np.unpackbits(self._bits[line], count=self._shape[-1]))
        outer = np.unravel_index(line, self._shape[:-1])
        return (*(int(index) for index in outer), int(inside[number - before]))


@dataclass(frozen=True, kw_only=True)
class HeldCase:
    """A prepared case as tensors, from which batches are drawn.

    Attributes:
        parts: what `Case` holds. They lie on `device`, or in this machine's memory where there is
            no room on it; single numbers always do.
        device: where batches are drawn.
        foreground: the foreground of the target; None if the target is no map.
        known: what is labelled; None if all is, or the target is no map.
    """

    parts: Batch
    device: torch.device
    foreground: Places | None = None
    known: Places | None = None

    @classmethod
    def of(cls, case: Case, device: torch.device, resident: bool = True) -> Self:
        """Hold a case for batches that are drawn on `device`, and there if it is `resident`.

        On the CPU the tensors share the memory of the arrays.
        """
        place = device if resident else torch.device("cpu")
        held = (torch.from_numpy(part) for part in case)
        parts = tuple(part.to(place) if part.ndim else part for part in held)
        if case[1].ndim != case[0].ndim:
            return cls(parts=parts, device=device)
        truth = case[1][0]
        known = truth != UNKNOWN
        return cls(
            parts=parts,
            device=device,
            foreground=Places(truth > 0),
            known=None if known.all() else Places(known),
        )


@dataclass(frozen=True, kw_only=True)
class CaseFunctions:
    """How the cases of a kind of task are listed, read, and drawn for training.

    Attributes:
        list: returns the items of a studies folder; all, or the labelled ones.
        load: reads and prepares one item.
        learned: returns the task with what its cases tell of how they may be drawn.
        fitted: returns the task as it is trained on cases of these largest sides.
        check_size: raises `InputError` if the network cannot be trained on cases of the size that
            the task asks for.
        draw: returns a batch of augmented cases on the device for which they are held: images
            float32, targets, and more. Each case has a random generator of its own, so that what
            is drawn of it does not depend on the others.
        order: returns the indices of the cases of one pass, shuffled.
        batches: returns the number of batches of one pass.
        of_readers: returns the labelled items with the labels of the readers that are chosen by
            one of `lib.data.reader_choice.READERS`.
    """

    list: Callable[[Path, TaskSpec, bool], list[Item]]
    load: Callable[[Item, TaskSpec], Case]
    fitted: Callable[[TaskSpec, tuple[int, ...]], TaskSpec]
    check_size: Callable[[TaskSpec], None]
    draw: Callable[[Sequence[HeldCase], TaskSpec, Sequence[np.random.Generator]], Batch]
    order: Callable[[Sequence[Item], TaskSpec, np.random.Generator], np.ndarray]
    batches: Callable[[Sequence[Item], TaskSpec], int]
    of_readers: Callable[[Path, TaskSpec, str], Sequence[Item]]
    learned: Callable[[TaskSpec, Cases], TaskSpec] = lambda task, cases: task


Loss = Callable[[Tensor, Tensor], Tensor]

Figures = dict[str, float]
VALIDATION_LOSS = "val_loss"


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What training asks of a kind of task.

    Attributes:
        loss: returns the loss of a batch, by task and training items.
        score: returns the figures of whole cases.
        trivial: returns the best answer that looks at no image, by the task's key metric; None
            where no such figure is known, or the cases cannot tell.
        collapsed: returns a warning where figures look good but all answers are the same, else "".
        answer: returns what the checkpoint keeps beside the weights, by figures and training items.
        complete: returns a batch as the step takes it, by the predictor that answers now.
        features: returns the features of a prepared case by the predictor, `(features)`, as
            `lib.weights.familiarity.Familiarity` takes them; None where there are none.
        partial: whether a step may train some of the weights only, as where several networks are
            in one and a batch is for one of them. What a batch has beside images and targets then
            tells which, and stays on the host.
    """

    loss: Callable[[TaskSpec, Sequence[Item]], Loss]
    score: Callable[[Any, Cases], Figures]
    trivial: Callable[[TaskSpec, Cases], Trivial | None] = lambda task, cases: None
    collapsed: Callable[[TaskSpec, int, Figures], str] = lambda task, step, figures: ""
    answer: Callable[[TaskSpec, Figures, Sequence[Item]], dict[str, Any]] = (
        lambda task, figures, items: {}
    )
    complete: Callable[[Any, Batch], Batch] = lambda predictor, batch: batch
    features: Callable[[Any, Case], np.ndarray | None] = lambda predictor, case: None
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
        plots: draws a report's plain data into a folder, and returns the files, by ``(folder, data,
            prefix of the names, predictor, items)``; None where nothing is drawn.
        figures: returns what a benchmark keeps of a report.
        outcome: returns these figures as one line of text.
    """

    evaluate: Callable[..., Report]
    count: Callable[[Any], int]
    lines: Callable[[Any], list[str]]
    pool: Callable[[Iterable[tuple[Any, Sequence[Item]]], int], Report] | None = None
    plots: Callable[..., list[Path]] | None = None
    figures: Callable[[Any], dict[str, Any]] = lambda report: report.as_dict()
    outcome: Callable[[Mapping[str, Any]], str] = lambda figures: ""
