"""One forward path: any size, whole or in tiles, mirrored or not, from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.targets import distance
from lib.data.transforms import prepare_image
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.networks import build_network
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation import windows
from lib.segmentation.predictor import Predictor
from lib.segmentation.tiles import tile_side
from lib.tasks.image_spec import OutputSpec, TargetSpec
from lib.tasks.registry import TASKS
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint


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
    pixels = nuclei_phantom(0, rows=200, columns=170, nuclei=40)[0]
    image = Image(pixels, Geometry.flat(200, 170), Path("a.png"))
    prepared = prepare_image(image, predictor.task.input)
    whole = predictor.probabilities(prepared)
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 1000)
    monkeypatch.setitem(windows.TILE, 2, 128)
    monkeypatch.setitem(windows.TILE_OVERLAP, 2, 0.5)
    tiled = predictor.probabilities(prepared)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.05
    assert ((tiled >= 0.5) == (whole >= 0.5)).mean() > 0.95


def _predictor(task: TaskSpec, **network) -> Predictor:
    """Return a predictor with random weights of the task's network, changed as said."""
    task = replace(task, network=replace(task.network, **network))
    torch.manual_seed(0)
    return Predictor(task, build_network(task.network).eval(), "cpu", "fp32")


POINTWISE = {"channels": (4,), "convolutions": (1,), "kernel_size": 1}


@pytest.mark.parametrize("shape", [(90, 70), (30, 26, 11), (5, 40, 40)])
def test_tiles_of_a_pointwise_network_equal_the_whole_exactly(monkeypatch, shape):
    axes = len(shape)
    predictor = _predictor(TASKS["nuclei_vhllrhe"], spatial_dims=axes, **POINTWISE)
    prepared = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    whole = predictor.probabilities(prepared)
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[2:]))
    monkeypatch.setitem(windows.WHOLE_PIXELS, axes, 1000)
    monkeypatch.setitem(windows.TILE, axes, 16)
    np.testing.assert_allclose(predictor.probabilities(prepared), whole, atol=1e-5)
    assert len(seen) > 1
    assert len(set(seen)) == 1  # all of one size
    assert all(side <= min(16, size) for side, size in zip(seen[0], shape, strict=True))


def test_tiles_of_a_volume_give_nearly_the_answer_of_the_whole(monkeypatch, volume_task):
    predictor = _predictor(volume_task)
    z, y, x = np.mgrid[:20, :44, :40]
    prepared = (0.5 + 0.5 * np.sin(y / 9) * np.cos(x / 7 + z / 5))[np.newaxis].astype(np.float32)
    whole = predictor.probabilities(prepared)
    monkeypatch.setitem(windows.WHOLE_PIXELS, 3, 1000)
    monkeypatch.setitem(windows.TILE, 3, 32)
    monkeypatch.setitem(windows.TILE_OVERLAP, 3, 0.5)
    tiled = predictor.probabilities(prepared)
    assert tiled.shape == whole.shape == (1, 20, 44, 40)
    assert np.abs(tiled - whole).mean() < 0.02


UNPADDED = {"padding": "valid", "topology": "unet", "kernel_size": 3}
SHALLOW = {**UNPADDED, "channels": (3, 6), "convolutions": (2, 1)}


@pytest.mark.parametrize("size", [(20, 33), (8, 8), (41, 64), (9, 10, 17)])
def test_a_network_without_padding_answers_for_the_mirrored_image_around_the_image(size):
    task = TASKS["nuclei_unet2015"]
    predictor = _predictor(task, spatial_dims=len(size), **SHALLOW)
    spec = predictor.task.network
    prepared = np.random.default_rng(0).random((1, *size), dtype=np.float32)
    found = predictor.probabilities(prepared)
    assert found.shape == (1, *size)
    margins = []
    for side in size:
        wanted = next(n for n in range(side, 200) if (spec.output_size(n) or 0) >= side)
        before = (wanted - spec.output_size(wanted)) // 2
        margins.append((before, wanted - side - before))
    padded = np.pad(prepared, ((0, 0), *margins), mode="reflect")
    with torch.inference_mode():
        direct = torch.sigmoid(predictor.network(torch.from_numpy(padded)[None]))[0].numpy()
    direct = direct[(slice(None), *(slice(0, side) for side in size))]
    np.testing.assert_allclose(found, direct, atol=1e-6)


