"""What is not one readable 2D image is refused by `InputError` with its name and the cause."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.data.transforms import prepare_image
from lib.errors import InputError
from lib.io.read import image_extensions, image_size, read_image
from lib.tasks.image_spec import InputSpec

PIXELS = np.random.default_rng(1).integers(0, 60000, (40, 50)).astype(np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 60000, (40, 50, 3)).astype(np.uint16)
ITK_KINDS = (".nrrd", ".nii", ".nii.gz", ".mha")


def _write(path: Path) -> Path:
    if path.suffix in (".jpg", ".jpeg", ".bmp"):
        PillowImage.fromarray((PIXELS >> 8).astype(np.uint8)).save(path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(PIXELS), str(path))
    return path


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("kind", [".png", ".jpg", ".bmp", ".tif", *ITK_KINDS])
def test_a_truncated_file_is_refused_with_its_name(tmp_path, kind, share):
    path = _write(tmp_path / f"cut{kind}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"^cut{kind}: .*(damaged|truncated)"):
        read_image(path)


@pytest.mark.parametrize("layout", [{}, {"planarconfig": "separate"}, {"compression": "zlib"}])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_truncated_16_bit_colour_tiff_is_refused(tmp_path, layout, share):
    path = tmp_path / "cut.tif"
    pixels = np.moveaxis(COLOUR, 2, 0) if "planarconfig" in layout else COLOUR
    tifffile.imwrite(path, pixels, photometric="rgb", **layout)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"^cut\.tif: damaged"):
        read_image(path)


def test_a_16_bit_colour_png_that_lost_its_last_bytes_is_refused(tmp_path):
    path = tmp_path / "cut.png"
    sitk.WriteImage(sitk.GetImageFromArray(COLOUR, isVector=True), str(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"^cut\.png: damaged"):
        read_image(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_of_either_byte_order_is_read_whole_or_refused(tmp_path, order):
    path = tmp_path / "a.nii"
    data = PIXELS.astype(f"{order}i2")
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(f"{order}i2")
    nibabel.save(nibabel.Nifti1Image(data.T[:, :, np.newaxis], np.eye(4), header), path)
    np.testing.assert_array_equal(read_image(path).pixels, PIXELS.astype(np.int16))
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"^a\.nii: truncated"):
        read_image(path)


@pytest.mark.parametrize("kind", image_extensions())
def test_an_empty_file_is_refused(tmp_path, kind):
    path = tmp_path / f"empty{kind}"
    path.touch()
    with pytest.raises(InputError, match=rf"^empty{kind}: the file is empty \(0 bytes\)"):
        read_image(path)
    with pytest.raises(InputError, match="0 bytes"):
        image_size(path)


@pytest.mark.parametrize("content", [b"these are words, not pixels", bytes(range(256)) * 2])
@pytest.mark.parametrize("kind", image_extensions())
def test_something_else_under_the_name_of_an_image_is_refused(tmp_path, kind, content):
    path = tmp_path / f"words{kind}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^words{kind}: (damaged|not a DICOM)") as refusal:
        read_image(path)
    assert str(tmp_path) not in str(refusal.value), "folders are nobody's business"
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match=f"^words{kind}: "):
        image_size(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("absent.png", "folder.png"):
        with pytest.raises(InputError, match=f"^{name}: no such file"):
            read_image(tmp_path / name)


def test_an_unknown_type_is_refused_and_the_known_ones_named(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    with pytest.raises(InputError, match=r"^a\.svg: not a supported image type; expected .*\.png"):
        read_image(tmp_path / "a.svg")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [".tif", ".nrrd", ".nii.gz"])
def test_values_that_are_not_finite_are_refused(tmp_path, kind, value):
    pixels = np.ones((32, 32), dtype=np.float32)
    pixels[3:5, 3] = value
    path = tmp_path / f"holes{kind}"
    if kind == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    with pytest.raises(InputError, match=r"2 of 1024 pixel values are NaN or infinite"):
        read_image(path)


def test_values_beyond_32_bit_floats_are_refused(tmp_path):
    pixels = np.full((32, 32), 1e300)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="1024 of 1024 pixel values"):
        read_image(tmp_path / "a.nrrd")


def test_complex_values_are_refused(tmp_path):
    nibabel.save(
        nibabel.Nifti1Image(np.ones((32, 32, 1), np.complex64), np.eye(4)), tmp_path / "a.nii"
    )
    with pytest.raises(InputError, match=r"^a\.nii: holds values of type complex64"):
        read_image(tmp_path / "a.nii")


def test_a_png_header_of_100000_x_100000_is_refused_before_decoding(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    content = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(
        InputError, match=r"^bomb\.png: 100000 x 100000 pixels are too many; at most"
    ):
        read_image(tmp_path / "bomb.png")


def test_a_nrrd_header_of_100000_x_100000_is_refused_before_decoding(tmp_path):
    (tmp_path / "bomb.nrrd").write_text(
        "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 100000 100000\nencoding: raw\n\n"
    )
    with pytest.raises(InputError, match=r"^bomb\.nrrd: 100000 x 100000 pixels are too many"):
        read_image(tmp_path / "bomb.nrrd")


@pytest.mark.parametrize("kind", [".png", ".tif", ".nrrd", ".nii.gz"])
def test_the_pixel_limit_can_be_set(tmp_path, kind):
    path = _write(tmp_path / f"a{kind}")
    assert read_image(path, max_pixels=2000).shape == (40, 50)
    with pytest.raises(InputError, match="50 x 40 pixels are too many; at most 1999"):
        read_image(path, max_pixels=1999)


def test_a_multi_page_tiff_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([PIXELS] * 3), photometric="minisblack")
    with pytest.raises(InputError, match=r"^a\.tif: holds 3 pages, expected one 2D image"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ITK_KINDS)
def test_a_volume_is_refused(tmp_path, kind):
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([PIXELS] * 3)), str(tmp_path / f"a{kind}"))
    with pytest.raises(InputError, match=rf"^a{kind}: a volume of 50 x 40 x 3, expected one 2D"):
        read_image(tmp_path / f"a{kind}")


def test_five_channels_of_which_none_is_chosen_are_refused(tmp_path):
    pixels = np.zeros((40, 50, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=r"^a.tif: has 5 channels without names and none was chos"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", [".png", ".nrrd", ".bmp"])
def test_a_single_pixel_is_read_but_no_input_for_a_task(tmp_path, kind):
    path = tmp_path / f"dot{kind}"
    pixels = np.full((1, 1), 9, dtype=np.uint8)
    if kind == ".nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    else:
        PillowImage.fromarray(pixels).save(path)
    image = read_image(path)
    with pytest.raises(InputError, match=rf"^dot{kind}: 1 x 1 pixels, expected at least 8 rows"):
        prepare_image(image, InputSpec())
