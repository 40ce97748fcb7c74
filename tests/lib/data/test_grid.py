"""The network's grid: pixels keep their place, there and back, whatever the image's own grid is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image as PillowImage
from volume_samples import OBLIQUE, same_grid

from lib.data.grid import Grid, network_grid, resample
from lib.data.studies import Item
from lib.data.targets import make_target
from lib.data.transforms import prepare_image
from lib.image import Geometry, Image
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import InputSpec
from lib.tasks.registry import TASKS
from lib.training.batches import PreparedCases

PLAIN = InputSpec(dark_background=False, percentiles=(0, 100))
SIZES = pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((40, 60), (20, 90)),
        ((40, 60), (31, 47)),
        ((31, 47), (64, 128)),
        ((12, 40, 30), (30, 25, 19)),
        ((24, 18, 20), (24, 40, 11)),
    ],
)


def _whole(size: tuple[int, ...], wanted: tuple[int, ...]) -> Grid:
    return Grid(size, tuple(slice(0, side) for side in size), wanted)


def _inner(maps: np.ndarray, rim: int = 6) -> np.ndarray:
    """Cut the rim off the spatial axes, less of short ones."""
    return maps[
        (slice(None), *(slice(min(rim, n // 4), -min(rim, n // 4)) for n in maps.shape[1:]))
    ]


def _image(pixels: np.ndarray, spacing: tuple[float, ...] | None = None, **more) -> Image:
    geometry = Geometry.flat(*pixels.shape)
    if spacing:
        geometry = replace(geometry, spacing=spacing)
    return Image(pixels, geometry, Path("a.nrrd"), **more)


# --- there and back ------------------------------------------------------------------------------


@SIZES
def test_pixel_centres_stay_in_place(size, wanted):
    places = np.indices(size).astype(np.float32)  # each channel is a coordinate of the pixel
    found = resample(places, wanted)
    assert found.shape == (len(size), *wanted)
    assert found.dtype == np.float32
    scale = np.divide(size, wanted).reshape(-1, *(1,) * len(size))
    expected = (np.indices(wanted) + 0.5) * scale - 0.5
    np.testing.assert_allclose(_inner(found), _inner(expected), atol=2e-2)


@SIZES
def test_a_ramp_survives_the_way_there_and_back(size, wanted):
    ramps = np.indices(size).astype(np.float32)
    grid = _whole(size, wanted)
    back = grid.undo(grid.apply(ramps))
    assert back.shape == ramps.shape
    np.testing.assert_allclose(_inner(back, 8), _inner(ramps, 8), atol=5e-2)


@SIZES
def test_probabilities_stay_in_0_to_1_and_constants_stay(size, wanted):
    grid = _whole(size, wanted)
    random = np.random.default_rng(0).random((2, *wanted), dtype=np.float32)
    back = grid.undo(random)
    assert 0 <= back.min() < back.max() <= 1
    for value in (0.0, 0.5, 1.0):
        constant = np.full((1, *wanted), value, np.float32)
        np.testing.assert_allclose(grid.undo(constant), value, atol=1e-6)


@SIZES
def test_labels_take_the_value_of_the_nearest_pixel(size, wanted):
    label = np.random.default_rng(0).integers(0, 999, size).astype(np.int32)
    found = _whole(size, wanted).apply_label(label)
    assert found.dtype == np.int32
    assert found.shape == wanted
    for place in np.random.default_rng(1).integers(0, wanted, (50, len(size))):
        centre = (place + 0.5) * np.divide(size, wanted)  # pixel n reaches from n to n + 1
        assert found[tuple(place)] == label[tuple(np.floor(centre).astype(int))]


@SIZES
def test_labels_and_intensities_stay_aligned(size, wanted):
    label = np.zeros(size, np.int32)
    label[tuple(slice(side // 4, 3 * side // 4) for side in size)] = 7
    grid = _whole(size, wanted)
    seen = grid.apply((label > 0)[np.newaxis])[0] >= 0.5
    drawn = grid.apply_label(label) > 0
    assert (seen != drawn).mean() < 0.07
    for axis in range(len(size)):
        middles = [np.nonzero(mask)[axis].mean() for mask in (seen, drawn)]
        assert abs(middles[0] - middles[1]) < 0.51


def test_the_grid_that_is_the_images_own_costs_no_copy():
    pixels = np.random.default_rng(0).random((1, 20, 30), dtype=np.float32)
    grid = _whole((20, 30), (20, 30))
    assert np.shares_memory(grid.apply(pixels), pixels)
    assert np.shares_memory(grid.undo(pixels), pixels)
    label = np.zeros((20, 30), np.int32)
    assert np.shares_memory(grid.apply_label(label), label)


def test_detail_finer_than_the_new_pixels_is_blurred_not_aliased():
    stripes = np.tile(np.array([0, 1], np.float32), 60)[np.newaxis, np.newaxis].repeat(30, 1)
    shrunk = resample(stripes, (30, 37))  # the rows are as they were
    assert _inner(shrunk).std() < 0.1
    assert _inner(shrunk).mean() == pytest.approx(0.5, abs=0.02)
    assert _inner(resample(stripes, (30, 37), smooth=False)).std() > 0.2
    point = np.zeros((1, 9, 9), np.float32)
    point[0, 4, 4] = 1
    assert resample(point, (27, 27))[0, 13, 13] == 1, "what grows is not blurred"


# --- which grid ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [
        ((300, 200), 100, (100, 67)),
        ((200, 300), 100, (67, 100)),
        ((30, 20), 100, (100, 67)),
        ((100, 64), 100, (100, 64)),
        ((9, 300, 200), 100, (9, 100, 67)),
        ((300, 30, 20), 100, (300, 100, 67)),
        ((1000, 3), 100, (100, 1)),
    ],
)
def test_the_longer_of_rows_and_columns_gets_the_asked_length(size, side, wanted):
    image = _image(np.zeros(size, np.uint8))
    assert network_grid(image, InputSpec(longest_side=side)).shape == wanted
    assert network_grid(image, InputSpec()).shape == size


@pytest.mark.parametrize(
    ("size", "spacing", "wanted"),
    [
        ((40, 60, 50), (0.6, 0.6, 1.0), 1.0),  # of the coarsest axis
        ((20, 60, 50), (0.5, 0.5, 2.0), 1.5 * 0.5 ** (1 / 3)),  # or 1.5 times the geometric mean
        ((64, 30, 80), (1.0, 3.0, 0.7), 1.5 * 2.1 ** (1 / 3)),
    ],
)
def test_anisotropic_volumes_get_one_spacing(size, spacing, wanted):
    image = _image(np.zeros(size, np.uint8), spacing)
    shape = network_grid(image, InputSpec(isotropic=True)).shape
    made = np.multiply(size, spacing[::-1]) / shape  # millimetres from pixel to pixel
    np.testing.assert_allclose(made, wanted, rtol=0.05)
    assert network_grid(image, InputSpec()).shape == size


def test_loops_images_and_nearly_equal_spacings_are_not_made_isotropic():
    spec, voxels = InputSpec(isotropic=True), np.zeros((20, 60, 50), np.uint8)
    loop = _image(voxels, (0.5, 0.5, 2.0), over_time=True)
    assert network_grid(loop, spec).shape == (20, 60, 50)
    assert network_grid(_image(voxels, (0.5, 0.5, 0.52)), spec).shape == (20, 60, 50)
    assert network_grid(_image(voxels[0], (0.5, 2.0)), spec).shape == (60, 50)


def test_a_slice_with_the_geometry_of_a_volume_is_read_as_an_image():
    geometry = Geometry((50, 60, 1), (0.2, 0.2, 5.0), (0, 0, 0), Geometry.flat(1, 60, 50).direction)
    image = Image(np.zeros((60, 50), np.uint8), geometry, Path("a.nrrd"))
    grid = network_grid(image, InputSpec(isotropic=True, longest_side=30))
    assert (grid.full, grid.shape) == ((60, 50), (30, 25))


# --- the region ----------------------------------------------------------------------------------

REGION = (slice(5, 35), slice(12, 52))


@pytest.mark.parametrize("frames", [None, 3])
@pytest.mark.parametrize("side", [0, 20, 64])
def test_the_region_is_cropped_and_undone_with_background_beyond(frames, side):
    size = (40, 60) if frames is None else (frames, 40, 60)
    image = _image(np.zeros(size, np.uint8), region=REGION, over_time=frames is not None)
    grid = network_grid(image, replace(PLAIN, longest_side=side))
    shape = {0: (30, 40), 20: (15, 20), 64: (48, 64)}[side]
    assert grid.shape == (*size[:-2], *shape)
    back = grid.undo(np.ones((2, *grid.shape), np.float32))
    assert back.shape == (2, *size)
    inside = np.zeros(size, bool)
    inside[(..., *REGION)] = True
    np.testing.assert_allclose(back[:, inside], 1, atol=1e-6)
    assert not back[:, ~inside].any()


def test_the_scale_is_that_of_the_region_not_of_the_marks_around_it():
    pixels = np.full((40, 60), 255, np.uint8)
    pixels[REGION] = np.random.default_rng(0).integers(10, 90, (30, 40))
    found = prepare_image(_image(pixels, region=REGION), PLAIN)[0]
    wanted = prepare_image(_image(pixels[REGION]), PLAIN)[0]
    np.testing.assert_array_equal(found, wanted)
    assert (found.min(), found.max()) == (0, 1)


def test_a_coloured_image_keeps_its_region():
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    image = Image(pixels, Geometry.flat(40, 60), Path("a.png"), colour=True, region=REGION)
    assert prepare_image(image, replace(PLAIN, longest_side=20)).shape == (1, 15, 20)


# --- training and serving ------------------------------------------------------------------------


def _bar(path: Path) -> tuple[Item, np.ndarray]:
    """Write an image with a bright bar and the label of the bar."""
    rng = np.random.default_rng(3)
    label = np.zeros((50, 90), np.uint8)
    label[5:23, 10:60] = 1  # in no direction symmetric
    pixels = (rng.normal(70, 8, label.shape) + 90 * label).clip(0, 255).astype(np.uint8)
    PillowImage.fromarray(pixels).save(path / "bar.png")
    PillowImage.fromarray(label).save(path / "label.png")
    return Item("bar", path / "bar.png", path / "label.png"), label


def test_training_and_serving_see_the_same_pixels(task, tmp_path):
    item, _ = _bar(tmp_path)
    resized = replace(task, input=replace(task.input, longest_side=48))
    seen: list[torch.Tensor] = []
    network = torch.nn.Identity()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = read_image(item.image)
    Predictor(resized, network, "cpu", "fp32")(image)
    trained, target = PreparedCases([item], resized)[0]
    assert trained.shape == (1, 27, 48)
    served = seen[0][0, :, :27, :48].numpy()  # beyond, mirrored to a size the network takes
    np.testing.assert_allclose(trained.astype(np.float32), served, atol=1e-3)
    label = network_grid(image, resized.input).apply_label(read_label(item.label))
    np.testing.assert_array_equal(target, make_target(label, resized.target))
    bright = served[0] > (served[0].max() + served[0].min()) / 2
    assert (bright == target[0]).mean() > 0.95, "the label lies on what it labels"


# --- masks lie on the image ----------------------------------------------------------------------


class _Bright(torch.nn.Module):
    """Answers foreground where the prepared image is above one half, the surer the brighter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * (x - 0.5)