def test_tiles_without_padding_join_into_the_answer_of_the_whole(monkeypatch):
    predictor = _predictor(TASKS["nuclei_unet2015"], **SHALLOW)
    y, x = np.mgrid[:90, :70]
    prepared = (0.5 + 0.5 * np.sin(y / 9) * np.cos(x / 7))[np.newaxis].astype(np.float32)
    whole = predictor.probabilities(prepared)
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 1000)
    monkeypatch.setitem(windows.TILE, 2, 48)
    tiled = predictor.probabilities(prepared)
    assert tiled.shape == (1, 90, 70)
    assert np.abs(tiled - whole).mean() < 0.02


@pytest.mark.parametrize("size", [(8, 8), (33, 47)])
def test_the_depth_of_unet_2015_serves_images_far_smaller_than_its_margin(size, light):
    predictor = _predictor(light(TASKS["nuclei_unet2015"]))
    answer = predictor(_image(*size), flips=True)
    assert answer.probabilities.shape == (1, *size)
    assert answer.mask.shape == answer.instances.shape == size
    assert np.isfinite(answer.probabilities).all()


def _volume(*shape: int) -> Image:
    voxels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    return Image(voxels, Geometry.flat(*shape), Path("a.nrrd"))


@pytest.mark.parametrize("flips", [False, True])
def test_the_answer_has_the_volumes_size(volume_task, flips):
    predictor = _predictor(volume_task)
    calls: list[int] = []
    predictor.network.register_forward_pre_hook(lambda *_: calls.append(1))
    answer = predictor(_volume(9, 21, 14), flips=flips)
    assert answer.probabilities.shape == (1, 9, 21, 14)
    assert answer.mask.shape == (9, 21, 14)
    assert answer.instances is None
    assert len(calls) == (8 if flips else 1)


def test_averaging_a_volume_over_its_mirrored_copies_is_symmetric(volume_task):
    predictor = _predictor(volume_task)
    prepared = np.random.default_rng(0).random((1, 8, 16, 12), dtype=np.float32)
    mean = predictor.probabilities(prepared, flips=True)
    for axis in (1, 2, 3):
        mirrored = np.ascontiguousarray(np.flip(prepared, axis))
        again = np.flip(predictor.probabilities(mirrored, flips=True), axis)
        np.testing.assert_allclose(again, mean, atol=1e-5)


