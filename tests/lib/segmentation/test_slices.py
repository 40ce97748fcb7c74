"""Networks in 2D answer volumes and loops slice by slice, and are trained on their slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing_samples import draw_patch

from lib.image import Geometry, Image
from lib.networks import build_network
from lib.segmentation import windows
from lib.segmentation.evaluation import evaluate
from lib.segmentation.predictor import FRAMES, Predictor
from lib.tasks.image_spec import AugmentSpec, InputSpec, OutputSpec, TargetSpec
from lib.training.batches import PreparedCases, StepBatches
from lib.training.loop import fit
from lib.training.options import FitOptions

PLAIN = AugmentSpec(flips=False)


@pytest.fixture(scope="module")
def flat(task):
    """A row in 2D that answers foreground and presence, with a small network."""
    network = replace(
        task.network, channels=(4, 8), convolutions=(1, 1), norm="instance", out_channels=2
    )
    return replace(
        task,
        network=replace(network, pooled_channels=1),
        input=InputSpec(dark_background=False),
        target=TargetSpec(maps=("foreground", "presence")),
        output=OutputSpec(),
    )


def _predictor(task, flips: bool = False) -> Predictor:
    torch.manual_seed(0)
    return Predictor(task, build_network(task.network).eval(), "cpu", "fp32", flips)


def _frames(count: int, rows: int = 20, columns: int = 26) -> np.ndarray:
    """Return prepared frames that differ in brightness and pattern, `(1, count, rows, columns)`."""
    rng = np.random.default_rng(count)
    bright = np.linspace(0.2, 1, count, dtype=np.float32).reshape(1, count, 1, 1)
    return bright * rng.random((1, count, rows, columns), dtype=np.float32)


# --- answering -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("count", [1, FRAMES - 1, FRAMES, FRAMES + 1, 2 * FRAMES + 1])
def test_the_answer_to_a_stack_is_the_answer_to_each_slice(flat, count, flips):
    predictor, frames = _predictor(flat, flips), _frames(count)
    together = predictor.probabilities(frames)
    assert together.shape == (2, count, 20, 26)
    alone = np.stack([predictor.probabilities(frames[:, n]) for n in range(count)], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    if count > 1:
        assert np.ptp(together, axis=1).max() > 1e-3, "the frames differ, and so do their answers"


def test_large_slices_are_answered_in_tiles_each_as_alone(flat, monkeypatch):
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 1000)
    monkeypatch.setitem(windows.TILE, 2, 32)
    predictor, frames = _predictor(flat), _frames(FRAMES + 1, 50, 70)
    sizes: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape))
    together = predictor.probabilities(frames)
    assert all(max(size[2:]) <= 32 for size in sizes)
    alone = np.stack([predictor.probabilities(frames[:, n]) for n in range(FRAMES + 1)], axis=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_no_more_slices_than_the_limit_are_in_memory_at_once(flat):
    predictor = _predictor(flat)
    batches: list[int] = []
    predictor.network.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    predictor.probabilities(_frames(2 * FRAMES + 1))
    assert batches == [FRAMES, FRAMES, 1]


@pytest.mark.parametrize("over_time", [False, True])
@pytest.mark.parametrize("side", [0, 16, 40])
def test_masks_of_volumes_and_loops_have_their_size(flat, side, over_time):
    predictor = _predictor(replace(flat, input=replace(flat.input, longest_side=side)))
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    pixels = (255 * _frames(6, 21, 30)[0]).astype(np.uint8)
    image = Image(pixels, Geometry.flat(6, 21, 30), Path("a.nrrd"), over_time=over_time)
    answer = predictor(image)
    assert answer.probabilities.shape == (2, 6, 21, 30)
    assert answer.mask.shape == (6, 21, 30)
    assert answer.mask.dtype == np.uint8
    assert answer.instances is None
    rows, columns = {0: (22, 30), 16: (12, 16), 40: (28, 40)}[side]  # even, for the network
    assert {shape[2:] for shape in seen} == {(rows, columns)}
    assert sum(shape[0] for shape in seen) == 6, "time and depth are not resampled"


class _Bright(torch.nn.Module):
    """Answers foreground where the image is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 50 * (x - 0.5)


def _two_spots(over_time: bool) -> tuple[Image, np.ndarray]:
    """Return frames with a large and a small spot; they touch no spot of a neighbouring frame."""
    pixels = np.zeros((3, 24, 24), np.uint8)
    for frame, corner in enumerate((2, 14, 2)):
        pixels[frame, corner : corner + 6 + frame, 2:8] = 200
        pixels[frame, corner : corner + 2, 20:22] = 200
    image = Image(pixels, Geometry.flat(3, 24, 24), Path("a.nrrd"), over_time=over_time)
    large = pixels > 0
    large[:, :, 20:22] = False
    return image, large


def test_of_a_loop_the_largest_object_of_each_frame_is_kept(task):
    image, large = _two_spots(over_time=True)
    row = replace(task, input=InputSpec(dark_background=False), output=OutputSpec(keep="largest"))
    mask = Predictor(row, _Bright(), "cpu", "fp32")(image).mask
    np.testing.assert_array_equal(mask > 0, large)


def test_of_a_volume_the_largest_object_of_all_is_kept(task):
    image, large = _two_spots(over_time=False)
    row = replace(task, input=InputSpec(dark_background=False), output=OutputSpec(keep="largest"))
    mask = Predictor(row, _Bright(), "cpu", "fp32")(image).mask
    large[:2] = False
    np.testing.assert_array_equal(mask > 0, large)


