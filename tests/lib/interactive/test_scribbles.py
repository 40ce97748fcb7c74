"""Scribbles, clicks and corrections that need no training."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive.clicks import Clicks
from lib.interactive.scribbles import segment_clicks, segment_scribbles


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    away = sum((places - at) ** 2 for places, at in zip(np.indices(shape), centre, strict=True))
    return away <= radius**2


def shown(mask: np.ndarray, contrast: float = 60, over_time: bool = False, seed: int = 0) -> Image:
    """Return a noisy picture of `mask`, brighter inside."""
    rng = np.random.default_rng(seed)
    pixels = (rng.normal(80, 8, mask.shape) + contrast * mask).clip(0, 255).astype(np.uint8)
    return Image(pixels, Geometry.flat(*mask.shape), Path("x.nrrd"), over_time=over_time)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def marked(shape: tuple[int, ...], *places: tuple[slice | int, ...]) -> np.ndarray:
    marks = np.zeros(shape, bool)
    for place in places:
        marks[place] = True
    return marks


def clicks(
    positive: list[tuple[int, ...]], negative: list[tuple[int, ...]] | None = None
) -> Clicks:
    dims = len(positive[0]) if positive else len(negative or [(0, 0)])
    return Clicks(
        np.array(positive, int).reshape(-1, dims), np.array(negative or [], int).reshape(-1, dims)
    )


SHAPE = (96, 120)
DISC = ball(SHAPE, (48, 60), 20)
TWO = ball(SHAPE, (48, 40), 16) | ball(SHAPE, (48, 69), 16)  # they touch
STROKE = marked(SHAPE, (48, slice(54, 66)))
AROUND = marked(SHAPE, (16, slice(20, 100)), (80, slice(20, 100)))
NOTHING = np.zeros(SHAPE, bool)


def test_scribbles_inside_and_outside_find_the_disc() -> None:
    mask = segment_scribbles(shown(DISC), STROKE, AROUND)
    assert mask.dtype == bool and mask.shape == SHAPE
    assert dice(mask, DISC) > 0.95
    assert mask[STROKE].all() and not mask[AROUND].any()


def test_a_foreground_scribble_alone_finds_the_disc() -> None:
    assert dice(segment_scribbles(shown(DISC), STROKE, NOTHING), DISC) > 0.95


def test_scribbles_without_any_of_the_structure_say_what_to_draw() -> None:
    for image in (shown(DISC), shown(np.stack([DISC] * 3), over_time=True)):
        nothing = np.zeros(image.shape, bool)
        with pytest.raises(InputError, match="foreground scribble"):
            segment_scribbles(image, nothing, ~nothing)


def test_a_box_alone_finds_the_disc_and_nothing_beyond() -> None:
    both = DISC | ball(SHAPE, (48, 104), 12)
    box = (slice(22, 75), slice(34, 87))
    mask = segment_scribbles(shown(both), NOTHING, NOTHING, box=box)
    assert dice(mask, DISC) > 0.95
    assert dice(segment_clicks(shown(both), clicks([(48, 60)]), box), DISC) > 0.95
    assert not segment_scribbles(shown(both), STROKE, NOTHING, both, box)[:, 90:].any()


def test_a_structure_cut_by_the_edge_of_the_image_reaches_it() -> None:
    half = ball(SHAPE, (0, 60), 24)
    mask = segment_scribbles(shown(half), marked(SHAPE, (4, slice(54, 66))), NOTHING)
    assert dice(mask, half) > 0.95
    assert mask[0, 50:70].all()


def test_a_missing_part_is_added_where_it_is_scribbled_and_the_rest_stays() -> None:
    present = DISC.copy()
    present[:, 60:] = False
    far = ball(SHAPE, (10, 10), 4)  # nothing in the image, but an annotator drew it
    mask = segment_scribbles(
        shown(DISC), marked(SHAPE, (slice(42, 54), 70)), NOTHING, present | far
    )
    assert dice(mask & ~far, DISC) > 0.93
    assert mask[ball(SHAPE, (10, 10), 1)].all()


def test_a_spill_is_cut_where_it_is_scribbled_as_background() -> None:
    spill = marked(SHAPE, (slice(40, 56), slice(75, 110)))
    present = DISC | spill
    wrong = marked(SHAPE, (48, slice(88, 108)))
    mask = segment_scribbles(shown(DISC), NOTHING, wrong, present)
    assert dice(mask, DISC) > dice(present, DISC) + 0.05
    assert dice(mask, DISC) > 0.93


def test_a_whole_false_object_goes_with_one_stroke() -> None:
    false = ball(SHAPE, (20, 100), 8)
    mask = segment_scribbles(
        shown(DISC), NOTHING, marked(SHAPE, (20, slice(97, 104))), DISC | false
    )
    assert not mask[false].any()
    assert dice(mask, DISC) > 0.97


def test_an_answer_stays_exactly_as_it_is_away_from_scribbles() -> None:
    present = ball(SHAPE, (48, 61), 18) | ball(SHAPE, (12, 100), 5)
    assert (segment_scribbles(shown(DISC), NOTHING, NOTHING, present) == present).all()
    mask = segment_scribbles(shown(DISC), NOTHING, marked(SHAPE, (12, slice(98, 103))), present)
    assert (mask == present & ~ball(SHAPE, (12, 100), 5)).all()


def test_loops_are_answered_frame_by_frame() -> None:
    frames = np.stack([DISC, DISC, DISC])
    positive, present = np.zeros(frames.shape, bool), np.zeros(frames.shape, bool)
    positive[1] = STROKE
    present[2] = ball(SHAPE, (48, 60), 5)
    mask = segment_scribbles(
        shown(frames, over_time=True), positive, np.zeros(frames.shape, bool), present
    )
    assert not mask[0].any()
    assert dice(mask[1], DISC) > 0.95
    assert (mask[2] == present[2]).all()


def test_a_stroke_in_one_slice_finds_the_whole_ball() -> None:
    shape = (32, 48, 48)
    solid = ball(shape, (16, 24, 24), 10)
    mask = segment_scribbles(
        shown(solid), marked(shape, (16, 24, slice(20, 28))), np.zeros(shape, bool)
    )
    assert dice(mask, solid) > 0.93


def test_large_images_are_flooded_on_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.interactive.scribbles.LARGEST", 1500)
    mask = segment_scribbles(shown(DISC), STROKE, AROUND)
    assert dice(mask, DISC) > 0.9
    assert mask[STROKE].all() and not mask[AROUND].any()


def test_one_click_finds_each_disc_at_its_own_size() -> None:
    small = ball(SHAPE, (20, 20), 7)
    image = shown(DISC | small)
    assert dice(segment_clicks(image, clicks([(50, 55)])), DISC) > 0.93
    assert dice(segment_clicks(image, clicks([(20, 21)])), small) > 0.9
    assert dice(segment_clicks(image, clicks([(50, 55), (20, 21)])), DISC | small) > 0.93


def test_a_negative_click_keeps_a_touching_neighbour_out() -> None:
    one = ball(SHAPE, (48, 40), 16)
    before = segment_clicks(shown(TWO), clicks([(48, 38)]))
    after = segment_clicks(shown(TWO), clicks([(48, 38)], [(48, 72)]))
    assert dice(after, one) > 0.9
    assert dice(after, one) >= dice(before, one)
    assert not after[48, 72]


def test_a_click_in_colour_finds_what_differs_in_hue_only() -> None:
    pixels = np.full((*SHAPE, 3), 120, np.uint8)
    pixels[DISC] = (160, 80, 120)
    image = Image(pixels, Geometry.flat(*SHAPE), Path("x.png"), colour=True)
    assert dice(segment_clicks(image, clicks([(48, 60)])), DISC) > 0.95


def test_a_click_in_a_loop_answers_in_its_frame_only() -> None:
    mask = segment_clicks(shown(np.stack([DISC] * 3), over_time=True), clicks([(1, 48, 60)]))
    assert dice(mask[1], DISC) > 0.93
    assert not mask[[0, 2]].any()


def test_a_click_finds_a_ball_in_a_volume_of_thick_slices() -> None:
    shape = (12, 48, 48)
    places = np.indices(shape)
    solid = ((places[0] - 6) * 3.0) ** 2 + (places[1] - 24) ** 2 + (places[2] - 24) ** 2 <= 11**2
    image = shown(solid)
    thick = Geometry(image.geometry.size, (1, 1, 3), (0, 0, 0), image.geometry.direction)
    image = Image(image.pixels, thick, image.path)
    assert dice(segment_clicks(image, clicks([(6, 23, 25)])), solid) > 0.85


def test_clicks_without_a_positive_one_say_what_to_add() -> None:
    for points in (Clicks(), clicks([], [(3, 3)])):
        with pytest.raises(InputError, match="no positive click"):
            segment_clicks(shown(DISC), points)


@pytest.mark.parametrize("shape", [(40, 40), (1, 1), (1, 30), (1, 8, 8), (9, 8, 7)])
def test_an_even_image_needs_background_scribbles(shape: tuple[int, ...]) -> None:
    image = Image(np.full(shape, 7, np.uint8), Geometry.flat(*shape), Path("x.nrrd"))
    middle = tuple(side // 2 for side in shape)
    positive, nothing = marked(shape, middle), np.zeros(shape, bool)
    with pytest.raises(InputError, match=r"nothing stands out.*\d"):
        segment_clicks(image, clicks([middle]))
    with pytest.raises(InputError, match=r"nothing stands out.*\d"):
        segment_scribbles(image, positive, nothing)
    if not positive.all():
        assert (segment_scribbles(image, positive, ~positive) == positive).all()


@pytest.mark.parametrize(("shape", "seconds"), [((512, 512), 0.5), ((128, 128, 128), 5.0)])
def test_scribbles_answer_within_their_time(shape: tuple[int, ...], seconds: float) -> None:
    middle, side = tuple(side // 2 for side in shape), shape[0]
    mask = ball(shape, middle, 0.3 * side)
    stroke, around = ball(shape, middle, 0.06 * side), ~ball(shape, middle, 0.42 * side)
    image = shown(mask)
    start = time.process_time()
    found = segment_scribbles(image, stroke, around)
    spent = time.process_time() - start
    assert dice(found, mask) > 0.95
    assert spent < 3 * seconds  # of a busy machine; docs/results has what an idle one takes
