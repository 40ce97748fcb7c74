"""One answer as exports see it: an image with numbered objects, their structures and measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lib.exports.measurements import measure
from lib.image import Image
from lib.io.pixel_size import pixel_size
from lib.io.read import stem
from lib.segmentation.answer import INSTANCES, label_image
from lib.segmentation.measures import numbered_objects, values_of_objects
from lib.segmentation.predictor import Prediction
from lib.tasks.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An image with what a model found in it.

    Attributes:
        image: as it was read.
        objects: int32 of the image's shape, 0 is background, numbered from 1.
        structures: name of the structure of each object, by its number; 0 is "".
        labels: names and values of the task's structures.
        label: the label image that is stored, integers of the image's shape.
        numbered: whether the values of `label` are numbers of objects, not structures.
        separated: whether the task separates objects; else they are connected parts of structures.
        model, version, software: who answered, for files that keep it.
    """

    image: Image
    objects: np.ndarray
    structures: tuple[str, ...]
    labels: dict[str, int]
    label: np.ndarray
    numbered: bool = False
    separated: bool = False
    model: str = ""
    version: str = ""
    software: str = "unversioned"

    @property
    def id(self) -> str:
        """The id of the image: its file's name without the extension."""
        return stem(self.image.path)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The measures of each object, see `lib.exports.measurements.measure`."""
        return measure(self.image, self.objects, self.structures, self.pixel_size)

    @cached_property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Size of a pixel along x, y[, z] in mm; None where the file does not tell it."""
        return pixel_size(self.image)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the objects, in rising order."""
        return [number for number, name in enumerate(self.structures) if name]

    def planes(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield index and objects `(rows, columns)` of each slice or frame that has any."""
        stack = self.objects[np.newaxis] if self.objects.ndim == 2 else self.objects
        yield from ((n, plane) for n, plane in enumerate(stack) if plane.any())


def answer_of_label(
    image: Image, label: np.ndarray, labels: dict[str, int], model: str = "", software: str = ""
) -> Answer:
    """Return a label that was drawn, or corrected, as exports see it.

    Args:
        label: integers of the image's shape, 0 is background; objects are its connected parts.
        labels: value of each structure by its name, 1 to 255.
    """
    mask = label.astype(np.uint8)
    drawn = Prediction(probabilities=np.zeros((0, *mask.shape), np.float32), mask=mask)
    return _answer(image, drawn, labels, mask, model=model, software=software or "unversioned")


def answer_of(
    task: TaskSpec,
    image: Image,
    prediction: Prediction,
    result: str,
    version: str = "",
    software: str = "unversioned",
) -> Answer:
    """Return a prediction as exports see it.

    Args:
        result: kind of the label image that is stored, see `lib.segmentation.answer.label_image`.
    """
    label = label_image(prediction, result, image.over_time)
    return _answer(
        image,
        prediction,
        task.labels,
        label,
        numbered=result == INSTANCES and prediction.instances is not None,
        separated=prediction.instances is not None,
        model=task.name,
        version=version,
        software=software,
    )


def _answer(
    image: Image,
    prediction: Prediction,
    labels: Mapping[str, int],
    label: np.ndarray,
    **facts: Any,
) -> Answer:
    """Return an answer with its objects and their structures."""
    objects = numbered_objects(prediction, image.over_time)
    names = {value: name for name, value in labels.items()}
    values = values_of_objects(objects, prediction.mask).tolist()
    return Answer(
        image=image,
        objects=objects,
        structures=tuple(names.get(value, "") for value in values),
        labels=dict(labels),
        label=label,
        **facts,
    )
