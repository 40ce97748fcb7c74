"""Objects of sizes that a network was not trained on: the image is resampled to those it knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.grid import MAGNIFIED, magnification, network_grid
from lib.data.studies import list_items
from lib.data.targets import typical_diameter
from lib.data.transforms import prepare_image
from lib.data.write_item import write_item
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation.large import LargeAnswer
from lib.segmentation.metrics import average_precision, matched_counts
from lib.segmentation.predictor import Predictor
from lib.segmentation.training import SEGMENTATION_CASES
from lib.tasks.image_spec import InputSpec
from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.config import SHIPPED_MODELS

SIZES = InputSpec(object_sizes=(8.0, 32.0))  # their geometric mean is 16


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("a.png"), colour=pixels.ndim == 3)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    checkpoint = load_checkpoint(SHIPPED_MODELS / "pretrained_nuclei.pt")
    return Predictor.from_checkpoint(get_task("nuclei"), checkpoint, "cpu", "fp32")


@pytest.fixture(scope="module")
def large() -> tuple[Image, np.ndarray]:
    """Return a phantom that is magnified six times, and its label."""
    pixels, label = nuclei_phantom(3, rows=96, columns=112, nuclei=14)
    bigger = PillowImage.fromarray(pixels).resize((672, 576), PillowImage.Resampling.BICUBIC)
    return _image(np.asarray(bigger)), label.repeat(6, 0).repeat(6, 1)


def _precision(predictor: Predictor, image: Image, label: np.ndarray) -> float:
    found = predictor(image).instances
    assert found is not None and found.shape == image.shape
    return float(average_precision(matched_counts(found, label))["ap50"])


def test_the_diameter_is_that_of_the_objects_that_hold_half_of_the_foreground():
    objects = np.zeros((40, 40), np.int32)
    objects[0:2, 0:2], objects[10:20, 10:20], objects[30:40, 0:9] = 3, 7, 8
    objects[0, 10:30:2] = range(10, 20)  # specks
    assert typical_diameter(objects) == pytest.approx(2 * (90 / np.pi) ** 0.5)
    objects[20, 20:31] = 7
    assert typical_diameter(objects) == pytest.approx(2 * (111 / np.pi) ** 0.5)
    assert typical_diameter(np.repeat(objects, 60, 0)) == pytest.approx(2 * (6660 / np.pi) ** 0.5)
    assert typical_diameter(objects * 1_000_000) == typical_diameter(objects)
    assert typical_diameter(np.zeros((4, 4), np.uint8)) == 0


@pytest.mark.parametrize(
    ("diameter", "factor"), [(0, 1), (8, 1), (32, 1), (64, 0.25), (4, 4), (40, 0.4), (1, MAGNIFIED)]
)
def test_only_sizes_beyond_the_known_ones_are_brought_to_their_middle(diameter, factor):
    assert magnification(diameter, SIZES) == pytest.approx(factor)
    assert magnification(diameter, InputSpec()) == 1


@pytest.mark.parametrize(
    ("spec", "diameter", "shape"),
    [
        (SIZES, 40, (40, 80)),
        (SIZES, 4, (400, 800)),
        (replace(SIZES, max_pixels=200 * 100 * 4), 4, (200, 400)),
        (replace(SIZES, min_side=60), 64, (60, 120)),
    ],
)
def test_the_grid_keeps_to_the_pixel_limit_and_the_smallest_side(spec, diameter, shape):
    image = _image(np.zeros((100, 200), np.uint8))
    grid = network_grid(image, spec, diameter)
    assert grid.shape == shape
    assert prepare_image(image, spec, diameter).shape[1:] == shape
    assert grid.undo(np.zeros((2, *shape), np.float32)).shape == (2, 100, 200)


def test_large_nuclei_are_found_one_by_one(predictor, large):
    image, label = large
    task = predictor.task
    assert typical_diameter(label) > 1.5 * task.input.object_sizes[1]
    assert predictor(image).magnification < 0.5
    as_it_is = replace(task, input=replace(task.input, object_sizes=()))
    checkpoint = load_checkpoint(SHIPPED_MODELS / "pretrained_nuclei.pt")
    without = Predictor.from_checkpoint(as_it_is, checkpoint, "cpu", "fp32")
    fitted, before = (_precision(one, image, label) for one in (predictor, without))
    assert fitted > 0.8
    assert fitted > before + 0.2


def test_nuclei_of_known_sizes_are_answered_once(predictor):
    pixels, _ = nuclei_phantom(4, rows=96, columns=112, nuclei=10)
    image = _image(pixels)
    assert predictor(image).magnification == 1
    assert predictor(image, instances=False).instances is None


def test_where_nothing_is_found_after_resampling_the_first_answer_stays(predictor, monkeypatch):
    pixels, _ = nuclei_phantom(4, rows=96, columns=112, nuclei=10)
    image = _image(pixels)
    wanted = predictor(image)
    seen = Predictor._seen

    def nothing(self, image, instances, flips, diameter=0.0):
        answer = seen(self, image, instances, flips, diameter)
        return replace(answer, instances=answer.instances * 0) if diameter else answer

    monkeypatch.setattr(Predictor, "_seen", nothing)
    monkeypatch.setattr("lib.data.grid.magnification", lambda diameter, _: 0.5 if diameter else 1)
    found = predictor(image)
    assert np.array_equal(found.instances, wanted.instances)
    assert found.magnification == 1


def _seen(monkeypatch) -> list[float]:
    """Return what gets the diameter of each image that a network sees; none may be estimated."""
    diameters, seen = [], Predictor._seen

    def noted(self, image, instances, flips, diameter=0.0):
        diameters.append(diameter)
        return seen(self, image, instances, flips, diameter)

    def estimated(objects):
        raise AssertionError("the size was estimated")

    monkeypatch.setattr(Predictor, "_seen", noted)
    monkeypatch.setattr("lib.segmentation.predictor.typical_diameter", estimated)
    return diameters


def test_an_image_whose_size_is_told_is_resampled_for_it_and_answered_once(
    predictor, large, monkeypatch
):
    image, label = large
    estimated, diameter, seen = predictor(image), typical_diameter(label), _seen(monkeypatch)
    told = predictor(image, diameter=diameter)
    assert seen == [diameter]
    assert told.magnification == pytest.approx(1 / MAGNIFIED)
    assert told.instances.shape == image.shape
    assert float(average_precision(matched_counts(told.instances, label))["ap50"]) > 0.8
    known = predictor(image, diameter=20)  # told wrongly: it is believed
    assert known.magnification == 1 and seen == [diameter, 20]
    assert int(known.instances.max()) != int(estimated.instances.max())
    assert predictor(image, instances=False, diameter=diameter).instances is None


def test_a_predictor_may_be_told_the_size_of_all_images(predictor, large, monkeypatch):
    image, label = large
    checkpoint = load_checkpoint(SHIPPED_MODELS / "pretrained_nuclei.pt")
    of_all = Predictor.from_checkpoint(predictor.task, checkpoint, "cpu", "fp32", diameter=120.0)
    estimated, seen = predictor(image), _seen(monkeypatch)
    assert of_all(image).magnification == pytest.approx(0.25)
    assert of_all(image, diameter=66).magnification == pytest.approx(600**0.5 / 66, rel=0.01)
    assert seen == [120, 66]
    monkeypatch.undo()
    assert np.array_equal(of_all(image, diameter=0).instances, estimated.instances)


@pytest.mark.parametrize("diameter", [float("nan"), -5, 673, "wide"])
def test_a_diameter_that_no_object_of_the_image_has_is_refused(predictor, large, diameter):
    with pytest.raises(InputError, match="diameter"):
        predictor(large[0], diameter=diameter)
    with pytest.raises(InputError, match="resamples no images for it"):
        row = replace(predictor.task, input=replace(predictor.task.input, object_sizes=()))
        Predictor(row, predictor.network, "cpu", "fp32", diameter=66)(large[0])


def test_a_predictor_that_was_told_a_size_answers_no_image_by_rows(predictor, monkeypatch):
    image = _image(np.zeros((64, 64), np.uint8))
    LargeAnswer(predictor, image)
    monkeypatch.setattr(predictor, "diameter", 66.0)
    with pytest.raises(InputError, match="diameter 66: an image that is read by rows"):
        LargeAnswer(predictor, image)


def test_training_sees_images_on_the_grid_of_serving(tmp_path, large):
    image, label = large
    PillowImage.fromarray(image.pixels).save(tmp_path / "a.png")
    write_item(tmp_path / "studies", "a", tmp_path / "a.png", label)
    task = get_task("nuclei")
    (item,) = list_items(tmp_path / "studies", labelled=True)
    seen, target = SEGMENTATION_CASES.load(item, task)
    grid = network_grid(image, task.input, typical_diameter(label))
    assert seen.shape[1:] == target.shape[1:] == grid.shape != image.shape
    np.testing.assert_array_equal(target[0] > 0, grid.apply_label(label) > 0)
