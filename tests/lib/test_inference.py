"""One forward path: any size, whole or in tiles, mirrored or not, from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import inference
from lib.checkpoints import load_checkpoint
from lib.datasets.phantoms import nuclei_phantom
from lib.errors import InputError
from lib.images import Geometry, Image
from lib.inference import Predictor
from lib.networks import build_network
from lib.tasks import TASKS
from lib.transforms import prepare_image


def _image(rows: int, columns: int, seed: int = 0) -> Image:
    pixels = nuclei_phantom(seed, rows=rows, columns=columns, nuclei=6)[0]
    return Image(pixels, Geometry.flat(rows, columns), Path("a.png"))


@pytest.fixture(scope="module")
def predictor(weights) -> Predictor:
    task = TASKS["nuclei_vhllrhe"]
    return Predictor.from_checkpoint(task, load_checkpoint(weights), "cpu", "fp32")


@pytest.mark.parametrize("size", [(33, 47), (8, 8), (9, 100), (64, 64), (65, 16)])
@pytest.mark.parametrize("flips", [False, True])
def test_the_answer_has_the_images_size(predictor, size, flips):
    answer = predictor(_image(*size), flips=flips)
    assert answer.probabilities.shape == (1, *size)
    assert answer.probabilities.dtype == np.float32
    assert 0 <= answer.probabilities.min() <= answer.probabilities.max() <= 1
    assert answer.mask.shape == answer.instances.shape == size
    assert answer.mask.dtype == np.uint8
    assert answer.instances.dtype == np.int32
    np.testing.assert_array_equal(answer.instances > 0, answer.mask > 0)
    assert set(answer.seconds) == {"pre", "infer", "post"}


def test_nuclei_are_found(predictor):
    image, label = nuclei_phantom(3, rows=64, columns=64, nuclei=6)
    found = predictor(Image(image, Geometry.flat(64, 64), Path("a.png"))).mask > 0
    overlap = (found & (label > 0)).sum() / (found | (label > 0)).sum()
    assert overlap > 0.5


def test_tiles_give_the_answer_of_the_whole_image(predictor, monkeypatch):
    prepared = np.random.default_rng(0).random((1, 200, 170), dtype=np.float32)
    y, x = np.mgrid[:200, :170]
    prepared[0] = 0.5 + 0.5 * np.sin(y / 9) * np.cos(x / 11)  # smooth
    whole = predictor.probabilities(prepared)
    monkeypatch.setattr(inference, "WHOLE_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(inference, "TILE", 128)
    monkeypatch.setattr(inference, "TILE_OVERLAP", 0.5)
    tiled = predictor.probabilities(prepared)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.05
    assert ((tiled >= 0.5) == (whole >= 0.5)).mean() > 0.95


def test_tiles_of_a_pointwise_network_equal_the_whole_exactly(monkeypatch):
    task = TASKS["nuclei_vhllrhe"]
    task = replace(task, network=replace(task.network, channels=(4,), convolutions=(1,)))
    task = replace(task, network=replace(task.network, kernel_size=1))
    torch.manual_seed(0)
    predictor = Predictor(task, build_network(task.network).eval(), "cpu", "fp32")
    prepared = np.random.default_rng(0).random((1, 90, 70), dtype=np.float32)
    whole = predictor.probabilities(prepared)
    monkeypatch.setattr(inference, "WHOLE_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(inference, "TILE", 32)
    np.testing.assert_allclose(predictor.probabilities(prepared), whole, atol=1e-5)


def test_averaging_over_mirrored_copies_changes_little_and_is_symmetric(predictor):
    prepared = prepare_image(_image(64, 48), predictor.task.input)
    plain = predictor.probabilities(prepared, flips=False)
    mean = predictor.probabilities(prepared, flips=True)
    assert 0 < np.abs(mean - plain).mean() < 0.1
    for axis in (1, 2):
        mirrored = np.ascontiguousarray(np.flip(prepared, axis))
        again = np.flip(predictor.probabilities(mirrored, flips=True), axis)
        np.testing.assert_allclose(again, mean, atol=1e-5)


def test_four_threads_get_the_answers_of_one(predictor):
    images = [_image(40 + seed, 48, seed) for seed in range(8)]
    alone = [predictor(image).probabilities for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: predictor(image).probabilities, images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_constant_image_has_an_answer(predictor):
    pixels = np.full((40, 40), 77, np.uint8)
    answer = predictor(Image(pixels, Geometry.flat(40, 40), Path("a.png")))
    assert np.isfinite(answer.probabilities).all()
    assert answer.probabilities.shape == (1, 40, 40)


@pytest.mark.parametrize("convert", [lambda p: p.astype(np.uint16) * 257, lambda p: p / 255])
def test_the_answer_does_not_depend_on_the_number_format_of_the_file(predictor, convert):
    image = _image(48, 48)
    twin = replace(image, pixels=convert(image.pixels))
    np.testing.assert_allclose(
        predictor(twin).probabilities, predictor(image).probabilities, atol=1e-3
    )


def test_bfloat16_is_close_to_float32(predictor, weights):
    low = Predictor.from_checkpoint(predictor.task, load_checkpoint(weights), "cpu", "bf16")
    image = _image(64, 64)
    difference = np.abs(low(image).probabilities - predictor(image).probabilities)
    assert difference.mean() < 0.02


def test_instances_are_left_out_where_not_wanted_or_not_possible(predictor):
    assert predictor(_image(32, 32), instances=False).instances is None
    task = replace(predictor.task, output=replace(predictor.task.output, instances=False))
    other = Predictor(task, predictor.network, "cpu", "fp32")
    assert other(_image(32, 32)).instances is None


def test_an_image_that_is_too_small_is_refused(predictor):
    pixels = np.zeros((7, 64), np.uint8)
    with pytest.raises(InputError, match=r"tiny\.png: 64 x 7 pixels, expected at least 8"):
        predictor(Image(pixels, Geometry.flat(7, 64), Path("tiny.png")))


def test_a_network_in_training_stays_in_training(predictor):
    network = build_network(predictor.task.network).train()
    Predictor(predictor.task, network, "cpu", "fp32").probabilities(np.zeros((1, 16, 16), "f4"))
    assert network.training