class _Echo(torch.nn.Module):
    """Answers with foreground above 0.05 and, as the second map, with the image itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((200 * (x - 0.05), torch.logit(x, 1e-4)), dim=1)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_maps_of_an_answer_separate_objects(dims):
    row = TASKS["nuclei_vhllrhe"]
    task = replace(
        row,
        network=replace(row.network, spatial_dims=dims, out_channels=2),
        target=TargetSpec(maps=("foreground", "distance", "border_weight")),
        output=OutputSpec(instances=True, separation="distance", depth=0.1),
        input=replace(row.input, dark_background=False, percentiles=(0, 100)),
    )
    truth = np.zeros((10, 30, 44)[-dims:], np.int32)
    truth[..., 5:25, 4:22], truth[..., 8:22, 22:38] = 1, 2
    depth = distance(truth, task.target)
    image = Image(depth, Geometry.flat(*depth.shape), Path("a.nrrd"))
    answer = Predictor(task, _Echo(), "cpu", "fp32")(image)
    assert answer.probabilities.shape == (2, *truth.shape)
    np.testing.assert_allclose(answer.probabilities[1], depth, atol=1e-3)
    np.testing.assert_array_equal(answer.mask > 0, truth > 0)
    np.testing.assert_array_equal(answer.instances > 0, truth > 0)
    assert answer.instances.max() == 2


def test_eroded_borders_grow_back_in_mask_and_instances():
    row = TASKS["nuclei_vhllrhe"]
    task = replace(
        row,
        network=replace(row.network, out_channels=2),
        target=TargetSpec(maps=("foreground", "border"), gap=1),
        output=OutputSpec(instances=True, separation="components", gap=1),
    )
    pixels = np.zeros((40, 60), np.uint8)
    pixels[10:30, 10:29] = pixels[10:30, 31:50] = 200
    image = Image(pixels, Geometry.flat(40, 60), Path("a.png"))
    predictor = Predictor(task, _Echo(), "cpu", "fp32")
    answer = predictor(image)
    assert answer.instances.max() == 2
    assert answer.mask[15, 10:50].all()
    np.testing.assert_array_equal(answer.mask > 0, answer.instances > 0)
    alone = predictor(image, instances=False)
    assert alone.instances is None
    np.testing.assert_array_equal(alone.mask, answer.mask)


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


def test_an_image_of_one_pixel_at_the_coarsest_level_is_answered_with_instance_normalisation():
    task = TASKS["nuclei"]
    network = replace(task.network, channels=(2, 4, 8, 16, 32))
    predictor = Predictor(replace(task, network=network), build_network(network), "cpu", "fp32")
    found = predictor.probabilities(np.random.default_rng(0).random((3, 8, 9), np.float32))
    assert found.shape == (3, 8, 9)
    assert np.isfinite(found).all()
    assert (network.input_size(8), network.output_size(16), network.output_size(32)) == (
        *(32, None, 32),
    )


LAYOUTS = pytest.mark.parametrize(
    ("longest", "overlap", "divisor"),
    [(128, 16, 8), (1024, 128, 16), (128, 16, 1), (96, 24, 16), (64, 1, 4), (32, 8, 2)],
)


@LAYOUTS
def test_tiles_of_a_side_cover_all_share_enough_and_are_no_larger_than_allowed(
    longest, overlap, divisor
):
    for size in range(8, 6 * longest, 7):
        side = tile_side(size, longest, overlap, divisor)
        if size <= longest:
            assert side == size, "one tile"
            continue
        assert overlap < side <= longest
        assert side % divisor == 0
        fewest = -((overlap - size) // (longest - overlap))
        reached = side + (fewest - 1) * (side - overlap)
        assert reached >= size, "as many as the longest allowed would do"
        smaller = side - divisor
        assert smaller + (fewest - 1) * (smaller - overlap) < size, "and they are no larger"


@pytest.mark.parametrize(("longest", "shared"), [(128, 16), (48, 6)])
def test_the_tiles_that_are_run_are_as_few_as_planned(monkeypatch, longest, shared):
    """MONAI takes the overlap as a share of the side; rounding must not cost another tile."""
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 1)
    monkeypatch.setitem(windows.TILE, 2, longest)
    monkeypatch.setitem(windows.TILE_OVERLAP, 2, shared / longest)
    predictor = _predictor(TASKS["nuclei_vhllrhe"], **POINTWISE)  # takes tiles of any side
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2:]))
    for size in range(longest + 1, 5 * longest, 3):
        seen.clear()
        predictor.probabilities(np.zeros((1, 1, size), np.float32))
        assert set(seen) == {(1, tile_side(size, longest, shared))}
        assert len(seen) == -((shared - size) // (longest - shared)), size


def test_a_large_volume_is_run_in_equal_tiles_of_the_planned_side(monkeypatch, volume_task):
    predictor = _predictor(volume_task)
    monkeypatch.setitem(windows.WHOLE_PIXELS, 3, 1000)
    monkeypatch.setitem(windows.TILE, 3, 32)
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2:]))
    predictor.probabilities(np.zeros((1, 16, 40, 70), np.float32))
    sides = tuple(tile_side(size, 32, 4, 4) for size in (16, 40, 70))
    assert sides == (16, 24, 28)
    assert set(seen) == {sides}
    assert len(seen) == 1 * 2 * 3


@pytest.mark.parametrize(("depth", "copies"), [(True, {2: 4, 3: 8}), (False, {2: 2, 3: 4})])
@pytest.mark.parametrize("dims", [2, 3])
def test_mirrored_copies_are_those_that_were_trained_on(dims, depth, copies):
    row = TASKS["nuclei_vhllrhe"]
    row = replace(row, augment=replace(row.augment, flip_depth=depth))
    predictor = _predictor(row, spatial_dims=dims, **POINTWISE)
    seen: list[np.ndarray] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy()[0]))
    prepared = np.random.default_rng(0).random((1, *(4, 16, 16)[-dims:]), dtype=np.float32)
    predictor.probabilities(prepared, flips=True)
    assert len(seen) == copies[dims]
    if not depth:
        for copy in seen:
            assert copy[..., 0, :].sum() == pytest.approx(prepared[..., 0, :].sum(), rel=1e-5)


def test_a_task_without_presence_and_structures_answers_0_and_its_one_label(predictor):
    answer = predictor(_image(48, 48, 3))
    assert answer.presence is None
    assert set(np.unique(answer.mask)) == {0, 1}
    row = replace(predictor.task, labels={"nucleus": 5})
    other = Predictor(row, predictor.network, "cpu", "fp32")(_image(48, 48, 3))
    np.testing.assert_array_equal(other.mask, 5 * answer.mask)