FLIPPED = replace(OBLIQUE, direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
EVEN = replace(OBLIQUE, spacing=(0.6, 0.6, 0.6))


@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("place", [OBLIQUE, FLIPPED, EVEN], ids=["oblique", "flipped", "even"])
def test_masks_of_volumes_lie_on_them_voxel_for_voxel(tmp_path, place, kind, isotropic):
    shape = (14, 30, 44)
    truth = np.zeros(shape, np.uint8)
    truth[3:9, 8:22, 5:20] = 1  # in no direction symmetric
    image = sitk.GetImageFromArray(20 + 200 * truth)
    image.SetSpacing(place.spacing)
    image.SetOrigin(place.origin)
    image.SetDirection(place.direction)
    sitk.WriteImage(image, str(tmp_path / f"a{kind}"))

    row = TASKS["ultrasound3d_vnet"]
    task = replace(row, input=replace(row.input, isotropic=isotropic, percentiles=(0, 100)))
    volume = read_image(tmp_path / f"a{kind}", spatial_dims=3)
    predictor = Predictor(task, _Bright(), "cpu", "fp32")
    write_mask(tmp_path / f"m{kind}", predictor(volume).mask, volume.geometry)

    mask = read_image(tmp_path / f"m{kind}", spatial_dims=3)
    assert same_grid(mask.geometry, volume.geometry, 1e-5)
    if place is EVEN or not isotropic:
        np.testing.assert_array_equal(mask.pixels, truth)
        return
    inside, both = truth > 0, (truth > 0) & (mask.pixels > 0)
    assert both.sum() / (inside | (mask.pixels > 0)).sum() > 0.85, "resampled twice"
    for axis in range(3):
        middles = [np.nonzero(found)[axis].mean() for found in (mask.pixels, truth)]
        assert abs(middles[0] - middles[1]) < 0.3
