"""How far a model doubts accepted labels, so that people look again at the few that are wrong.

A label is doubted where the model gives what it says a low probability: its self-confidence
(Northcutt, Jiang and Chuang 2021, "Confident learning", JAIR 70, section 3). Of masks that is taken
object by object, those of the label and those that the model sees, as a missing nucleus is a few
pixels among many that are right; the worst objects decide, through the softmin of Lad and Mueller
2023, "Estimating label quality and errors in semantic segmentation data via any model", section 3
(and of Tkachenko, Thyagarajan and Mueller 2023, "ObjectLab", who rate overlooked and badly drawn
boxes one by one).

A model doubts less what it was trained on: a label that it learned by heart is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from lib.data.targets import as_instances
from lib.tasks.spec import TaskSpec

TEMPERATURE = 0.1  # of the softmin, as Lad and Mueller 2023 have it
DOUBTED = 0.5  # quality below which an object is told: the model rather believes the opposite
TOLD = 8  # doubted objects of an image, at most


@dataclass(frozen=True)
class DoubtedObject:
    """An object that the model doubts.

    Attributes:
        kind: ``drawn`` where the label has it; ``seen`` where the model has it, and the label has
            something else there, most often nothing.
        quality: mean probability of what the label says over its pixels, 0..1.
        box: first pixel and the one behind the last, along each axis.
    """

    kind: Literal["drawn", "seen"]
    quality: float
    box: tuple[tuple[int, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"kind": self.kind, "quality": round(self.quality, 4), "box": list(self.box)}


@dataclass(frozen=True)
class MaskQuality:
    """How far the model agrees with one label image.

    Attributes:
        quality: 0..1, near that of the worst object.
        objects: how many were looked at, those of the label and those that the model sees.
        doubted: the worst first, at most `TOLD`.
    """

    quality: float
    objects: int
    doubted: tuple[DoubtedObject, ...]


@dataclass(frozen=True)
class ClassQuality:
    """How far the model agrees with the class of one exam.

    Attributes:
        quality: probability of the given class, 0..1.
        suggested: the class that the model is as sure of as of exams that have it, where that is
            another than the given one; else None.
    """

    quality: float
    suggested: int | None


def softmin(values: np.ndarray) -> float:
    """Return the mean of `values` (at least one), weighted towards the least."""
    weights = np.exp((values.min() - values) / TEMPERATURE)
    return float((values * weights).sum() / weights.sum())


def given_probabilities(task: TaskSpec, probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the probability, float `(*spatial)` in 0..1, of what a label says at each pixel.

    Args:
        probabilities: `(maps, *spatial)`, as `lib.segmentation.predictor.Prediction` has them.
        label: `(*spatial)` integers, 0 is background.
    """
    answered = dict(zip(task.target.answered, probabilities, strict=True))
    given = np.where(label > 0, answered["foreground"], 1 - answered["foreground"])
    for name, value in task.target.structures.items():
        given = np.where(label == value, answered[name], given)
    return given


def mask_quality(
    task: TaskSpec, probabilities: np.ndarray, seen: np.ndarray, label: np.ndarray
) -> MaskQuality:
    """Rate a label image by what a model answers on its image.

    Where neither has an object, the label is as good as the model is sure of the background.

    Args:
        probabilities: `(maps, *spatial)`, 0..1.
        seen: `(*spatial)` integers, the objects or the mask that the model answers, 0 background.
        label: `(*spatial)` integers, the objects or the mask of the label.
    """
    given = given_probabilities(task, probabilities, label)
    objects = [
        *_objects("drawn", _numbered(task, label), given),
        *_objects("seen", _numbered(task, seen), given),
    ]
    if not objects:
        return MaskQuality(float(given.mean()), 0, ())
    objects.sort(key=lambda one: one.quality)
    doubted = [one for one in objects if one.quality < DOUBTED]
    values = np.array([one.quality for one in objects])
    return MaskQuality(softmin(values), len(objects), tuple(doubted[:TOLD]))


def _numbered(task: TaskSpec, mask: np.ndarray) -> np.ndarray:
    """Number the objects: of nuclei as they are, of structures what is connected of each."""
    if task.output.instances:
        return as_instances(mask)
    numbered, count = np.zeros(mask.shape, dtype=np.int32), 0
    for value in np.unique(mask[mask > 0]):
        parts, found = ndimage.label(mask == value)
        numbered[parts > 0] = parts[parts > 0] + count
        count += found
    return numbered


def _objects(
    kind: Literal["drawn", "seen"], numbered: np.ndarray, given: np.ndarray
) -> list[DoubtedObject]:
    boxes = ndimage.find_objects(numbered)
    numbers = [place + 1 for place, box in enumerate(boxes) if box is not None]
    if not numbers:
        return []
    means = ndimage.mean(given, numbered, numbers)
    return [
        DoubtedObject(
            kind, float(mean), tuple((part.start, part.stop) for part in boxes[number - 1])
        )
        for number, mean in zip(numbers, means, strict=True)
    ]


def class_qualities(given: Sequence[int], probabilities: np.ndarray) -> list[ClassQuality]:
    """Rate the classes of exams by what a model answers on them.

    A class is suggested by confident learning's rule: its probability is at least the mean that
    exams labelled with it get, so that a model that is shy of a class is not held against it.

    Args:
        given: the class of each exam.
        probabilities: `(exams, classes)`, each row summing to 1.
    """
    classes = np.asarray(given)
    usual = np.full(probabilities.shape[1], np.inf)
    for place in np.unique(classes):
        usual[place] = probabilities[classes == place, place].mean()
    found = []
    for place, answer in zip(classes, probabilities, strict=True):
        sure = np.where(answer >= usual, answer, -1.0)
        likeliest = int(sure.argmax())
        other = sure[likeliest] >= 0 and likeliest != place
        found.append(ClassQuality(float(answer[place]), likeliest if other else None))
    return found
