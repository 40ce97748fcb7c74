"""The ten worst images are drawn, worst first, with the outlines of reference and answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from lib.data.studies import list_items
from lib.image import Geometry, Image
from lib.plots import MAX_BYTES
from lib.segmentation.evaluation import evaluate
from lib.segmentation.failures import (
    ANSWER,
    BOTH,
    REFERENCE,
    WORST,
    draw_failures,
    shown,
    with_outlines,
    worst,
)
from lib.segmentation.predictor import Prediction
from lib.tasks.registry import get_task
from lib.weights.backends import Backend


class _Threshold:
    """Takes what is brighter than the middle for the structure."""

    task = get_task("busi_lesion")
    device, dtype, flips, backend = "cpu", "torch.float32", False, Backend()

    def __call__(self, image: Image, instances: bool = True) -> Prediction:
        likely = image.pixels.astype(np.float32) / 255
        return Prediction(
            probabilities=likely[np.newaxis], mask=(likely > 0.5).astype(np.uint8), presence=1.0
        )


def _write(folder: Path, count: int) -> None:
    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    for number in range(count):
        truth = np.zeros((40, 50), np.uint8)
        truth[5:25, 5:30] = 1
        image = np.full(truth.shape, 40, np.uint8)
        image[5 : 25 - number, 5:30] = 200  # the higher the number, the worse
        PillowImage.fromarray(image).save(folder / f"image_{number:02d}.png")
        PillowImage.fromarray(truth).save(labels / f"image_{number:02d}.png")


def test_the_worst_are_drawn_small_with_the_reliability(tmp_path):
    _write(tmp_path / "studies", 12)
    items = list_items(tmp_path / "studies", labelled=True)
    report = evaluate(_Threshold(), items).as_dict()
    ids = [row["id"] for row in worst(report["images"])]
    assert ids == [f"image_{number:02d}" for number in range(11, 11 - WORST, -1)]
    files = draw_failures(tmp_path / "plots", report, "few_", _Threshold(), items)
    assert [file.name for file in files] == ["few_worst.png", "few_reliability.png"]
    for file in files:
        with PillowImage.open(file) as picture:
            assert min(picture.size) > 100
        assert file.stat().st_size < MAX_BYTES
    three = {**report, "images": report["images"][:3]}
    assert all(f.is_file() for f in draw_failures(tmp_path, three, "", _Threshold(), items))


def test_outlines_of_both_have_their_colours():
    image = Image(np.zeros((20, 30), np.uint8), Geometry.flat(20, 30), Path("a.png"))
    truth, found = np.zeros((2, 20, 30), int)
    truth[5:10, 5:15], found[5:10, 5:20] = 1, 1
    picture, reference, answer = shown(image, truth, found)
    drawn = with_outlines(picture, reference, answer)
    assert tuple(drawn[5, 5]) == BOTH
    assert tuple(drawn[7, 14]) == REFERENCE
    assert tuple(drawn[7, 19]) == ANSWER
    assert not drawn[7, 7].any() and not drawn[15].any()


def test_large_images_are_shown_small_and_volumes_by_the_slice_with_most():
    pixels = np.zeros((3, 600, 300), np.uint8)
    truth = np.zeros(pixels.shape, int)
    truth[1, 100:300, 50:150], truth[2, 100:120, 50:60] = 1, 1
    pixels[1] = np.arange(300) % 256
    volume = Image(pixels, Geometry.flat(*pixels.shape), Path("a.nrrd"))
    picture, reference, answer = shown(volume, truth, truth * 4)
    assert picture.shape == (256, 128, 3) and picture.std() > 10
    assert reference.max() == 1 and answer.max() == 4
    share = np.count_nonzero(reference) / reference.size
    assert abs(share - 200 * 100 / (600 * 300)) < 0.01
