"""How many clicks an answer needs: simulated users on images with known labels.

Two users. One corrects the foreground: click after click where the answer is most wrong (see
`lib.interactive.clicks`), until the Dice is reached; the number of clicks is the figure NoC@90 of
the literature (Xu et al. 2016, section 4). The other corrects objects that the answer without
clicks did not find: on each alone, until it is matched at an intersection over union above 0.5.
Such an object was missed (less than half of it is in any answered one), merged (more than half of
another one lies in the answered object that it lies in), or its outline is otherwise wrong: cut in
two, or much too large or small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from lib.data.studies import Item
from lib.data.targets import as_instances
from lib.interactive.clicks import FOUND, Clicks, inner_click, next_click
from lib.interactive.predictor import ClickedImage, ClickPredictor
from lib.io.masks import read_label
from lib.io.read import read_image
from lib.segmentation.metrics import dice, object_overlaps
from lib.statistics import RESAMPLES, interval

TARGET = 0.9
MOST = 20  # clicks on an image
MOST_ON_OBJECT = 5
OBJECTS = 25  # that are tried of one image, at most
KINDS = ("missed", "merged", "outline")


@dataclass(frozen=True)
class Rounds:
    """One image's answers.

    Attributes:
        dice: of the foreground after none, one, two ... clicks; of an image without any
            foreground 1 or 0.
        present: whether the truth has any foreground.
        objects: of each object that was not found without clicks: one of `KINDS`, the clicks until
            it was found (one more than tried where it was not), its Dice after the first, and
            whether a single click off its middle (`lib.interactive.clicks.inner_click`) finds it.
    """

    id: str
    dice: list[float]
    present: bool
    objects: list[dict[str, Any]]

    def clicks_to(self, target: float) -> int:
        """Return the clicks until the Dice is at least `target`; one more than tried if never."""
        return next((n for n, value in enumerate(self.dice) if value >= target), len(self.dice))


def click_on_image(predictor: ClickPredictor, item: Item, most: int = MOST) -> Rounds:
    """Simulate the users on one labelled image."""
    task = predictor.task
    image = read_image(item.image, task.input.max_pixels, task.image_dims)
    assert item.label is not None, item.id
    label = read_label(item.label, image.shape)
    shown = predictor.look_at(image)
    truth, clicks, values = label > 0, Clicks(), list[float]()
    for _ in range(most + 1):
        mask = shown(clicks, instances=False).mask > 0
        values.append(dice(mask, truth))
        click = next_click(mask[np.newaxis].astype(np.float32), truth[np.newaxis])
        if click is None:
            values += values[-1:] * (most + 1 - len(values))
            break
        clicks = clicks.with_one(*click)
    objects = _objects(shown, as_instances(label)) if task.output.instances else []
    return Rounds(item.id, values, bool(truth.any()), objects)


def _objects(shown: ClickedImage, truth: np.ndarray) -> list[dict[str, Any]]:
    """Click on the objects that the answer without clicks did not find, each by itself."""
    automatic = shown(Clicks()).instances
    assert automatic is not None
    numbers, _, overlaps = object_overlaps(automatic, truth)
    found = []
    for number in numbers[overlaps.max(axis=1, initial=0) <= FOUND][:OBJECTS]:
        own = truth == number
        depth = ndimage.distance_transform_edt(np.pad(own, 1))[(slice(1, -1),) * own.ndim]
        off = Clicks().with_one(inner_click(depth, np.random.default_rng(int(number))), True)
        found.append(
            {
                "kind": _kind(automatic, truth, own),
                **_on_object(shown, own),
                "found_off_middle": _overlap(shown(off).instances, own)[1] > FOUND,
            }
        )
    return found


def _kind(automatic: np.ndarray, truth: np.ndarray, own: np.ndarray) -> str:
    """Tell what is wrong of an object that was not found."""
    inside = np.bincount(automatic[own])
    if inside[0] >= 0.5 * inside.sum():
        return "missed"
    inside[0] = 0
    others, shared = np.unique(truth[(automatic == inside.argmax()) & ~own], return_counts=True)
    for number, count in zip(others.tolist(), shared.tolist(), strict=True):
        if number and count > 0.5 * np.count_nonzero(truth == number):
            return "merged"
    return "outline"


def _on_object(shown: ClickedImage, own: np.ndarray) -> dict[str, Any]:
    """Click on one object until it is found: first on its middle, then on what is wrong of it."""
    clicks, first = Clicks(), 0.0
    answer = np.zeros(own.shape, dtype=bool)
    for count in range(1, MOST_ON_OBJECT + 1):
        click = next_click(answer[np.newaxis].astype(np.float32), own[np.newaxis])
        if click is None:
            break
        clicks = clicks.with_one(*click)
        instances = shown(clicks).instances
        assert instances is not None
        best, overlap = _overlap(instances, own)
        answer = (instances == best) if best else np.zeros_like(answer)
        first = first or dice(answer, own)
        if overlap > FOUND:
            return {"clicks": count, "dice_first": round(first, 4)}
    return {"clicks": MOST_ON_OBJECT + 1, "dice_first": round(first, 4)}


def _overlap(objects: np.ndarray | None, own: np.ndarray) -> tuple[int, float]:
    """Return the object with the greatest intersection over union with `own`, and that."""
    assert objects is not None
    _, numbers, overlaps = object_overlaps(objects, own.astype(np.int32))
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

    Returns:
        ``mean_dice`` after none, one, two ... clicks over all images, and its ``largest_fall``
        from one to the next; ``clicks_to_90`` over the images with foreground: median, mean, their
        bootstrap intervals over images, and the share that reached it; of tasks that separate
        objects, the same of each of `KINDS`; one row per image.
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
        for kind in KINDS:
            by_image = [[o for o in row.objects if o["kind"] == kind] for row in rows]
            spread = _spread([[o["clicks"] for o in own] for own in by_image], MOST_ON_OBJECT, rng)
            spread["dice_after_first"] = _median([o["dice_first"] for own in by_image for o in own])
            off = [o["found_off_middle"] for own in by_image for o in own]
            spread["found_off_middle"] = round(float(np.mean(off)), 4) if off else None
            report[kind] = spread
    report["rows"] = [
        {"id": row.id, "dice": [round(v, 4) for v in row.dice], "objects": row.objects}
        for row in rows
    ]
    return report


def _spread(counts: Sequence[Sequence[int]], most: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return median and mean clicks, their intervals over images, and the share that did it."""
    flat = np.array([n for own in counts for n in own], dtype=float)
    if not len(flat):
        return {"count": 0}
    filled = [np.array(own, dtype=float) for own in counts if len(own)]
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


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None
