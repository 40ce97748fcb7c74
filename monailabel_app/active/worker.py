"""The process that measures samples: one thread, low priority, a predictor of its own.

It reads pickled `Job`s from standard input and writes an `Answer` for each to standard output,
until its input ends. That happens too when the server ends in whatever way.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from lib.data.ignore import split_ignored
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.kinds import kind_of, measure
from lib.mammography.exams import Exam
from lib.tasks.outside import load_given
from lib.tasks.registry import get_task
from lib.uncertainty.informativeness import Informativeness
from lib.weights.checkpoint import load_checkpoint
from lib.weights.runner import NetworkRunner
from lib.weights.store import ModelStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker is started with.

    Attributes:
        models: folder of served weights.
        shipped: folder of the weights that come with the app.
    """

    models: Path
    shipped: Path
    device: str
    precision: str


@dataclass(frozen=True)
class Job:
    """One sample to measure.

    Attributes:
        case: an image file, or an exam.
        label: its accepted label image, if it has one.
        passes: number of passes with dropout.
    """

    task: str
    case: Path | Exam
    label: Path | None
    passes: int


@dataclass(frozen=True)
class Answer:
    """The result of a job.

    Attributes:
        version: of the served weights; "" if there are none that can be used.
        measured: None if the sample could not be measured.
        error: why it was not measured, or why there is no version.
    """

    version: str
    measured: Informativeness | None = None
    error: str = ""


class Measurer:
    """Measures with the served weights; keeps the predictor of the last task only."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.store = ModelStore(setup.models, setup.shipped)
        self._loaded: tuple[str, str, NetworkRunner] | None = None

    def __call__(self, job: Job) -> Answer:
        """Measure a sample; the answer says what went wrong."""
        try:
            version, predictor = self._served(job.task)
        except (InputError, OSError) as error:
            return Answer("", error=str(error))
        try:
            return Answer(version, self._measure(predictor, job))
        except InputError as error:
            return Answer(version, error=str(error))
        except Exception as error:  # one odd file must not end the others
            logger.exception(f"Not measured: {job.case}")
            return Answer(version, error=f"{type(error).__name__}: {error}")

    def _served(self, name: str) -> tuple[str, NetworkRunner]:
        version = self.store.served_version(name)
        if self._loaded is None or self._loaded[:2] != (name, version):
            path = self.store.served_path(name)
            if path is None:
                raise InputError(f"'{name}' has no weights")
            self._loaded = None  # its memory is needed for the next
            task = get_task(name)
            predictor = kind_of(task).predictor.from_checkpoint(
                task, load_checkpoint(path), self.setup.device, self.setup.precision
            )
            if self.store.served_version(name) != version:  # published in between
                return self._served(name)
            self._loaded = (name, version, predictor)
        return version, self._loaded[2]

    def _measure(self, predictor: NetworkRunner, job: Job) -> Informativeness:
        if isinstance(job.case, Exam):
            return measure(predictor, job.case, passes=job.passes)
        task = predictor.task
        image = read_image(job.case, task.input.max_pixels, task.image_dims)
        found = measure(predictor, image, passes=job.passes)
        if job.label is None:
            return found
        label, labelled = split_ignored(read_label(job.label, image), job.label.name)
        if not label.any() and not labelled.all():  # there may be something
            return found
        return replace(found, foreground=float((label > 0)[labelled].mean()))


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer jobs until there are no more; the first thing read is the `Setup`."""
    measurer = Measurer(pickle.load(source))
    while True:
        try:
            job: Any = pickle.load(source)
        except EOFError:
            return
        pickle.dump(measurer(job), target)
        target.flush()


def main() -> None:
    """Serve on standard input and output; what libraries print goes to standard error."""
    torch.set_num_threads(1)
    load_given()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as target:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, target)
