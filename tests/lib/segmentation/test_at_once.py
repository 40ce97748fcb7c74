"""On a GPU several tiles or slices are answered in one batch, each as it would be alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.networks import build_network
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation import at_once, predictor, windows
from lib.segmentation.at_once import MOST, images_at_once
from lib.segmentation.large import LargeAnswer
from lib.segmentation.predictor import FRAMES, Predictor
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30


@pytest.fixture
def together(monkeypatch):
    """Return a function that says how many images are answered at once, and keeps the shapes."""
    asked: list[tuple[int, ...]] = []

    def say(count):
        def told(shape, spec, device):
            asked.append(tuple(shape))
            return count

        monkeypatch.setattr(predictor, "images_at_once", told)
        return asked

    return say


def _predictor(name="nuclei_vhllrhe", **network):
    task = TASKS[name]
    small = {"channels": (4, 8, 12), "convolutions": (1, 1, 2), **network}
    task = replace(task, network=replace(task.network, **small))
    torch.manual_seed(0)
    found = Predictor(task, build_network(task.network).eval(), "cpu", "fp32")
    batches: list[int] = []
    found.network.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    return found, batches


@pytest.mark.parametrize("shape", [(90, 70), (30, 26, 18)])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_tiles_of_a_batch_are_answered_as_each_alone(together, monkeypatch, shape, count):
    axes = len(shape)
    monkeypatch.setitem(windows.WHOLE_PIXELS, axes, 1000)
    monkeypatch.setitem(windows.TILE, axes, 16)
    found, batches = _predictor(spatial_dims=axes)
    image = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    alone = found.probabilities(image)
    tiles = len(batches)
    assert tiles > 4 and set(batches) == {1}
    batches.clear()
    asked = together(count)
    np.testing.assert_allclose(found.probabilities(image), alone, atol=1e-5)
    assert sum(batches) == tiles
    assert batches[:-1] == [min(count, tiles)] * (len(batches) - 1)
    assert all(max(tile) <= 16 for tile in asked)


def test_tiles_of_several_slices_share_the_batch(together, monkeypatch):
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 1000)
    monkeypatch.setitem(windows.TILE, 2, 32)
    found, batches = _predictor()
    volume = np.random.default_rng(0).random((1, 9, 50, 40), dtype=np.float32)
    alone = found.probabilities(volume)
    batches.clear()
    together(8)
    np.testing.assert_allclose(found.probabilities(volume), alone, atol=1e-5)
    assert max(batches) == 8, "eight slices, of each one tile"


def test_more_slices_than_on_a_cpu_are_answered_at_once(together):
    found, batches = _predictor()
    volume = np.random.default_rng(0).random((1, 20, 24, 24), dtype=np.float32)
    alone = found.probabilities(volume)
    assert max(batches) == FRAMES
    batches.clear()
    together(16)
    np.testing.assert_allclose(found.probabilities(volume), alone, atol=1e-5)
    assert batches == [16, 4]


def test_the_tiles_of_a_row_of_a_large_image_are_answered_together(together, monkeypatch, weights):
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 64 * 64)
    monkeypatch.setitem(windows.TILE, 2, 64)
    found = Predictor.from_checkpoint(
        TASKS["nuclei_vhllrhe"], load_checkpoint(weights), "cpu", "fp32"
    )
    batches: list[int] = []
    found.network.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    pixels = nuclei_phantom(0, rows=230, columns=210, nuclei=40)[0]

    class Rows:
        shape, colour = pixels.shape, False

        def read(self, start, stop):
            return pixels[start:stop]

    alone = np.concatenate(list(LargeAnswer(found, Rows()).bands()))
    assert set(batches) == {1}
    batches.clear()
    together(3)
    np.testing.assert_array_equal(np.concatenate(list(LargeAnswer(found, Rows()).bands())), alone)
    assert alone.max() > 5
    assert max(batches) == 3


def test_tiles_that_do_not_fit_together_are_answered_one_by_one(together, monkeypatch):
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 1000)
    monkeypatch.setitem(windows.TILE, 2, 32)
    found, _ = _predictor()
    image = np.random.default_rng(0).random((1, 90, 70), dtype=np.float32)
    alone = found.probabilities(image)

    def refuse(module, given):
        if len(given[0]) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    found.network.register_forward_pre_hook(refuse)
    together(4)
    np.testing.assert_array_equal(found.probabilities(image), alone)


def test_a_cpu_answers_one_and_a_gpu_what_a_quarter_of_its_free_memory_holds(monkeypatch):
    spec = TASKS["nuclei_vhllrhe"].encoder_decoder
    assert images_at_once((64, 64), spec, CPU) == 1
    free = [0, 0, 0]  # of the device; then what torch keeps, and has in use
    monkeypatch.setattr(at_once.torch.cuda, "mem_get_info", lambda device: (free[0], 141 * GIB))
    monkeypatch.setattr(at_once.torch.cuda, "memory_reserved", lambda device: free[1])
    monkeypatch.setattr(at_once.torch.cuda, "memory_allocated", lambda device: free[2])
    assert images_at_once((1024, 1024), spec, CUDA) == 1, "one is always tried"
    free[0] = 8 * GIB
    few = images_at_once((1024, 1024), spec, CUDA)
    assert 1 < few < MOST
    free[:] = [4 * GIB, 6 * GIB, 2 * GIB]
    assert images_at_once((1024, 1024), spec, CUDA) == few, "what torch keeps for itself is free"
    wide = replace(spec, channels=(64, *spec.channels[1:]))
    assert images_at_once((1024, 1024), wide, CUDA) < few
    free[0] = 120 * GIB
    assert images_at_once((1024, 1024), spec, CUDA) == MOST
