"""How good scribbles and clicks without training are: simulated annotators on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from lib.data.ignore import split_ignored
from lib.data.studies import Item
from lib.errors import InputError
from lib.image import Image
from lib.interactive.clicks import Clicks
from lib.interactive.scribbles import segment_clicks, segment_scribbles
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.segmentation.instances import depth_inside
from lib.segmentation.metrics import dice

STROKE = 0.4  # share of an object's middle line that a short stroke covers
PIECE = 16  # side of the squares that cut a background line into pieces, pixels
MARKINGS = {
    "full": "the middle line of every object, and a line around",
    "strokes": "a short stroke in every object, and half of the line around in pieces",
    "click": "one click in one object, at random within its middle",
    "before": "an answer that lacks half of an object and has a false part beside it",
    "corrected": "a stroke through each of both",
}


def evaluate_scribbles(
    items: Sequence[Item],
    seed: int,
    most: int,
    on_item: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Return the Dice of simulated scribbles, clicks and corrections, see `MARKINGS`.

    Args:
        items: labelled 2D images; those with an empty label are skipped.
        seed: of the choice of images and of the simulated marks.
        most: most images measured, drawn at random.

    Returns:
        ``images``, their number; for each of `MARKINGS` the ``median``, ``mean`` and
        ``tenth_percentile`` of the Dice; ``improved``, the share of images whose Dice the
        correction raised.

    Raises:
        InputError: an unreadable file, or every label is empty.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    for index in rng.permutation(len(items)):
        if len(rows) == most:
            break
        item = items[index]
        image = read_image(item.image, channel=item.channel)
        file = item.label or item.image
        label, labelled = split_ignored(read_label(file, image), file.name)
        if label.any():
            rows.append(_scores(image, label, labelled, rng))
            if on_item is not None:
                on_item()
    if not rows:
        raise InputError(f"all of {len(items)} labels are empty; expected some with a structure")
    better = [row["corrected"] > row["before"] for row in rows]
    return {
        "images": len(rows),
        **{kind: _spread([row[kind] for row in rows]) for kind in MARKINGS},
        "improved": round(float(np.mean(better)), 4),
    }


def _scores(
    image: Image, label: np.ndarray, labelled: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    truth = label > 0
    objects = label if label.max() > 1 and len(np.unique(label)) > 2 else ndimage.label(truth)[0]
    lines, around = middle_lines(truth, objects), line_around(truth) & labelled
    strokes, pieces = short_strokes(lines, objects, rng), in_pieces(around, rng)
    number = int(rng.choice(np.unique(objects[truth])))
    chosen = objects == number
    present, missing, false = damaged(truth, chosen, rng)
    cut = false & middle_lines(false) & labelled
    fixed = segment_scribbles(image, missing & middle_lines(missing), cut, present)
    return {
        "full": dice(segment_scribbles(image, lines, around), truth, labelled),
        "strokes": dice(segment_scribbles(image, strokes, pieces), truth, labelled),
        "click": _clicked(image, chosen, labelled, rng),
        "before": dice(present, truth, labelled),
        "corrected": dice(fixed, truth, labelled),
    }


def _clicked(
    image: Image, chosen: np.ndarray, labelled: np.ndarray, rng: np.random.Generator
) -> float:
    depth = depth_inside(chosen)
    middle = np.argwhere(depth >= 0.6 * depth.max())
    try:
        answer = segment_clicks(image, Clicks(rng.choice(middle)[np.newaxis]))
        return dice(answer, chosen, labelled)
    except InputError:  # nothing stands out
        return 0.0


def middle_lines(truth: np.ndarray, objects: np.ndarray | None = None) -> np.ndarray:
    """Return a line along the middle of each object; for very thin objects their deepest pixels."""
    objects = ndimage.label(truth)[0] if objects is None else objects
    lines = np.zeros(truth.shape, bool)
    for number, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is None:
            continue
        mask = objects[box] == number
        depth = depth_inside(mask)
        line = skeletonize(depth > 2)
        lines[box] |= line if line.any() else mask & (depth == depth.max())
    return lines


def line_around(truth: np.ndarray) -> np.ndarray:
    """Return a line around the objects: 4 pixels and a third of their typical half width away."""
    width = 4 + float(np.median(depth_inside(truth)[middle_lines(truth)])) / 3
    away = ndimage.distance_transform_edt(~truth)
    return skeletonize((away > 0.5 * width) & (away <= 1.5 * width))


def short_strokes(lines: np.ndarray, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the `STROKE` share of each object's line that is nearest to a random point of it."""
    strokes = np.zeros(lines.shape, bool)
    points = np.argwhere(lines)
    numbers = objects[lines]
    for number in np.unique(numbers):
        line = points[numbers == number]
        squared_distance = ((line - rng.choice(line)) ** 2).sum(axis=1)
        kept = line[np.argsort(squared_distance)[: max(1, round(STROKE * len(line)))]]
        strokes[tuple(kept.T)] = True
    return strokes


def in_pieces(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return about half of a line: its pixels in random squares; all of it if none are there."""
    squares = rng.random([-(-side // PIECE) for side in line.shape]) < 0.5
    chosen = np.kron(squares, np.ones((PIECE, PIECE), bool))[: line.shape[0], : line.shape[1]]
    return line & chosen if (line & chosen).any() else line


def damaged(
    truth: np.ndarray, chosen: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a wrong answer, the pixels that it lacks of an object, and those that are false.

    The answer lacks the half of the object on one side of a random line through the middle. On the
    other side a false disc of half the object's size lies across the outline.
    """
    pixels = np.argwhere(chosen)
    middle, angle = pixels.mean(axis=0), rng.uniform(0, 2 * np.pi)
    rows, columns = np.ogrid[tuple(map(slice, truth.shape))]
    ahead = np.sin(angle) * (rows - middle[0]) + np.cos(angle) * (columns - middle[1])
    missing = chosen & (ahead > 0)
    centre = pixels[np.argmin(ahead[tuple(pixels.T)])]
    radius = max(2.0, 0.5 * np.sqrt(len(pixels) / np.pi))
    false = (np.hypot(rows - centre[0], columns - centre[1]) <= radius) & ~truth
    return truth & ~missing | false, missing, false


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 4),
        "mean": round(float(np.mean(values)), 4),
        "tenth_percentile": round(float(np.percentile(values, 10)), 4),
    }
