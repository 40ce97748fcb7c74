"""How far the readers of a studies folder agree, two by two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from lib.data.studies import Item, list_items
from lib.data.versions import LabelVersion, labels_of_readers
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import image_geometry
from lib.kinds import kind_of
from lib.mammography.agreement import compare_densities, scale_of
from lib.mammography.density_labels import read_density, read_scale
from lib.mammography.exams import ids_of, unlabelled_exams
from lib.mammography.readers import exam_labels_of_readers
from lib.segmentation.agreement import compare_masks
from lib.segmentation.readers import read_label_of_reader
from lib.tasks.spec import TaskSpec

Pair = tuple[str, str]  # names of readers, sorted


def agreement(
    masks: Path,
    densities: Path,
    task: TaskSpec | None = None,
    image: str | None = None,
    hidden: Container[str] = (),
) -> dict[str, Any]:
    """Return how far readers agree: ``masks`` of images and ``densities`` of exams.

    Args:
        masks, densities: studies folders with label images, and with densities of exams.
        task: names the structures, and which of the two there is; None compares both.
        image: id of the only image to compare; None for all.
        hidden: ids of exams that are left out.

    Raises:
        InputError: no such folder, or no image in it.
    """
    for folder in {masks, densities}:
        if not folder.is_dir():
            raise InputError(f"studies folder '{folder}' does not exist; give a folder of images")
    by_exam = task is not None and kind_of(task).by_exam
    found: dict[str, Any] = {}
    if not by_exam:
        found["masks"] = mask_agreement(masks, task, image)
    if by_exam or task is None:
        found["densities"] = density_agreement(densities, image, hidden)
    return found


def mask_agreement(
    studies: Path, task: TaskSpec | None = None, image: str | None = None
) -> dict[str, Any]:
    """Return how far the newest label images of readers agree, by image, by pair and overall.

    Args:
        task: whose structures are compared; None compares values.
        image: id of the only image to compare; None for all.
    """
    rows: list[dict[str, Any]] = []
    for item in list_items(studies):
        if item.label and image in (None, item.id):
            rows += _compared(item, _masks(studies, item), task)
    done = [row for row in rows if "error" not in row]
    by_pair: dict[Pair, list[dict[str, Any]]] = defaultdict(list)
    for row in done:
        by_pair[tuple(row["readers"])].append(row)
    return {
        "images": rows,
        "pairs": [{"readers": list(pair), **_means(same)} for pair, same in by_pair.items()],
        "all": _means(done),
    }


def _masks(studies: Path, item: Item) -> dict[str, LabelVersion]:
    assert item.label is not None
    labels = labels_of_readers(studies, item.id, item.label)
    return {name: one for name, one in labels.items() if one.file and one.file.suffix != ".json"}


def _compared(
    item: Item, versions: Mapping[str, LabelVersion], task: TaskSpec | None
) -> list[dict[str, Any]]:
    """Return a row for each pair of readers of an image; ``error`` where one cannot be read.

    A label of other structures than the task's is such.
    """
    rows: list[dict[str, Any]] = []
    if len(versions) < 2:
        return rows
    grid = image_geometry(item.image)
    labels: dict[str, np.ndarray | str] = {}
    for name, one in versions.items():
        assert one.file is not None
        try:
            labels[name] = (
                read_label_of_reader(item, one, task) if task else read_label(one.file, grid)
            )
        except InputError as error:
            labels[name] = str(error)
    for pair in combinations(labels, 2):
        first, second = (labels[name] for name in pair)
        row: dict[str, Any] = {"image": item.id, "readers": list(pair)}
        if isinstance(first, str) or isinstance(second, str):
            row["error"] = "; ".join(text for text in (first, second) if isinstance(text, str))
        else:
            row |= compare_masks(first, second, dict(task.labels) if task else None)
        rows.append(row)
    return rows


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each figure of compared images, with the number that have it."""
    dice: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row["dice"].items():
            dice[name].append(value)
    return {
        "dice": {name: _mean(values) for name, values in dice.items()},
        "kappa": _mean([row["kappa"] for row in rows if row["kappa"] is not None]),
    }


def _mean(values: Sequence[float]) -> dict[str, Any]:
    return {"mean": fmean(values) if values else None, "n": len(values)}


def density_agreement(
    studies: Path, image: str | None = None, hidden: Container[str] = ()
) -> dict[str, Any]:
    """Return how far the newest densities of readers agree, by exam and by pair of readers.

    Args:
        image: id of a view of the only exam to compare, or of the exam; None for all.
        hidden: ids of exams that are left out.
    """
    rows: list[dict[str, Any]] = []
    pairs: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    exams = [
        exam
        for exam in unlabelled_exams(studies)
        if image in (None, *ids_of(exam)) and exam.id not in hidden
    ]
    for exam_id, labels in exam_labels_of_readers(studies, exams).items():
        given, failed = _densities(labels)
        if len(labels) < 2:
            continue
        rows.append({"exam": exam_id, "densities": {name: one for name, (one, _) in given.items()}})
        if failed:
            rows[-1]["error"] = "; ".join(failed.values())
        for one, other in combinations(given, 2):
            (first, scale), (second, its_scale) = given[one], given[other]
            if scale == its_scale:
                pairs[one, other, scale].append((first, second))
    return {
        "exams": rows,
        "pairs": [
            {"readers": [one, other], **compare_densities(found, scale)}
            for (one, other, scale), found in sorted(pairs.items())
        ],
    }


def _densities(
    labels: Mapping[str, LabelVersion],
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Return density and name of its scale by reader, and why a label has none, by reader."""
    given: dict[str, tuple[str, str]] = {}
    failed: dict[str, str] = {}
    for name, label in labels.items():
        assert label.file is not None
        try:
            density = read_density(label.file)
            given[name] = density, scale_of(density, read_scale(label.file))
        except InputError as error:
            failed[name] = str(error)
    return given, failed
