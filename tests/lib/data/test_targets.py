"""Target maps are what their definitions say, pixel by pixel, in 2D and 3D."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lib.data.targets import (
    MAPS,
    as_instances,
    border,
    border_weight,
    distance,
    is_binary,
    make_target,
)
from lib.errors import NotFoundError
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.image_spec import TargetSpec

SPEC = TargetSpec()


def test_a_mask_becomes_instances_and_instances_stay():
    mask = np.zeros((9, 9), np.int32)
    mask[1:3, 1:3] = mask[5:8, 5:8] = 255
    assert np.unique(as_instances(mask)).tolist() == [0, 1, 2]
    mask[5:8, 5:8] = 7
    np.testing.assert_array_equal(as_instances(mask), mask)
    assert not as_instances(np.zeros((4, 4), np.int32)).any()


def _touching() -> np.ndarray:
    label = np.zeros((20, 30), np.int32)
    label[4:14, 2:12] = 1
    label[4:14, 12:22] = 2
    label[16:19, 2:12] = 3
    return label


def test_without_a_gap_the_target_is_the_foreground():
    target = make_target(_touching(), TargetSpec())
    assert target.shape == (1, 20, 30)
    assert target.dtype == np.uint8
    np.testing.assert_array_equal(target[0], _touching() > 0)


@pytest.mark.parametrize("gap", [1, 2])
def test_a_gap_clears_only_pixels_between_touching_instances(gap):
    label = _touching()
    target = make_target(label, TargetSpec(gap=gap))[0] > 0
    cleared = (label > 0) & ~target
    rows, columns = np.nonzero(cleared)
    wanted = range(12 - gap, 12 + gap)
    assert sorted(set(columns[rows < 14])) == list(wanted)
    assert not (target & (label == 0)).any()
    apart = as_instances(target.astype(np.int32))
    assert apart.max() == 3


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_no_instance_vanishes_from_the_target(gap):
    label = _touching()
    label[4:14, 11] = 4  # one pixel wide, between two others
    target = make_target(label, TargetSpec(gap=gap))[0]
    assert set(np.unique(label[target > 0])) == {1, 2, 3, 4}


def test_a_gap_works_in_volumes():
    label = np.zeros((9, 8, 12), np.int32)
    label[1:8, 1:7, 1:6] = 1
    label[1:8, 1:7, 6:11] = 2
    target = make_target(label, TargetSpec(gap=1))[0] > 0
    assert not target[1:8, 1:7, 5:7].any()
    assert target[1:8, 1:7, 1:5].all()
    assert target[1:8, 1:7, 7:11].all()


def _small(shape: tuple[int, ...] = (24, 30)) -> np.ndarray:
    """Four objects: two that touch, one a pixel from them, one alone at the edge."""
    label = np.zeros(shape, np.int32)
    place = (slice(None),) * (len(shape) - 2)
    label[(*place, slice(2, 9), slice(3, 10))] = 7
    label[(*place, slice(4, 11), slice(10, 15))] = 2
    label[(*place, slice(12, 18), slice(5, 12))] = 3
    label[(*place, slice(14, 24), slice(24, 30))] = 300
    return label


def _neighbourhood(label: np.ndarray, pixel: tuple[int, ...], radius: int) -> set[int]:
    window = tuple(slice(max(0, place - radius), place + radius + 1) for place in pixel)
    return set(np.unique(label[window])) - {0}


@pytest.mark.parametrize("shape", [(24, 30), (3, 24, 30)])
def test_the_border_is_where_a_neighbourhood_holds_two_objects(shape):
    label = _small(shape)
    found = border(label, SPEC)
    for pixel in np.ndindex(*shape):
        assert found[pixel] == (len(_neighbourhood(label, pixel, 1)) > 1), pixel
    assert (found & (label == 0)).any(), "background between near objects belongs to it"


def test_the_parts_of_a_mask_have_borders_as_instances_have():
    label = np.zeros((10, 12), np.int32)
    label[2:8, 1:5] = label[2:8, 6:10] = 255
    assert set(np.nonzero(border(label, SPEC))[1]) == {5}


def _depths(label: np.ndarray) -> np.ndarray:
    """Return by brute force each pixel's depth over the deepest of its object."""
    pixels = np.argwhere(np.ones(label.shape, bool))
    result = np.zeros(label.shape)
    for value in set(np.unique(label)) - {0}:
        outside = pixels[(label != value).ravel()]
        for pixel in np.argwhere(label == value):
            result[tuple(pixel)] = np.sqrt(((outside - pixel) ** 2).sum(1).min())
        result[label == value] /= result[label == value].max()
    return result


@pytest.mark.parametrize("shape", [(24, 30), (3, 24, 30)])
def test_the_distance_is_the_depth_over_the_deepest_of_each_object(shape):
    label = _small(shape)
    found = distance(label, SPEC)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _depths(label), atol=1e-6)
    assert not found[label == 0].any()
    for value in (2, 3, 7, 300):
        assert found[label == value].max() == 1
        assert found[label == value].min() > 0


def test_the_distance_of_nuclei_is_1_in_each_and_0_outside():
    label = nuclei_phantom(1, rows=96, columns=96, nuclei=25)[1].astype(np.int32)
    found = distance(label, SPEC)
    assert not found[label == 0].any()
    for value in range(1, int(label.max()) + 1):
        assert found[label == value].max() == 1