# --- training ------------------------------------------------------------------------------------


def _drawn(size, seed: int, share: float = 0.0, where=(0, 0, 0), spec: AugmentSpec = PLAIN):
    """Draw a patch of a stack whose channels are the coordinates of its own pixels."""
    places = np.indices((5, 24, 30)).astype(np.float32)
    target = np.zeros((1, 5, 24, 30), np.uint8)
    target[(0, *where)] = 1
    rng = np.random.default_rng(seed)
    return draw_patch(places, target, size, spec, rng, foreground_share=share)


def test_a_patch_of_two_sides_is_a_piece_of_one_slice():
    frames = set()
    for seed in range(60):
        patch, truth = _drawn((16, 8), seed)
        assert patch.shape == (3, 16, 8)
        assert truth.shape == (1, 16, 8)
        assert np.ptp(patch[0]) == 0, "of one slice"
        frames.add(int(patch[0, 0, 0]))
        for axis, side in ((0, 16), (1, 8)):
            first = patch[axis + 1].min()
            wanted = first + np.indices((16, 8))[axis]
            np.testing.assert_array_equal(patch[axis + 1], wanted)
            assert first + side <= (24, 30)[axis]
    assert frames == set(range(5)), "every slice is drawn"


def test_a_patch_of_three_sides_stays_a_piece_of_the_volume():
    patch, _ = _drawn((3, 16, 8), 0)
    assert patch.shape == (3, 3, 16, 8)
    assert np.ptp(patch[0]) == 2


@pytest.mark.parametrize("where", [(0, 12, 15), (3, 12, 15), (4, 0, 29)])
def test_a_patch_centred_on_foreground_lies_in_the_slice_that_has_it(where):
    for seed in range(10):
        patch, truth = _drawn((8, 8), seed, 1.0, where)
        assert (patch[0] == where[0]).all()
        ((row, column),) = np.argwhere(truth[0])
        assert patch[:, row, column].tolist() == list(where)
        if where[1:] == (12, 15):
            assert (row, column) == (4, 4), "in the middle"


def test_slices_are_turned_bent_and_mirrored_as_images_are():
    spec = AugmentSpec(rotate=20.0, zoom=(0.8, 1.25), elastic=2.0, rotate90=True)
    for seed in range(5):
        patch, truth = _drawn((16, 16), seed, 1.0, (2, 12, 15), spec)
        assert patch.shape == (3, 16, 16)
        np.testing.assert_allclose(patch[0], 2, atol=1e-5)
        assert set(np.unique(truth)) <= {0, 1}


@pytest.mark.parametrize("dims", [2, 3])
def test_rows_that_are_depth_are_not_mirrored_and_the_other_axes_are(dims):
    places = np.indices((6, 20, 24)[-dims:]).astype(np.float32)
    target = np.zeros((1, *places.shape[1:]), np.uint8)
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patch, _ = draw_patch(places, target, places.shape[1:], AugmentSpec(flip_depth=False), rng)
        corner = patch[(slice(None), *(0,) * dims)]
        seen.add(tuple(bool(place) for place in corner))  # 0 where the axis is as it was
    depth = dims - 2
    assert not any(mirrored[depth] for mirrored in seen)
    assert len(seen) == 2 ** (dims - 1), "every other combination is drawn"


def test_a_batch_of_a_task_in_2d_holds_slices_of_volumes(flat, volume_items):
    recipe = replace(flat.training, batch_size=6, patch_size=16, foreground_share=0.5)
    cases = PreparedCases(volume_items, replace(flat, training=recipe))
    images, targets = StepBatches(cases, seed=0)[0]
    assert images.shape == (6, 1, 16, 16)
    assert targets.shape == (6, 2, 16, 16)
    for foreground, presence in targets:
        assert presence.unique().tolist() == [float(foreground.any())]


def test_patches_are_no_larger_than_the_largest_case_but_fit_the_network(volume_task, volume_items):
    recipe = replace(volume_task.training, batch_size=1, patch_size=64)
    cases = PreparedCases(volume_items, replace(volume_task, training=recipe))
    assert StepBatches(cases, seed=0).patch == (64, 64, 64)  # before any was read
    shapes = [cases[index][0].shape[1:] for index in range(len(cases))]
    divisor = volume_task.network.divisor
    fitting = tuple(-(-max(sides) // divisor) * divisor for sides in zip(*shapes, strict=True))
    assert min(fitting) < 64
    assert StepBatches(cases, seed=0)[0][0].shape == (1, 1, *(min(64, side) for side in fitting))


def test_a_task_in_2d_learns_volumes_from_their_slices_and_is_scored_on_the_whole(
    flat, volume_items, tmp_path
):
    recipe = replace(
        flat.training, steps=40, val_interval=40, batch_size=4, patch_size=16, learning_rate=1e-2
    )
    options = FitOptions(out=tmp_path, device="cpu", precision="fp32", progress=False)
    options = replace(options, tensorboard=False)
    result = fit(replace(flat, training=recipe), volume_items, options)
    assert result.metrics["fg_dice"] > 0.7
    assert result.metrics["fg_dice"] > result.initial_metrics["fg_dice"] + 0.1


def test_evaluating_a_task_in_2d_on_volumes_counts_every_voxel(task, volume_items):
    row = replace(task, input=InputSpec(dark_background=False), output=OutputSpec())
    report = evaluate(Predictor(row, _Bright(), "cpu", "fp32"), volume_items)
    assert report.about["images"] == 4
    assert report.pooled["fg_dice"] > 0.9, "the balls are bright"
