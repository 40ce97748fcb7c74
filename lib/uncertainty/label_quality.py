"""How far a model doubts accepted labels, so that people look again at the few that are wrong.

The quality of a label is the probability that the model gives to it: its self-confidence
(Northcutt, Jiang and Chuang 2021, "Confident learning", JAIR 70, section 3). A missing nucleus is a
few pixels among many right ones, so masks are rated object by object: the objects of the label and
those that the model answers. The worst objects decide, by the softmin of Lad and Mueller 2023,
"Estimating label quality and errors in semantic segmentation data via any model", section 3 (and of
Tkachenko, Thyagarajan and Mueller 2023, "ObjectLab", who rate overlooked and badly drawn boxes one
by one).

A model doubts labels less if it was trained on them: a wrong label that it has learned is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import ndimage
from skimage import measure

from lib.data.ignore import labelled_objects, split_ignored
from lib.data.targets import as_instances
from lib.tasks.spec import TaskSpec

TEMPERATURE = 0.1  # of the softmin, as in Lad and Mueller 2023
DOUBTED = 0.5  # objects of lower quality are reported: the opposite is likelier
REPORTED = 8  # most doubted objects of an image

Source = Literal["drawn", "seen"]  # by the label, by the model


@dataclass(frozen=True)
class DoubtedObject:
    """An object where the model doubts the label.

    Attributes:
        source: ``drawn`` for an object of the label; ``seen`` for one that the model answers where
            the label has something else, most often nothing.
        quality: mean probability of the label over the object's pixels, 0..1.
        box: first pixel and the one after the last, along each axis.
    """

    source: Source
    quality: float
    box: tuple[tuple[int, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"kind": self.source, "quality": round(self.quality, 4), "box": list(self.box)}


@dataclass(frozen=True)
class MaskQuality:
    """How far the model agrees with one label image.

    Attributes:
        quality: 0..1, near that of the worst object.
        objects: number of objects that were rated, of the label and of the model.
        doubted: the worst first, at most `REPORTED`.
    """

    quality: float
    objects: int
    doubted: tuple[DoubtedObject, ...]


@dataclass(frozen=True)
class ClassQuality:
    """How far the model agrees with the class of one exam.

    Attributes:
        quality: probability of the labelled class, 0..1.
        suggested: another class, if the model is as sure of it as it is of exams with that label;
            else None.
    """

    quality: float
    suggested: int | None


def softmin(values: np.ndarray) -> float:
    """Return the mean of `values` (at least one), weighted towards the lowest."""
    weights = np.exp((values.min() - values) / TEMPERATURE)
    return float((values * weights).sum() / weights.sum())


def label_probabilities(task: TaskSpec, probabilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the probability of the label at each pixel, float `(*spatial)` in 0..1.

    Args:
        probabilities: `(maps, *spatial)`, as `lib.segmentation.predictor.Prediction` has them.
        label: `(*spatial)` integers, 0 is background.
    """
    answered = dict(zip(task.target.answered, probabilities, strict=True))
    agreement = np.where(label > 0, answered["foreground"], 1 - answered["foreground"])
    for name, value in task.target.structures.items():
        agreement = np.where(label == value, answered[name], agreement)
    return agreement


def mask_quality(
    task: TaskSpec, probabilities: np.ndarray, answer: np.ndarray, label: np.ndarray
) -> MaskQuality:
    """Rate a label image by a model's answer on the same image.

    Where neither has an object, the quality is the mean probability of background. What the label
    ignores is left out.

    Args:
        probabilities: `(maps, *spatial)`, 0..1.
        answer: `(*spatial)` integers, the model's objects or mask; 0 is background.
        label: `(*spatial)` integers, the label's objects or mask.
    """
    label, labelled = split_ignored(label)
    agreement = label_probabilities(task, probabilities, label)
    objects = [
        *_objects("drawn", _numbered(task, label), agreement),
        *_objects("seen", labelled_objects(_numbered(task, answer), labelled), agreement),
    ]
    if not objects:
        return MaskQuality(float(agreement[labelled].mean()), 0, ())
    objects.sort(key=lambda one: one.quality)
    doubted = [one for one in objects if one.quality < DOUBTED]
    values = np.array([one.quality for one in objects])
    return MaskQuality(softmin(values), len(objects), tuple(doubted[:REPORTED]))


def _numbered(task: TaskSpec, mask: np.ndarray) -> np.ndarray:
    """Return the objects numbered from 1; without instances, they are connected components."""
    if task.output.instances:
        return as_instances(mask)
    return measure.label(mask, connectivity=1)


def _objects(source: Source, numbered: np.ndarray, agreement: np.ndarray) -> list[DoubtedObject]:
    boxes = ndimage.find_objects(numbered)
    numbers = [number for number, box in enumerate(boxes, start=1) if box is not None]
    if not numbers:
        return []
    means = ndimage.mean(agreement, numbered, numbers)
    return [
        DoubtedObject(
            source, float(mean), tuple((side.start, side.stop) for side in boxes[number - 1])
        )
        for number, mean in zip(numbers, means, strict=True)
    ]


def class_qualities(labels: Sequence[int], probabilities: np.ndarray) -> list[ClassQuality]:
    """Rate the labelled classes of exams by a model's answers on them.

    Another class is suggested by the rule of confident learning: if its probability is at least
    the mean that exams with that label get. So a class that gets low probabilities everywhere is
    suggested too.

    Args:
        labels: the class of each exam.
        probabilities: `(exams, classes)`, each row summing to 1.
    """
    classes = np.asarray(labels)
    usual = np.full(probabilities.shape[1], np.inf)
    for index in np.unique(classes):
        usual[index] = probabilities[classes == index, index].mean()
    found = []
    for index, answer in zip(classes, probabilities, strict=True):
        sure = np.where(answer >= usual, answer, -1.0)
        likeliest = int(sure.argmax())
        other = sure[likeliest] >= 0 and likeliest != index
        found.append(ClassQuality(float(answer[index]), likeliest if other else None))
    return found
