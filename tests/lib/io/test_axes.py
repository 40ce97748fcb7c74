"""A TIFF reads by the axes that it tells of: the channel asked for, as image, volume or loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.image import MAX_VOXELS, Image
from lib.io.channels import SeveralChannelsError
from lib.io.read import check_readable, image_size, read_image

ROWS, COLUMNS = 32, 48
MINISBLACK = {"photometric": "minisblack"}
CONTIGUOUS = {**MINISBLACK, "planarconfig": "contig"}
SEPARATE = {**MINISBLACK, "planarconfig": "separate"}


def _pixels(*lengths: int, dtype: Any = np.uint16) -> np.ndarray:
    shape = (*lengths, ROWS, COLUMNS)
    return np.random.default_rng(len(lengths)).integers(0, 250, shape).astype(dtype)


def _read(path: Path, channel: str = "") -> Image:
    return read_image(path, MAX_VOXELS, None, channel)


# --- channels ------------------------------------------------------------------------------------

LAYOUTS: dict[str, dict[str, Any]] = {
    "pages": {**MINISBLACK, "metadata": {"axes": "CYX"}},
    "separate planes": {**SEPARATE, "metadata": {"axes": "CYX"}},
    "separate planes without metadata": {**SEPARATE, "metadata": None},
    "ome": {**MINISBLACK, "ome": True, "metadata": {"axes": "CYX"}},
    "imagej": {"imagej": True, "metadata": {"axes": "CYX"}},
    "imagej composite": {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}},
    "big-endian": {**MINISBLACK, "byteorder": ">", "metadata": {"axes": "CYX"}},
    "bigtiff": {**MINISBLACK, "bigtiff": True, "metadata": {"axes": "CYX"}},
    "tiles": {**MINISBLACK, "tile": (16, 16), "metadata": {"axes": "CYX"}},
    "compressed planes": {**SEPARATE, "compression": "zlib", "predictor": True, "metadata": None},
}


@pytest.mark.parametrize("count", [2, 4, 5])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_each_channel_reads_as_written_and_none_is_guessed(tmp_path, layout, count):
    pixels, path = _pixels(count), tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **layout)
    with pytest.raises(SeveralChannelsError, match=rf"^a\.tif: has {count} channels without names"):
        _read(path)
    for number in range(1, count + 1):
        image = _read(path, str(number))
        np.testing.assert_array_equal(image.pixels, pixels[number - 1])
        assert image.pixels.dtype.isnative
        assert (image.channel, image.colour, image.facts) == (
            str(number),
            False,
            {"channel": str(number)},
        )
    assert image_size(path) == (COLUMNS, ROWS)
    check_readable(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("count", [2, 4, 5])
def test_samples_that_are_not_marked_as_alpha_are_channels(tmp_path, count, dtype):
    pixels = _pixels(count, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(pixels, 0, -1), **CONTIGUOUS)
    with pytest.raises(SeveralChannelsError):
        read_image(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", channel=str(count))
    np.testing.assert_array_equal(image.pixels, pixels[-1])
    assert image.pixels.dtype == dtype


def test_a_fourth_sample_of_colour_is_a_channel_unless_marked_as_alpha(tmp_path):
    pixels = np.moveaxis(_pixels(4), 0, -1)
    for kind in ("unspecified", "unassalpha", "assocalpha"):
        tifffile.imwrite(tmp_path / f"{kind}.tif", pixels, photometric="rgb", extrasamples=[kind])
    with pytest.raises(SeveralChannelsError, match=r"4 channels \(1 red, 2 green, 3 blue, 4 unn"):
        read_image(tmp_path / "unspecified.tif")
    for kind in ("unassalpha", "assocalpha"):
        image = read_image(tmp_path / f"{kind}.tif")
        np.testing.assert_array_equal(image.pixels, pixels[..., :3])
        chosen = read_image(tmp_path / f"{kind}.tif", channel="4")
        np.testing.assert_array_equal(chosen.pixels, pixels[..., 3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_marked_alpha_is_grey(tmp_path, dtype):
    pixels = _pixels(2, dtype=dtype)
    written = np.moveaxis(pixels, 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", written, **CONTIGUOUS, extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, pixels[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_with_alpha_as_a_plane_of_its_own_is_grey(tmp_path, dtype):
    pixels = _pixels(2, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **SEPARATE, extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, pixels[0])


@pytest.mark.parametrize("count", [3, 4, 5])
@pytest.mark.parametrize("options", [CONTIGUOUS, SEPARATE], ids=["pixels", "planes"])
def test_several_samples_that_are_all_marked_as_alpha_are_channels(tmp_path, options, count):
    pixels = _pixels(count, dtype=np.uint8)
    written = pixels if options is SEPARATE else np.moveaxis(pixels, 0, -1)
    tifffile.imwrite(
        tmp_path / "a.tif", written, **options, extrasamples=["unassalpha"] * (count - 1)
    )
    with pytest.raises(SeveralChannelsError, match=f"has {count} channels without names"):
        read_image(tmp_path / "a.tif")
    for number in range(count):
        image = read_image(tmp_path / "a.tif", channel=str(number + 1))
        np.testing.assert_array_equal(image.pixels, pixels[number])


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_samples_of_which_no_tag_tells_are_channels(tmp_path, photometric):
    pixels, path = _pixels(4, dtype=np.uint8), tmp_path / "a.tif"
    options = {**CONTIGUOUS, "photometric": photometric, "metadata": None}
    tifffile.imwrite(path, np.moveaxis(pixels, 0, -1), **options)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages.first.tags["ExtraSamples"].offset
    content = bytearray(path.read_bytes())
    content[start : start + 2] = (337).to_bytes(2, "little")  # a tag of no meaning
    path.write_bytes(content)
    with pytest.raises(SeveralChannelsError, match="has 4 channels"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, channel="4").pixels, pixels[3])


@pytest.mark.parametrize("planes", [True, False])
def test_colour_stays_colour_and_gives_a_colour_if_asked(tmp_path, planes):
    pixels = _pixels(3)
    written = pixels if planes else np.moveaxis(pixels, 0, -1)
    config = "separate" if planes else "contig"
    tifffile.imwrite(tmp_path / "a.tif", written, photometric="rgb", planarconfig=config)
    image = read_image(tmp_path / "a.tif")
    assert (image.colour, image.channel) == (True, "")
    blue = read_image(tmp_path / "a.tif", channel="Blue")
    assert (blue.colour, blue.channel) == (False, "blue")
    np.testing.assert_array_equal(blue.pixels, pixels[2])


def test_planes_that_are_told_to_be_channels_are_no_colour(tmp_path):
    pixels = _pixels(3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", metadata={"axes": "CYX"})
    with pytest.raises(SeveralChannelsError, match="has 3 channels"):
        read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channel="3").pixels, pixels[2])


def test_a_channel_with_a_colour_table_reads_as_its_values(tmp_path):
    pages = [PillowImage.fromarray(page) for page in _pixels(2, dtype=np.uint8)]
    tables = np.zeros((3, 256), np.uint16)
    tables[2] = np.arange(256) * 257
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=False) as tiff:
        for page in pages:
            tiff.write(np.asarray(page), photometric="palette", colormap=tables)
    found = read_image(tmp_path / "a.tif", channel="2").pixels
    np.testing.assert_array_equal(found, np.asarray(pages[1]))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_pages_of_every_compression_read_as_channels_if_asked(tmp_path, compression):
    pixels = _pixels(3, dtype=np.uint8)
    first, *others = (PillowImage.fromarray(page) for page in pixels)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channel="2").pixels, pixels[1])


# --- names ---------------------------------------------------------------------------------------

NAMES = ["GFP", "DAPI"]


def _ome(path: Path, pixels: np.ndarray, axes: str) -> None:
    channel = {"Name": NAMES}
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": axes, "Channel": channel})


def _imagej(path: Path, pixels: np.ndarray, axes: str) -> None:
    planes = pixels.size // (ROWS * COLUMNS)
    labels = [f"c:{n % 2 + 1}/2 z:1/1 - {NAMES[n % 2]}" for n in range(planes)]
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes, "Labels": labels})


def _shaped(path: Path, pixels: np.ndarray, axes: str) -> None:
    metadata = {"axes": axes, "Channel": {"Name": NAMES}}
    tifffile.imwrite(path, pixels, **MINISBLACK, metadata=metadata)


@pytest.mark.parametrize("write", [_ome, _imagej, _shaped])
def test_channels_are_chosen_by_name_in_any_case(tmp_path, write):
    pixels = _pixels(2)
    write(tmp_path / "a.tif", pixels, "CYX")
    for name in ("DAPI", " dapi"):
        image = read_image(tmp_path / "a.tif", channel=name)
        np.testing.assert_array_equal(image.pixels, pixels[1])
        assert image.channel == "DAPI"
    assert read_image(tmp_path / "a.tif", channel="1").channel == "GFP"
    with pytest.raises(
        SeveralChannelsError, match=r"2 channels \(1 GFP, 2 DAPI\).*probably 'DAPI'"
    ):
        read_image(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"no channel 'Cy5', it has 2 channels \(1 GFP, 2 DAPI\)"):
        read_image(tmp_path / "a.tif", channel="Cy5")


def test_labels_that_name_no_channel_are_no_names(tmp_path):
    metadata = {"axes": "CYX", "Labels": ["plate.czi", "plate.czi"]}
    tifffile.imwrite(tmp_path / "a.tif", _pixels(2), imagej=True, metadata=metadata)
    with pytest.raises(SeveralChannelsError, match="2 channels without names"):
        read_image(tmp_path / "a.tif")


# --- volumes and loops ---------------------------------------------------------------------------


@pytest.mark.parametrize("write", [_ome, _imagej, _shaped])
@pytest.mark.parametrize("axes", ["ZCYX", "TCYX", "CZYX"])
def test_a_channel_of_slices_or_frames_is_a_volume_or_a_loop(tmp_path, write, axes):
    if write is _imagej and axes == "CZYX":
        pytest.skip("ImageJ keeps channels inside slices")
    lengths = [2 if axis == "C" else 4 for axis in axes[:2]]
    pixels = _pixels(*lengths)
    write(tmp_path / "a.tif", pixels, axes)
    image = _read(tmp_path / "a.tif", "2")
    np.testing.assert_array_equal(image.pixels, pixels.take(1, axes.index("C")))
    assert image.over_time == ("T" in axes)
    assert image_size(tmp_path / "a.tif") == (COLUMNS, ROWS, 4)
    with pytest.raises(InputError, match="a volume of 48 x 32 x 4, expected one 2D image"):
        read_image(tmp_path / "a.tif", channel="2")
    check_readable(tmp_path / "a.tif")


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
def test_slices_and_frames_of_one_channel_need_no_choice(tmp_path, axes):
    pixels = _pixels(5)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **MINISBLACK, metadata={"axes": axes})
    image = _read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert (image.over_time, image.facts) == (axes == "TYX", {})


def test_a_channel_is_no_volume_where_one_is_expected(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _pixels(5), **MINISBLACK, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"one slice of 48 x 32, expected a volume"):
        read_image(tmp_path / "a.tif", spatial_dims=3, channel="1")


def test_time_and_slices_at_once_are_refused_not_stacked(tmp_path):
    pixels = _pixels(2, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **MINISBLACK, metadata={"axes": "TZYX"})
    assert image_size(tmp_path / "a.tif") == (COLUMNS, ROWS, 3, 2)
    with pytest.raises(InputError, match=r"a series of 48 x 32 x 3 x 2, expected one volume"):
        _read(tmp_path / "a.tif")


def test_other_axes_are_refused_with_their_letters(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _pixels(2), **MINISBLACK, metadata={"axes": "HYX"})
    with pytest.raises(InputError, match=r"^a\.tif: axes HYX of 2 x 32 x 48, expected rows and"):
        _read(tmp_path / "a.tif")


def test_pages_of_which_nothing_is_told_are_slices_unless_a_number_is_asked_for(tmp_path):
    pixels = _pixels(3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **MINISBLACK)
    image = _read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.notes[0].startswith("its 3 pages were read as slices, as nothing in the file")
    chosen = _read(tmp_path / "a.tif", "2")
    np.testing.assert_array_equal(chosen.pixels, pixels[1])
    assert image_size(tmp_path / "a.tif", "2") == (COLUMNS, ROWS)
    tifffile.imwrite(tmp_path / "b.tif", _pixels(9), **MINISBLACK)
    assert _read(tmp_path / "b.tif").notes == ()


def test_pages_written_one_by_one_are_slices_too(tmp_path):
    pixels = _pixels(3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page in pixels:
            tiff.write(page, **MINISBLACK)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif").pixels, pixels)
    np.testing.assert_array_equal(_read(tmp_path / "a.tif", "3").pixels, pixels[2])


def test_planes_behind_one_page_are_read_and_a_missing_one_refused(tmp_path):
    pixels, path = _pixels(4, 2), tmp_path / "a.tif"
    description = "ImageJ=1.54f\nimages=8\nchannels=2\nslices=4\nhyperstack=true\n"
    tifffile.imwrite(path, pixels[0, 0], metadata=None, description=description, software="")
    with open(path, "ab") as file:  # as ImageJ writes files above 4 GB
        file.write(pixels.reshape(8, ROWS, COLUMNS)[1:].tobytes())
    np.testing.assert_array_equal(_read(path, "2").pixels, pixels[:, 1])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"^a\.tif: tells of 8 planes, found 1; it is truncated"):
        _read(path)


def test_planes_in_other_files_are_named_and_not_made_up(tmp_path):
    _ome(tmp_path / "a.ome.tif", _pixels(2, 4), "CZYX")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        text, page = tiff.ome_metadata, tiff.pages[0].asarray()
    tifffile.imwrite(tmp_path / "b.ome.tif", page, **MINISBLACK, description=text, metadata=None)
    with pytest.raises(InputError, match=r"^b\.ome\.tif: 7 of its 8 planes are not in the file"):
        _read(tmp_path / "b.ome.tif", "1")


def test_a_truncated_file_of_several_channels_is_refused(tmp_path):
    for name, layout in LAYOUTS.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, _pixels(4), **layout)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(InputError):
            _read(path, "4")


@pytest.mark.parametrize("layout", [{"ome": True}, {}, {"imagej": True}])
def test_the_name_of_the_only_channel_may_be_asked_for(tmp_path, layout):
    named = {"Labels": ["DAPI"]} if "imagej" in layout else {"Channel": {"Name": ["DAPI"]}}
    metadata = {"axes": "CYX", **named}
    pixels = _pixels(1)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=metadata, **layout)
    assert read_image(tmp_path / "a.tif").facts == {}
    image = read_image(tmp_path / "a.tif", channel="dapi")
    np.testing.assert_array_equal(image.pixels, pixels[0])
    assert image.channel == "DAPI"
    with pytest.raises(InputError, match="no channel 'GFP', it has one channel"):
        read_image(tmp_path / "a.tif", channel="GFP")
