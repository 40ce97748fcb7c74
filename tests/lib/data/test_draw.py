"""Batches drawn on a device hold what was drawn patch by patch before, whatever is drawn beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import reference_drawing
import torch
from scipy import ndimage

from lib.data import draw
from lib.data.case import Batch, Case, HeldCase, Places
from lib.data.draw_plan import plan_patch
from lib.data.ignore import UNKNOWN
from lib.tasks.image_spec import AugmentSpec
from lib.tasks.registry import TASKS
from lib.training.batches import HeldCases, PreparedCases, StepBatches, prefetch

CPU, META = torch.device("cpu"), torch.device("meta")
MAPS = ("foreground", "distance", "presence")
CLOSE = 2e-5  # a two-hundredth of a grey level of 256
TIES = 1e-3  # of a mask: where it is only magnified, interpolated values are 0.5 here and there

STRAIGHT = AugmentSpec(rotate90=True)
ZOOMED = AugmentSpec(rotate90=True, zoom=(0.8, 1.25), gamma=1.4, noise=0.04)
BENT = AugmentSpec(rotate90=True, rotate=30.0, zoom=(0.8, 1.25), elastic=3.0)
ALL = replace(BENT, dilate=0.5, blur=1.0, gamma=1.4, noise=0.04)
SPECS = pytest.mark.parametrize(
    "spec", [STRAIGHT, ZOOMED, BENT, ALL], ids=["straight", "zoomed", "bent", "all"]
)
SHAPES = pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((90, 80), (48, 48)),
        ((90, 80), (40, 56)),
        ((30, 24), (48, 48)),
        ((20, 40, 44), (12, 32, 32)),
        ((12, 60, 50), (40, 40)),
    ],
    ids=["2d", "oblong", "small", "3d", "slices"],
)


def _case(shape: tuple[int, ...], seed: int, partly: bool = False) -> Case:
    """Return a smooth image of two channels, and its target; `partly` labelled."""
    noise = np.random.default_rng(seed).random((2, *shape))
    image = ndimage.gaussian_filter(noise, (0, *(2,) * len(shape)))
    image = (image - image.min()) / np.ptp(image)
    inside = image[0] > 0.55
    target = np.stack((inside, inside * image[1], np.full(shape, inside.any())))
    if partly:
        target[..., : shape[-1] // 3] = UNKNOWN
    return image.astype(np.float16), target.astype(np.float16)


def _held(cases: Sequence[Case], device: torch.device = CPU) -> list[HeldCase]:
    return [HeldCase.of(case, device) for case in cases]


def _rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, place)) for place in range(count)]


def _as_before(cases: Sequence[Case], size, spec: AugmentSpec, share: float = 0.0) -> list:
    drawn = [
        reference_drawing.draw_patch(*case, size, spec, rng, MAPS, share)
        for case, rng in zip(cases, _rngs(len(cases)), strict=True)
    ]
    return [np.stack(part) for part in zip(*drawn, strict=True)]


def _compare(found: Sequence[torch.Tensor], wanted: Sequence[np.ndarray]) -> None:
    images, targets = (part.numpy() for part in found)
    assert images.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(images, wanted[0], atol=CLOSE)
    assert (np.abs(targets - wanted[1]) > CLOSE).mean() < TIES
    assert set(np.unique(targets[:, 0])) <= {UNKNOWN, 0, 1}
    assert set(np.unique(targets[:, 2])) <= {UNKNOWN, 0, 1}


@SPECS
@SHAPES
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_a_batch_is_what_was_drawn_before(shape, size, spec, together, monkeypatch):
    if together:  # as on a GPU
        monkeypatch.setattr(draw, "_groups", lambda cases: [slice(0, len(cases))])
    cases = [_case(shape, seed, partly=seed % 3 == 2) for seed in range(6)]
    for share in (0.0, 0.7):
        found = draw.draw_patches(_held(cases), size, spec, _rngs(6), MAPS, share)
        _compare(found, _as_before(cases, size, spec, share))


def test_cases_of_several_sizes_are_drawn_together(monkeypatch):
    monkeypatch.setattr(draw, "_groups", lambda cases: [slice(0, len(cases))])
    cases = [_case(shape, 1) for shape in ((40, 90), (70, 64), (30, 31))]
    spec = AugmentSpec(zoom=(0.9, 1.1), dilate=0.5)
    held, seen = _held(cases * 4), Counter[object]()
    for case, rng in zip(held, _rngs(12), strict=True):
        plan = plan_patch(case, (16, 16), spec, rng)
        seen[plan.size if plan.warp else "as it is"] += 1
    assert len(seen) > 2 and seen["as it is"]
    found = draw.draw_patches(held, 16, spec, _rngs(12), MAPS)
    _compare(found, _as_before(cases * 4, 16, spec))


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(flips=False),
        AugmentSpec(flip_depth=False, rotate=20.0, zoom=(0.75, 1.3), gamma=1.25, noise=0.03),
        AugmentSpec(elastic=2.0, blur=1.0),
    ],
    ids=["plain", "rows", "bent"],
)
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_whole_mammograms_are_what_was_drawn_before(spec, together, monkeypatch):
    if together:
        monkeypatch.setattr(draw, "_groups", lambda cases: [slice(0, len(cases))])
    images = [
        (_case((64, 48), seed)[0] * (np.arange(48) > 9)).astype(np.float16) for seed in range(6)
    ]
    held = _held([(image, np.array(1)) for image in images])
    found = draw.draw_images(held, spec, _rngs(6)).numpy()
    wanted = [
        reference_drawing.augment_image(image, spec, rng)
        for image, rng in zip(images, _rngs(6), strict=True)
    ]
    np.testing.assert_allclose(found, np.stack(wanted), atol=CLOSE)


@pytest.mark.parametrize("row", ["nuclei_vhllrhe", "nuclei", "nerve_vhllrhe", "ultrasound3d_vnet"])
def test_the_batches_of_the_rows_are_those_of_before(row, task, items, volume_items):
    task = TASKS[row]
    dims = task.network.spatial_dims
    recipe = replace(task.training, batch_size=4, patch_size=(48, 40) if dims == 2 else (8, 16, 16))
    task = replace(task, training=recipe, input=replace(task.input, longest_side=0))
    task = replace(task, augment=replace(task.augment, stain=1.0))  # there was none before
    if task.target.structures or dims == 3:
        task = replace(task, labels={"structure": 1})
    cases = PreparedCases(items if dims == 2 else volume_items, task)
    batches = StepBatches(cases, seed=5)
    for step in (0, 3):
        drawn = range(4 * step, 4 * step + 4)
        order = [batches._order(n // len(cases))[n % len(cases)] for n in drawn]
        wanted = [
            reference_drawing.draw_patch(
                *cases[index][:2],
                batches.patch,
                task.augment,
                np.random.default_rng((5, 1, place)),
                task.target.maps,
                recipe.foreground_share,
            )
            for place, index in zip(drawn, order, strict=True)
        ]
        images, targets = batches[step]
        np.testing.assert_allclose(images, np.stack([one[0] for one in wanted]), atol=CLOSE)
        differ = np.abs(targets.numpy() - np.stack([one[1] for one in wanted])) > CLOSE
        assert differ.mean() < TIES


@SPECS
def test_what_is_drawn_of_a_case_does_not_depend_on_those_beside_it(spec):
    cases = _held([_case((90, 80), seed, partly=seed == 1) for seed in range(4)])
    whole = draw.draw_patches(cases, 40, spec, _rngs(4), MAPS)
    for place, case in enumerate(cases):
        alone = draw.draw_patches([case], 40, spec, [_rngs(4)[place]], MAPS)
        for part, wanted in zip(alone, whole, strict=True):
            torch.testing.assert_close(part[0], wanted[place], rtol=0, atol=0)


@SPECS
@SHAPES
@pytest.mark.parametrize("resident", [True, False])
def test_nothing_that_is_drawn_on_a_device_comes_back(shape, size, spec, resident):
    """A tensor on the device meta has no values: whatever asks for one fails."""
    cases = [_case(shape, seed, partly=seed == 1) for seed in range(3)]
    held = [HeldCase.of(case, META, resident) for case in cases]
    assert {part.device for case in held for part in case.parts} == {META if resident else CPU}
    found: Batch = draw.draw_patches(held, size, spec, _rngs(3), MAPS, 0.5)
    assert [part.device for part in found] == [META, META]
    assert found[0].shape == (3, 2, *size) and found[1].shape == (3, 3, *size)


def test_parameters_have_their_distribution():
    case = HeldCase.of(_case((90, 80), 0), CPU)
    spec = replace(STRAIGHT, rotate=20.0, zoom=(0.5, 2.0), gamma=2.0, noise=0.1, dilate=0.3)
    rng = np.random.default_rng(0)
    plans = [plan_patch(case, (32, 32), spec, rng) for _ in range(3000)]
    for axis in (0, 1):
        assert np.mean([axis in plan.flips for plan in plans]) == pytest.approx(0.5, abs=0.03)
    shares = np.bincount([plan.turns for plan in plans]) / len(plans)
    np.testing.assert_allclose(shares, 0.25, atol=0.03)
    assert np.mean([plan.dilate for plan in plans]) == pytest.approx(0.3, abs=0.03)
    # the area in the part of a pixel of the result tells the magnification, whatever the turn
    maps = [plan.warp.matrix[:, :2] * (np.array(plan.size) - 1)[:, None] for plan in plans]
    zooms = np.log2([31 / np.sqrt(abs(np.linalg.det(one))) for one in maps])
    gammas = np.log2([plan.shading.gamma[0] for plan in plans])
    spreads = np.array([plan.shading.noise.std() for plan in plans]) * 20 - 1
    for drawn in (zooms, gammas, spreads):  # each is uniform from -1 to 1
        quantiles = np.quantile(drawn, (0.05, 0.25, 0.5, 0.75, 0.95))
        np.testing.assert_allclose(quantiles, (-0.9, -0.5, 0, 0.5, 0.9), atol=0.07)


@pytest.mark.parametrize("shape", [(7, 9), (3, 5, 6), (1, 1)])
def test_places_are_those_of_flatnonzero(shape):
    mask = np.random.default_rng(0).random(shape) < 0.4
    places = Places(mask)
    wanted = [tuple(place) for place in np.argwhere(mask).tolist()]
    assert len(places) == len(wanted)
    assert [places[number] for number in range(len(wanted))] == wanted


def test_cases_live_on_the_device_as_far_as_the_budget_goes(task, items):
    cases = PreparedCases(items, task)
    size = sum(part.nbytes for part in cases[0])
    held = HeldCases(cases, META, budget=3 * size + 1)
    devices = [{part.device for part in held[index].parts} for index in range(len(items))]
    assert devices == [{META}] * 3 + [{CPU}] * (len(items) - 3)
    assert all(held[index] is held[index] for index in range(len(items))), "all are kept"
    assert {held[index].device for index in range(len(items))} == {META}
    kept = [cases.keeps(index) for index in range(len(items))]
    assert kept == [False] * 3 + [True] * (len(items) - 3), "none is held in both places"
    shared = {(item.image, item.label): PreparedCases(items, task)[0] for item in items}
    of_others = PreparedCases(items, task, prepared=shared)
    assert HeldCases(of_others, META, budget=size)[0].parts[0].device == META
    assert of_others.keeps(0), "other runs may use it"


def test_a_case_without_room_in_memory_is_not_kept(task, items):
    held = HeldCases(PreparedCases(items, task, cache_bytes=0))
    assert held[0] is not held[0]
    assert PreparedCases(items, task)[0][0].base is None
    on_cpu = HeldCases(cases := PreparedCases(items, task))[0]
    assert on_cpu.parts[0].data_ptr() == cases[0][0].ctypes.data, "no second copy on the CPU"


def test_threads_that_draw_leave_the_cores_to_the_training_step():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:

        class Asked:
            def __getitem__(self, step):
                return torch.get_num_threads()

        assert list(prefetch(Asked(), range(4), 2)) == [1] * 4  # type: ignore[arg-type]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("budget", [None, 0], ids=["resident", "streamed"])
def test_a_gpu_draws_what_the_cpu_draws(task, items, budget):
    gpu = torch.device("cuda", 0)
    bent = replace(task, augment=replace(BENT, gamma=1.4, noise=0.04))
    cases = PreparedCases(items, bent)
    wanted, batches = StepBatches(cases, 3), StepBatches(cases, 3, device=gpu)
    batches.held = HeldCases(cases, gpu, budget)
    for step, batch in enumerate(prefetch(batches, range(6), 2, gpu)):
        images, targets = (part.cpu() for part in batch)
        torch.testing.assert_close(images, wanted[step][0], rtol=0, atol=1e-4)
        assert (targets != wanted[step][1]).double().mean() < 1e-3
