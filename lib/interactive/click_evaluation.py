"""How many clicks an answer needs: simulated users on images with known labels.

There are two users. The first corrects the foreground, click after click, where the answer is most
wrong (see `lib.interactive.simulated_user`), until a target Dice is reached. The number of clicks
is called NoC@90 in the literature (Xu et al. 2016, section 4).

The second corrects the objects that the answer without clicks did not find. It clicks on each alone
until an answered object has an intersection over union above 0.5 with it. Such an object was

* ``missed``: at least half of it is background in the answer;
* ``merged``: the answered object in which most of it lies holds more than half of another one too;
* ``outline``: anything else, so it was cut in two, or answered much too large or too small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.data.ignore import UNKNOWN, labelled_objects, split_ignored
from lib.data.labels import read_item_label
from lib.data.studies import Item, read_item
from lib.data.targets import as_instances
from lib.interactive.clicks import Clicks
from lib.interactive.predictor import ClickedImage, ClickPredictor
from lib.interactive.simulated_user import FOUND, inner_click, next_click
from lib.segmentation.instances import depth_inside
from lib.segmentation.metrics import dice, object_overlaps
from lib.statistics import RESAMPLES, interval

TARGET = 0.9
MOST = 20  # most clicks on an image
MOST_ON_OBJECT = 5  # most clicks on an object
OBJECTS = 25  # most objects tried in an image
ERRORS = ("missed", "merged", "outline")


@dataclass(frozen=True)
class Rounds:
    """The answers on one image.

    Attributes:
        dice: Dice of the foreground after none, one, two ... clicks; 1 or 0 for an image without
            foreground.
        present: whether the truth has any foreground.
        objects: for each object that was not found without clicks: "kind", one of `ERRORS`;
            "clicks" until it was found, or one more than tried if it was not; "dice_first", its
            Dice after the first click; "found_off_middle", whether a single click off its middle
            (`lib.interactive.simulated_user.inner_click`) finds it.
    """

    id: str
    dice: list[float]
    present: bool
    objects: list[dict[str, Any]]

    def clicks_to(self, target: float) -> int:
        """Return the clicks until the Dice is at least `target`; if never, one more than tried."""
        return next((n for n, value in enumerate(self.dice) if value >= target), len(self.dice))


def click_on_image(predictor: ClickPredictor, item: Item, most: int = MOST) -> Rounds:
    """Simulate both users on one labelled image, with at most `most` clicks of the first."""
    task = predictor.task
    image = read_item(item, task)
    label, labelled = split_ignored(read_item_label(item, image, task), item.label_name)
    shown = predictor.look_at(image)
    truth, clicks, values = label > 0, Clicks(), list[float]()
    for _ in range(most + 1):
        mask = shown(clicks, instances=False).mask > 0
        values.append(dice(mask, truth, labelled))
        click = _next_click(mask, truth, labelled)
        if click is None:
            values += values[-1:] * (most + 1 - len(values))
            break
        clicks = clicks.with_one(*click)
    objects = _objects(shown, as_instances(label), labelled) if task.output.instances else []
    return Rounds(item.id, values, bool(truth.any()), objects)


def _next_click(
    answer: np.ndarray, truth: np.ndarray, labelled: np.ndarray
) -> tuple[tuple[int, ...], bool] | None:
    target = np.where(labelled, truth, UNKNOWN)
    return next_click(answer[np.newaxis].astype(np.float32), target[np.newaxis])


def _objects(shown: ClickedImage, truth: np.ndarray, labelled: np.ndarray) -> list[dict[str, Any]]:
    """Click on each object that the answer without clicks did not find, alone."""

    def answered(clicks: Clicks) -> np.ndarray:
        instances = shown(clicks).instances
        assert instances is not None
        return labelled_objects(instances, labelled)

    automatic = answered(Clicks())
    numbers, _, overlaps = object_overlaps(automatic, truth)
    rows = []
    for number in numbers[overlaps.max(axis=1, initial=0) <= FOUND][:OBJECTS]:
        mask = truth == number
        rng = np.random.default_rng(int(number))
        off_middle = Clicks().with_one(inner_click(depth_inside(mask), rng), True)
        rows.append(
            {
                "kind": object_error(automatic, truth, mask),
                **_on_object(answered, mask, labelled),
                "found_off_middle": _overlap(answered(off_middle), mask)[1] > FOUND,
            }
        )
    return rows


def object_error(automatic: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> str:
    """Return which of `ERRORS` the answer makes about the true object in `mask`."""
    inside = np.bincount(automatic[mask])
    if inside[0] >= 0.5 * inside.sum():
        return "missed"
    inside[0] = 0
    others, shared = np.unique(truth[(automatic == inside.argmax()) & ~mask], return_counts=True)
    for number, count in zip(others.tolist(), shared.tolist(), strict=True):
        if number and count > 0.5 * np.count_nonzero(truth == number):
            return "merged"
    return "outline"


def _on_object(
    answered: Callable[[Clicks], np.ndarray], mask: np.ndarray, labelled: np.ndarray
) -> dict[str, Any]:
    """Click on the object in `mask` until it is found: on its middle, then where it is wrong."""
    clicks, first = Clicks(), 0.0
    answer = np.zeros(mask.shape, dtype=bool)
    for count in range(1, MOST_ON_OBJECT + 1):
        click = _next_click(answer, mask, labelled)
        if click is None:
            break
        clicks = clicks.with_one(*click)
        instances = answered(clicks)
        best, overlap = _overlap(instances, mask)
        answer = (instances == best) if best else np.zeros_like(answer)
        first = first or dice(answer, mask)
        if overlap > FOUND:
            return {"clicks": count, "dice_first": round(first, 4)}
    return {"clicks": MOST_ON_OBJECT + 1, "dice_first": round(first, 4)}


def _overlap(objects: np.ndarray, mask: np.ndarray) -> tuple[int, float]:
    """Return the object with the greatest intersection over union with `mask`, and that value."""
    _, numbers, overlaps = object_overlaps(objects, mask.astype(np.int32))
    if not overlaps.max(initial=0):
        return 0, 0.0
    best = int(overlaps[0].argmax())
    return int(numbers[best]), float(overlaps[0, best])


def evaluate_clicks(
    predictor: ClickPredictor,
    items: Sequence[Item],
    seed: int = 0,
    most: int = MOST,
    on_item: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Return the figures of simulated clicks on labelled items.

    Args:
        seed: of the bootstrap.
        most: most clicks on an image.

    Returns:
        * ``mean_dice`` over all images after none, one, two ... clicks, and its ``largest_fall``
          from one click to the next.
        * ``clicks_to_90`` over the images with foreground: median and mean, their bootstrap
          intervals over images, and the share of images that reached the target.
        * The same for each of `ERRORS`, over objects, if the task separates objects.
        * ``rows``, one for each image.
    """
    rows = []
    for item in items:
        rows.append(click_on_image(predictor, item, most))
        if on_item:
            on_item()
    rng = np.random.default_rng(seed)
    curve = np.mean([row.dice for row in rows], axis=0)
    needed = [[row.clicks_to(TARGET)] for row in rows if row.present]
    report: dict[str, Any] = {
        "target_dice": TARGET,
        "most_clicks": most,
        "images": len(rows),
        "mean_dice": [round(float(value), 4) for value in curve],
        "largest_fall": round(float(max(0.0, -np.diff(curve).min())), 4),
        "clicks_to_90": _spread(needed, most, rng),
    }
    if predictor.task.output.instances:
        for error in ERRORS:
            by_image = [[o for o in row.objects if o["kind"] == error] for row in rows]
            objects = [o for of_image in by_image for o in of_image]
            counts = [[o["clicks"] for o in of_image] for of_image in by_image]
            first = [o["dice_first"] for o in objects]
            off_middle = [o["found_off_middle"] for o in objects]
            report[error] = {
                **_spread(counts, MOST_ON_OBJECT, rng),
                "dice_after_first": round(float(np.median(first)), 4) if objects else None,
                "found_off_middle": round(float(np.mean(off_middle)), 4) if objects else None,
            }
    report["rows"] = [
        {"id": row.id, "dice": [round(v, 4) for v in row.dice], "objects": row.objects}
        for row in rows
    ]
    return report


def _spread(counts: Sequence[Sequence[int]], most: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return median and mean of the clicks, their intervals, and the share of at most `most`.

    Args:
        counts: of each image, the clicks that its cases needed; images are drawn by the bootstrap.
    """
    flat = np.array([n for of_image in counts for n in of_image], dtype=float)
    if not len(flat):
        return {"count": 0}
    filled = [np.array(of_image, dtype=float) for of_image in counts if len(of_image)]
    drawn = [
        np.concatenate([filled[index] for index in rng.integers(len(filled), size=len(filled))])
        for _ in range(RESAMPLES)
    ]
    return {
        "count": len(flat),
        "median": float(np.median(flat)),
        "median_interval": list(interval([float(np.median(one)) for one in drawn])),
        "mean": round(float(flat.mean()), 3),
        "mean_interval": np.round(interval([one.mean() for one in drawn]), 3).tolist(),
        "reached": round(float((flat <= most).mean()), 4),
    }
