"""Simulated annotators who scribble and click on labelled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from scipy import ndimage

from lib.data.ignore import IGNORE
from lib.data.studies import Item
from lib.errors import InputError
from lib.interactive.scribble_evaluation import (
    MARKINGS,
    damaged,
    evaluate_scribbles,
    in_pieces,
    line_around,
    middle_lines,
    short_strokes,
)
from lib.interactive.scribbles import segment_scribbles

SHAPE = (60, 80)
DISCS = [
    np.hypot(*(np.indices(SHAPE) - np.array(at)[:, None, None])) <= radius
    for at, radius in (((20, 20), 12), ((40, 58), 9), ((10, 60), 1))
]
OBJECTS = sum(number * disc for number, disc in enumerate(DISCS, start=1))
TRUTH = OBJECTS > 0


def test_every_object_gets_a_line_within_and_the_line_around_touches_none() -> None:
    lines, around = middle_lines(TRUTH, OBJECTS), line_around(TRUTH)
    assert set(np.unique(OBJECTS[lines])) == {1, 2, 3}
    assert around.any() and not (around & TRUTH).any()
    # whoever walks from an object to the edge of the image crosses it
    regions, _ = ndimage.label(~around)
    assert regions[20, 20] != regions[59, 0]


def test_strokes_are_parts_of_the_lines_in_every_object() -> None:
    rng = np.random.default_rng(0)
    lines = middle_lines(TRUTH, OBJECTS) | DISCS[0]
    strokes = short_strokes(lines, OBJECTS, rng)
    assert not (strokes & ~lines).any()
    assert set(np.unique(OBJECTS[strokes])) == {1, 2, 3}
    assert (strokes & DISCS[0]).sum() == round(0.4 * DISCS[0].sum())
    around = line_around(TRUTH)
    pieces = in_pieces(around, rng)
    assert 0 < pieces.sum() < around.sum() and not (pieces & ~around).any()


def test_a_damaged_answer_lacks_half_an_object_and_has_a_false_part() -> None:
    present, missing, false = damaged(TRUTH, DISCS[0], np.random.default_rng(3))
    assert 0.35 < missing.sum() / DISCS[0].sum() < 0.65
    assert not (present & missing).any()
    assert false.any() and not (false & TRUTH).any()
    assert (present == (TRUTH & ~missing | false)).all()


def test_the_figures_of_phantoms_are_good_and_the_same_each_time(items: list[Item]) -> None:
    done: list[int] = []
    figures = evaluate_scribbles(items, 0, 3, lambda: done.append(1))
    assert figures["images"] == len(done) == 3
    assert set(MARKINGS) < set(figures)
    assert figures["full"]["median"] > 0.85
    assert figures["strokes"]["median"] > 0.8
    assert figures["corrected"]["median"] > figures["before"]["median"]
    assert figures == evaluate_scribbles(items, 0, 3)


def test_images_without_a_structure_are_passed_over_and_alone_refused(tmp_path: Path) -> None:
    for name, pixels in (("image", 90 * TRUTH), ("empty", 0 * TRUTH)):
        PillowImage.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    empty = Item("a", tmp_path / "image.png", tmp_path / "empty.png")
    with pytest.raises(InputError, match="all of 1 labels are empty"):
        evaluate_scribbles([empty], 0, 5)
    good = Item("b", tmp_path / "image.png", tmp_path / "image.png")
    assert evaluate_scribbles([empty, good], 0, 5)["images"] == 1


def test_no_annotator_scribbles_where_nobody_labelled(tmp_path: Path, monkeypatch) -> None:
    drawn: list[np.ndarray] = []
    module = "lib.interactive.scribble_evaluation"

    def kept(image, positive, negative, present=None):
        drawn.extend((positive, negative))
        return segment_scribbles(image, positive, negative, present)

    monkeypatch.setattr(f"{module}.segment_scribbles", kept)
    label = np.where(np.arange(SHAPE[1]) < 28, OBJECTS, IGNORE)  # beside the first disc
    for name, pixels in (("image", (90 * TRUTH).astype(np.uint8)), ("label", label)):
        PillowImage.fromarray(pixels.astype(np.uint16)).save(tmp_path / f"{name}.png")
    item = Item("a", tmp_path / "image.png", tmp_path / "label.png")
    assert evaluate_scribbles([item], 0, 1)["full"]["median"] > 0.9
    assert len(drawn) == 6 and not any(marks[:, 28:].any() for marks in drawn)