def test_the_distance_does_not_depend_on_magnification():
    y, x = np.mgrid[:48, :60] + 0.5
    label = np.where(np.hypot((y - 24) / 0.8, x - 30) < 22, 1, 0)
    small, large = (distance(np.kron(label, np.ones((k, k), int)), SPEC) for k in (1, 4))
    blocks = large.reshape(48, 4, 60, 4).mean((1, 3))
    assert np.abs(blocks - small).max() < 0.06


@pytest.mark.parametrize("name", ["border", "distance", "border_weight"])
def test_objects_of_one_pixel_and_images_without_any_have_finite_maps(name):
    one = np.zeros((8, 8), np.int32)
    for label in (one, np.eye(8, dtype=np.int32) * np.arange(1, 9, dtype=np.int32), one + 1):
        found = make_target(label, TargetSpec(maps=("foreground", name)))
        assert np.isfinite(found).all()
    assert not make_target(one, TargetSpec(maps=("foreground", "distance"))).any()
    assert (border_weight(one, SPEC) == 1).all()


def _weights(label: np.ndarray) -> np.ndarray:
    """Return U-Net 2015, eq. 2, by the distances to all objects."""
    objects = [np.argwhere(label == value) for value in set(np.unique(label)) - {0}]
    result = np.ones(label.shape)
    for pixel in np.argwhere(label == 0):
        nearest = sorted(np.sqrt(((found - pixel) ** 2).sum(1)).min() for found in objects)
        if len(nearest) > 1:
            result[tuple(pixel)] += 10 * math.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * 5**2))
    return result


@pytest.mark.parametrize("shape", [(24, 30), (2, 24, 30)])
def test_border_weights_equal_the_formula_of_unet_2015(shape):
    label = _small(shape)
    np.testing.assert_allclose(border_weight(label, SPEC), _weights(label), atol=5e-3)


def test_border_weights_do_not_depend_on_the_order_of_the_objects():
    label = nuclei_phantom(2, rows=64, columns=64, nuclei=20)[1].astype(np.int32)
    values = np.random.default_rng(0).permutation(int(label.max())) + 1
    renumbered = np.concatenate(([0], values))[label].astype(np.int32)
    np.testing.assert_array_equal(border_weight(renumbered, SPEC), border_weight(label, SPEC))


def test_weights_are_largest_between_near_objects_and_1_far_from_two():
    label = np.zeros((60, 80), np.int32)
    label[5:25, 5:25], label[5:25, 27:47] = 1, 2
    weight = border_weight(label, SPEC)
    assert weight[15, 25] == pytest.approx(1 + 10 * math.exp(-(3**2) / 50), rel=1e-6)
    assert (weight[label > 0] == 1).all()
    assert weight[55, 75] == 1


@pytest.mark.parametrize(
    "names", itertools.permutations(["border", "distance", "border_weight"], 2)
)
def test_a_target_has_its_maps_in_the_order_of_the_spec(names):
    label = _small()
    spec = TargetSpec(maps=("foreground", *names))
    target = make_target(label, spec)
    assert target.shape == (3, 24, 30)
    assert target.dtype == np.float16
    for place, name in enumerate(spec.maps):
        np.testing.assert_array_equal(target[place], MAPS[name](label, spec).astype(np.float16))


def test_binary_maps_alone_are_kept_in_8_bit():
    target = make_target(_small(), TargetSpec(maps=("foreground", "border")))
    assert target.dtype == np.uint8
    assert set(np.unique(target)) == {0, 1}
    assert {name for name in MAPS if is_binary(name)} == {"foreground", "border", "presence"}


def test_an_unknown_map_is_refused_with_the_nearest_name():
    with pytest.raises(
        NotFoundError, match="unknown target map 'distanse': did you mean 'distance"
    ):
        make_target(_small(), TargetSpec(maps=("foreground", "distanse")))


def test_the_maps_of_thousands_of_nuclei_are_made_in_seconds(timed):
    label = np.kron(np.arange(1, 2501).reshape(50, 50), np.pad(np.ones((18, 18), int), 1))
    spec = TargetSpec(maps=("foreground", "border", "distance", "border_weight"), gap=1)
    with timed(4):
        assert make_target(label.astype(np.int32), spec)[2].max() == 1


@pytest.mark.parametrize("shape", [(24, 30), (3, 24, 30)])
def test_presence_is_one_everywhere_or_nowhere(shape):
    spec = TargetSpec(maps=("foreground", "presence"))
    assert make_target(_small(shape), spec)[1].all()
    assert not make_target(np.zeros(shape, np.int32), spec)[1].any()
    one = np.zeros(shape, np.int32)
    one[(-1,) * len(shape)] = 9
    found = make_target(one, spec)
    assert (found[0].sum(), found[1].mean(), found.dtype) == (1, 1, np.uint8)


def test_the_map_of_a_value_is_where_the_label_has_it():
    label = _small()
    spec = TargetSpec(maps=("foreground", "label_7", "label_300"))
    assert spec.structures == {"label_7": 7, "label_300": 300}
    target = make_target(label, spec)
    assert target.dtype == np.uint8
    np.testing.assert_array_equal(target[1], label == 7)
    np.testing.assert_array_equal(target[2], label == 300)


def test_maps_of_values_stand_beside_maps_of_fractions():
    spec = TargetSpec(maps=("foreground", "label_2", "distance"))
    target = make_target(_small(), spec)
    assert target.dtype == np.float16
    np.testing.assert_array_equal(target[1], _small() == 2)


@pytest.mark.parametrize(
    ("name", "binary"),
    [("label_1", True), ("label_12", True), ("distance", False), ("border_weight", False)],
)
def test_maps_of_values_are_binary(name, binary):
    assert is_binary(name) is binary
