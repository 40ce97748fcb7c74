"""Label images keep size, geometry and every value; what is no label image is refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.image import Geometry
from lib.io.labels import read_label
from lib.io.masks import MASK_EXTENSIONS, result_extension, write_mask, write_probabilities
from lib.io.read import read_image

OBLIQUE_2D = Geometry((33, 47), (0.3, 0.7), (-4.0, 11.5), (0.8, -0.6, 0.6, 0.8))
OBLIQUE_3D = Geometry(
    (33, 47, 1), (0.3, 0.7, 2.5), (-4.0, 11.5, 99.0), (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
)
FLIPPED = Geometry((33, 47), (1.0, 2.0), (5.0, 6.0), (-1.0, 0.0, 0.0, -1.0))


def _mask(top: int) -> np.ndarray:
    mask = np.random.default_rng(top).integers(0, top, (47, 33))
    mask[5, 7] = top
    return mask


@pytest.mark.parametrize("geometry", [OBLIQUE_2D, OBLIQUE_3D, FLIPPED])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_mask_lies_where_its_image_lies(tmp_path, suffix, geometry):
    mask = _mask(9)
    write_mask(tmp_path / f"m{suffix}", mask, geometry)
    found = read_image(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(found.pixels, mask)
    assert found.geometry.size[:2] == (33, 47)
    axes = min(len(geometry.size), len(found.geometry.size))
    for name in ("spacing", "origin"):
        wanted = getattr(geometry, name)[:axes]
        assert getattr(found.geometry, name)[:axes] == pytest.approx(wanted, abs=1e-4)
    sides = len(found.geometry.size), len(geometry.size)
    in_plane = [
        np.reshape(cosines, (side, side))[:2, :2]
        for cosines, side in zip((found.geometry.direction, geometry.direction), sides, strict=True)
    ]
    np.testing.assert_allclose(*in_plane, atol=1e-4)


@pytest.mark.parametrize("suffix", MASK_EXTENSIONS)
@pytest.mark.parametrize(("top", "octets"), [(1, 1), (255, 1), (256, 2), (65535, 2)])
def test_labels_round_trip_in_the_smallest_type_that_holds_them(tmp_path, suffix, top, octets):
    mask = _mask(top)
    path = write_mask(tmp_path / f"m{suffix}", mask, Geometry.flat(47, 33))
    np.testing.assert_array_equal(read_label(path, (47, 33)), mask)
    assert read_image(path).pixels.dtype.itemsize == octets
    assert read_label(path).dtype == np.int32


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha", ".tif"])
def test_labels_beyond_65535_round_trip(tmp_path, suffix):
    mask = _mask(70_000)
    path = write_mask(tmp_path / f"m{suffix}", mask, Geometry.flat(47, 33))
    np.testing.assert_array_equal(read_label(path), mask)


def test_labels_beyond_65535_are_refused_for_png_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match=r"a PNG holds labels up to 65535, found 70000; ask for"):
        write_mask(tmp_path / "m.png", _mask(70_000), Geometry.flat(47, 33))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".nrrd"])
@pytest.mark.parametrize(("wanted", "top", "octets"), [(np.uint16, 3, 2), (np.uint8, 300, 2)])
def test_a_wanted_type_is_used_where_the_values_fit(tmp_path, suffix, wanted, top, octets):
    path = tmp_path / f"m{suffix}"
    write_mask(path, _mask(top), Geometry.flat(47, 33), np.dtype(wanted))
    assert read_image(path).pixels.dtype.itemsize == octets
    np.testing.assert_array_equal(read_label(path), _mask(top))


@pytest.mark.parametrize("name", ["m.jpg", "m.bmp", "m.dcm", "m.txt", "m"])
def test_types_that_cannot_hold_a_mask_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"masks cannot be written as '.*'; expected one of \.png"):
        write_mask(tmp_path / name, _mask(1), Geometry.flat(47, 33))


def test_a_mask_of_another_size_than_the_grid_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(47, 33\) does not fit a grid of \(40, 47\)"):
        write_mask(tmp_path / "m.png", _mask(1), Geometry.flat(47, 40))


def test_a_failed_write_leaves_the_old_mask_and_no_other_file(tmp_path, monkeypatch):
    path = write_mask(tmp_path / "m.png", _mask(3), Geometry.flat(47, 33))
    before = path.read_bytes()

    def fail(self, file, *args, **kwargs):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PillowImage.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        write_mask(path, _mask(200), Geometry.flat(47, 33))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writing_into_a_missing_folder_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        write_mask(tmp_path / "absent" / "m.nrrd", _mask(1), Geometry.flat(47, 33))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_probabilities_round_trip(tmp_path, suffix):
    probabilities = np.random.default_rng(0).random((47, 33), dtype=np.float32)
    write_probabilities(tmp_path / f"p{suffix}", probabilities, OBLIQUE_2D)
    np.testing.assert_array_equal(read_image(tmp_path / f"p{suffix}").pixels, probabilities)


def test_probabilities_are_refused_for_pictures(tmp_path):
    with pytest.raises(InputError, match=r"probabilities cannot be written as '\.png'"):
        write_probabilities(tmp_path / "p.png", np.zeros((4, 4)), Geometry.flat(4, 4))


def test_a_label_of_another_size_than_its_image_is_refused(tmp_path):
    write_mask(tmp_path / "m.png", _mask(3), Geometry.flat(47, 33))
    with pytest.raises(
        InputError, match=r"m\.png: label has 47 rows and 33 columns, its image has 48 and 33"
    ):
        read_label(tmp_path / "m.png", (48, 33))


def test_a_coloured_label_is_refused_and_a_grey_one_in_three_channels_read(tmp_path):
    label = _mask(200).astype(np.uint8)
    PillowImage.fromarray(np.stack([label] * 3, axis=2)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_label(tmp_path / "grey.png"), label)
    PillowImage.fromarray(np.stack([label, label, label // 2], 2)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match=r"colour\.png: a label image holds one integer per pixel"):
        read_label(tmp_path / "colour.png")


def test_whole_numbers_stored_as_float_are_read_and_fractions_refused(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.full((9, 9), 3.0, np.float32))
    assert (read_label(tmp_path / "m.tif") == 3).all()
    tifffile.imwrite(tmp_path / "m.tif", np.full((9, 9), 0.5, np.float32))
    with pytest.raises(InputError, match=r"m\.tif: label values must be whole numbers"):
        read_label(tmp_path / "m.tif")


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
@pytest.mark.parametrize("value", [-1, 2**31])
def test_label_values_out_of_range_are_refused(tmp_path, value, dtype):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((9, 9), value, dtype)), str(tmp_path / "m.nrrd"))
    with pytest.raises(InputError, match=rf"m\.nrrd: label values must lie in 0.*found {value}"):
        read_label(tmp_path / "m.nrrd")


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_a_jpeg_label_is_refused(tmp_path, suffix):
    PillowImage.fromarray(_mask(1).astype(np.uint8)).save(tmp_path / f"m{suffix}")
    with pytest.raises(InputError, match="JPEG changes label values; expected a lossless"):
        read_label(tmp_path / f"m{suffix}")


@pytest.mark.parametrize(
    ("wanted", "image", "expected"),
    [
        (None, "a.png", ".png"),
        (None, "a.jpg", ".png"),
        (None, "a.tif", ".tif"),
        (None, "a.nii.gz", ".nii.gz"),
        (None, "a.dcm", ".nrrd"),
        ("", "a.bmp", ".png"),
        (".nrrd", "a.png", ".nrrd"),
        ("nii.gz", "a.png", ".nii.gz"),
    ],
)
def test_the_result_type_is_the_wanted_one_else_the_images_own(wanted, image, expected):
    assert result_extension(wanted, image) == expected


def test_a_lossy_result_type_is_refused():
    with pytest.raises(InputError, match=r"result_extension '\.jpg' cannot hold a label image"):
        result_extension(".jpg", "a.png")
