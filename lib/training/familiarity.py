"""What images weights were trained on, measured at the end of a training and kept with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.data.case import Cases
from lib.devices import give_back_memory
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases
from lib.training.options import FitOptions
from lib.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lib.weights.familiarity import KEY, Familiarity
from lib.weights.runner import NetworkRunner
from lib.weights.versions import COUNTED

MOST = 500  # images of each side; of more, evenly chosen ones


def keep_familiarity(
    file: Path,
    task: TaskSpec,
    training: PreparedCases,
    validation: PreparedCases,
    options: FitOptions,
) -> None:
    """Write into a checkpoint what its training images look like to it, where that can be told.

    One that has it already, of a run that goes on and found nothing better, stays as it is.
    """
    checkpoint = load_checkpoint(file)
    if KEY in checkpoint.answer:
        return
    give_back_memory()  # of the steps, before a second network answers
    predictor = kind_of(task).predictor.from_checkpoint(
        task, checkpoint, options.device, options.precision
    )
    predictor.recorded = None  # what a GPU replays has no features
    found = measure_familiarity(predictor, training, validation)
    if found is not None:
        save_checkpoint(file, with_familiarity(checkpoint, found))


def measure_familiarity(
    predictor: NetworkRunner,
    training: Cases,
    validation: Cases,
    on_case: Callable[[], object] = lambda: None,
) -> Familiarity | None:
    """Return what a network makes of the images it was trained on, and of those held out.

    None where the kind of task has no such features, or there are too few images.
    """
    known = features_of(predictor, training, on_case)
    held_out = features_of(predictor, validation, on_case)
    if known is None or held_out is None:
        return None
    return Familiarity.fit(known, held_out)


def features_of(
    predictor: NetworkRunner, cases: Cases, on_case: Callable[[], object] = lambda: None
) -> np.ndarray | None:
    """Return the features of cases, `(cases, features)`; None where there are none."""
    measure, rows = kind_of(predictor.task).scoring.features, []
    for index in evenly(len(cases)):
        features = measure(predictor, cases[index])
        if features is None:
            return None
        rows.append(features)
        on_case()
    return np.stack(rows) if rows else None


def evenly(count: int, most: int = MOST) -> list[int]:
    """Return at most `most` numbers from 0 to `count` - 1, evenly chosen."""
    step = max(1.0, count / most)
    return [int(index * step) for index in range(min(count, most))]


def with_familiarity(checkpoint: Checkpoint, found: Familiarity | None) -> Checkpoint:
    """Return the checkpoint with `found` in it, and without any that it had before."""
    answer = {name: value for name, value in checkpoint.answer.items() if name != KEY}
    provenance = {n: value for n, value in checkpoint.provenance.items() if n != COUNTED}
    if found is not None:
        answer[KEY] = found.as_plain()
        provenance[COUNTED] = found.training
    return replace(checkpoint, answer=answer, provenance=provenance)
