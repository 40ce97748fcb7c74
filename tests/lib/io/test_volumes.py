"""Volumes keep every voxel and its place in space; what is no volume is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage
from pydicom.data import get_testdata_file
from volume_samples import ITK_KINDS, OBLIQUE, PRECISION, SHAPE, VOLUME_KINDS, same_grid

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.io.read import image_size, read_image
from lib.io.volumes import header_fields

VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 60000, (*SHAPE, 3)).astype(np.uint16)


def _write(path: Path, voxels: np.ndarray = VOXELS) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, voxels, photometric="rgb" if voxels.ndim == 4 else "minisblack")
        return path
    image = sitk.GetImageFromArray(voxels, isVector=voxels.ndim == 4)
    image.SetSpacing(OBLIQUE.spacing)
    image.SetOrigin(OBLIQUE.origin)
    image.SetDirection(OBLIQUE.direction)
    sitk.WriteImage(image, str(path))
    return path


def _read(path: Path) -> Image:
    return read_image(path, spatial_dims=3)


# --- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_a_volume_reads_as_written(tmp_path, kind, dtype):
    voxels = (VOXELS // 256).astype(dtype)
    path = _write(tmp_path / f"a{kind}", voxels)
    image = _read(path)
    np.testing.assert_array_equal(image.pixels, voxels)
    assert image.pixels.dtype.kind == np.dtype(dtype).kind
    assert (image.shape, image.spatial_dims, image.colour) == (SHAPE, 3, False)
    assert image_size(path) == image.geometry.size == SHAPE[::-1]


@pytest.mark.parametrize("kind", ITK_KINDS)
def test_geometry_is_the_one_in_the_file(tmp_path, kind):
    found = _read(_write(tmp_path / f"a{kind}")).geometry
    assert same_grid(found, OBLIQUE, PRECISION[kind])


def test_the_pages_of_a_tiff_have_unit_spacing_at_the_origin(tmp_path):
    image = _read(_write(tmp_path / "a.tif"))
    assert image.geometry == Geometry.flat(*SHAPE)
    assert image.geometry.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize(
    "layout",
    [
        {"compression": "zlib", "predictor": True},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"metadata": None},
    ],
    ids=lambda layout: next(iter(layout)),
)
def test_tiff_stacks_of_every_layout_read_as_written(tmp_path, layout):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, photometric="minisblack", **layout)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif").pixels, VOXELS)
    assert image_size(tmp_path / "a.tif") == SHAPE[::-1]


def test_a_tiff_stack_compressed_by_lzw_reads_as_written(tmp_path):
    pages = [PillowImage.fromarray(page) for page in VOXELS]
    options = {"save_all": True, "append_images": pages[1:], "compression": "tiff_lzw"}
    pages[0].save(tmp_path / "a.tif", **options)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif").pixels, VOXELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", [".nrrd", ".mha", ".tif"])
def test_a_colour_volume_keeps_its_channels(tmp_path, kind, dtype):
    voxels = (COLOUR // 256).astype(dtype)
    image = _read(_write(tmp_path / f"a{kind}", voxels))
    np.testing.assert_array_equal(image.pixels, voxels)
    assert (image.shape, image.spatial_dims, image.colour) == (SHAPE, 3, True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_stack_with_alpha_drops_it(tmp_path, dtype):
    voxels = np.concatenate((COLOUR, COLOUR[..., :1]), axis=-1).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(_read(tmp_path / "a.tif").pixels, voxels[..., :3])


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
def test_a_volume_stored_with_a_fourth_axis_of_one_reads_as_three(tmp_path, kind):
    image = sitk.GetImageFromArray(VOXELS[np.newaxis], isVector=False)
    image.SetSpacing((0.5, 0.25, 2.0, 1.0))
    sitk.WriteImage(image, str(tmp_path / f"a{kind}"))
    found = _read(tmp_path / f"a{kind}")
    np.testing.assert_array_equal(found.pixels, VOXELS)
    assert found.geometry.spacing == (0.5, 0.25, 2.0)
    assert image_size(tmp_path / f"a{kind}") == SHAPE[::-1]


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_of_either_byte_order_is_read_whole_or_refused(tmp_path, order):
    path = tmp_path / "a.nii"
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(np.float32).newbyteorder(order))
    nibabel.save(nibabel.Nifti1Image(VOXELS.T.astype(np.float32), np.eye(4), header), path)
    np.testing.assert_array_equal(_read(path).pixels, VOXELS)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"^a\.nii: truncated, 16798 of 16800 bytes of pixels"):
        _read(path)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".png", ".jpg", ".bmp", ".tif", *ITK_KINDS])
@pytest.mark.parametrize("shape", [(20, 30), (1, 20, 30)])
def test_a_2d_image_is_no_volume(tmp_path, kind, shape):
    path, pixels = tmp_path / f"flat{kind}", np.zeros(shape, dtype=np.uint8)
    if kind in (".png", ".jpg", ".bmp"):
        PillowImage.fromarray(pixels.reshape(20, 30)).save(path)
    elif kind == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    with pytest.raises(
        InputError, match=rf"^flat{kind}: (a 2D picture|a TIFF of one page|one slice).*, expected a"
    ):
        _read(path)
    assert read_image(path).shape == (20, 30)


def test_a_dicom_file_of_one_frame_is_no_volume():
    path = Path(get_testdata_file("MR_small.dcm", download=False))
    with pytest.raises(InputError, match=r"^MR_small\.dcm: a DICOM file of .*, expected a volume;"):
        _read(path)


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz"])
def test_a_series_of_volumes_is_refused(tmp_path, kind):
    series = sitk.GetImageFromArray(np.stack([VOXELS] * 2), isVector=False)
    sitk.WriteImage(series, str(tmp_path / f"a{kind}"))
    with pytest.raises(InputError, match=r"a series of 30 x 20 x 7 x 2, expected one volume; exp"):
        _read(tmp_path / f"a{kind}")


@pytest.mark.parametrize("values", [2, 4])
def test_layers_are_refused_and_none_is_dropped(tmp_path, values):
    layers = sitk.GetImageFromArray(np.zeros((*SHAPE, values), np.uint8), isVector=True)
    sitk.WriteImage(layers, str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match=rf"^a.nrrd: has {values} channels without names and none"):
        _read(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    "other", [np.zeros((20, 31), np.uint16), np.zeros((20, 30), np.uint8)], ids=["size", "type"]
)
def test_unlike_pages_are_refused(tmp_path, other):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page in (VOXELS[0], VOXELS[1], other):
            tiff.write(page, photometric="minisblack")
    with pytest.raises(InputError, match=r"^a\.tif: page 3 holds uint\d+ of shape \(20, 3.\), the"):
        _read(tmp_path / "a.tif")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("kind", [".nrrd", ".nii", ".nii.gz", ".mha"])
def test_a_truncated_volume_is_refused_with_its_name(tmp_path, kind, share):
    path = _write(tmp_path / f"cut{kind}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"^cut{kind}: .*(damaged|truncated)"):
        _read(path)


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"bigtiff": True},
        {"ome": True, "metadata": {"axes": "ZYX"}},
    ],
)
def test_a_truncated_tiff_stack_is_refused_or_whole(tmp_path, layout):
    """Pillow and tifffile return the first pages of a stack whose chain of pages breaks off."""
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, VOXELS, photometric="minisblack", **layout)
    content = path.read_bytes()
    refused = 0
    for length in np.linspace(1, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(_read(path).pixels, VOXELS)
        except InputError as error:
            assert str(error).startswith("cut.tif: "), error
            refused += 1
    assert refused > 30


def test_a_tiff_whose_pages_form_a_circle_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOXELS, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[-1].offset
        entries = len(tiff.pages[-1].tags)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    end = last + 2 + 12 * entries
    content[end : end + 4] = first.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"^a\.tif: damaged, its pages form a circle"):
        _read(tmp_path / "a.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_voxels_that_are_not_finite_are_refused(tmp_path, kind, value):
    voxels = np.ones(SHAPE, dtype=np.float32)
    voxels[3, 4:6, 5] = value
    path = _write(tmp_path / f"holes{kind}", voxels)
    with pytest.raises(InputError, match=r"2 of 4200 pixel values are NaN or infinite"):
        _read(path)


@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_the_limit_counts_voxels(tmp_path, kind):
    path = _write(tmp_path / f"a{kind}")
    assert read_image(path, max_pixels=4200, spatial_dims=3).shape == SHAPE
    with pytest.raises(InputError, match="30 x 20 x 7 pixels are too many; at most 4199 are acc"):
        read_image(path, max_pixels=4199, spatial_dims=3)


def test_a_compressed_nifti_file_is_read_itself_not_a_plain_one_beside_it(tmp_path):
    """ITK alone reads the pixels of a.nii for both."""
    for name, value in (("a.nii", 7), ("a.nii.gz", 9)):
        sitk.WriteImage(sitk.GetImageFromArray(np.full((9, 9), value, np.uint8)), tmp_path / name)
    assert {int(v) for v in read_image(tmp_path / "a.nii.gz").pixels.ravel()} == {9}
    assert {int(v) for v in read_image(tmp_path / "a.nii").pixels.ravel()} == {7}


def test_keys_that_are_no_text_are_passed_over(tmp_path):
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.uint8)), str(path), False)
    head, data = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(head + b"\nno\xff\xfetext:=a\nSegment0_Name:=x\n\n" + data)
    assert header_fields(path).metadata["Segment0_Name"] == "x"
