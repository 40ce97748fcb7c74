"""TIFFs larger than memory, by rows, and label images written by rows."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from lib.errors import InputError
from lib.io.label_pyramid import write_label_pyramid
from lib.io.read import read_image
from lib.io.rows import large_image

GREY = np.random.default_rng(0).integers(0, 60000, (210, 170)).astype(np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 255, (90, 130, 3)).astype(np.uint8)
WAYS = [
    {},
    {"rowsperstrip": 16},
    {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
    {"tile": (32, 48)},
    {"tile": (64, 32), "compression": "zlib"},
    {"byteorder": ">", "rowsperstrip": 7},
    {"byteorder": ">", "tile": (32, 32)},
    {"bigtiff": True, "tile": (16, 16)},
]


def _check(path, expected, channel=""):
    image = large_image(path, 100, channel)
    assert image.shape == expected.shape[:2]
    assert image.colour == (expected.ndim == 3)
    for start, stop in ((0, 1), (5, 70), (31, 33), (60, len(expected)), (0, len(expected))):
        np.testing.assert_array_equal(image.read(start, stop), expected[start:stop])
    return image


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_rows_are_those_of_the_whole_image(tmp_path, way, pixels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else None, **way)
    _check(path, pixels)
    np.testing.assert_array_equal(read_image(path).pixels, pixels)
    assert large_image(path, pixels.size) is None, "it is not large"


def test_a_colour_is_a_channel_where_it_is_asked_for(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COLOUR, photometric="rgb", tile=(32, 32))
    assert _check(path, COLOUR[..., 1], "Green").channel == "green"
    with pytest.raises(InputError, match="no channel 'DAPI'"):
        large_image(path, 100, "DAPI")
    (tmp_path / "channels.csv").write_text("*,DAPI\n")
    assert _check(path, COLOUR).channel == "", "a pattern leaves colour alone"
    grey = tmp_path / "b.tif"
    tifffile.imwrite(grey, GREY)
    with pytest.raises(InputError, match="no channel 'red', it has one channel"):
        large_image(grey, 100, "red")


def test_planes_of_colour_lie_apart(tmp_path):
    path = tmp_path / "a.tif"
    planes = np.moveaxis(COLOUR, 2, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", tile=(32, 32))
    _check(path, COLOUR)


def test_a_channel_of_an_ome_tiff_with_a_pyramid_and_its_pixel_size(tmp_path):
    path, both = tmp_path / "a.ome.tif", np.stack((GREY, GREY // 2))
    told = {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "GFP"]},
        **{"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25},
    }
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(both, metadata=told, subifds=1, tile=(64, 64), compression="zlib")
        writer.write(both[:, ::2, ::2], subfiletype=1, tile=(64, 64))
    for asked, expected in (("GFP", both[1]), ("1", both[0])):
        image = _check(path, expected, asked)
        assert image.channel == ("GFP" if asked == "GFP" else "DAPI")
        assert image.spacing == pytest.approx((5e-4, 2.5e-4))
    with pytest.raises(InputError, match="2 channels"):
        large_image(path, 100)


def test_what_cannot_be_read_by_rows_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack((GREY, GREY)), metadata={"axes": "ZYX"}, imagej=True)
    with pytest.raises(InputError, match="2 planes of 170 x 210 pixels, expected one"):
        large_image(path, 100)
    tifffile.imwrite(path, GREY, extratags=[(274, "H", 1, 3, False)])
    with pytest.raises(InputError, match="orientation"):
        large_image(path, 100)
    monkeypatch.setattr("lib.io.rows.MOST_SEGMENT_BYTES", 1000)
    tifffile.imwrite(path, GREY, compression="zlib")
    with pytest.raises(InputError, match="a strip or tile: .* pixels of 2 bytes take"):
        large_image(path, 100)
    monkeypatch.setattr("lib.io.rows.MOST_PIXELS", 1000)
    with pytest.raises(InputError, match="170 x 210 pixels are too many"):
        large_image(path, 100)


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, tile=(32, 32), compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[-1]
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    image = large_image(path, 100)
    image.read(0, 32)
    with pytest.raises(InputError, match=r"a\.tif: damaged"):
        image.read(190, 210)


@pytest.mark.parametrize("rows", [1, 100, 5000])
def test_a_label_pyramid_holds_the_labels(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("lib.io.label_pyramid.SMALLEST", 100)
    monkeypatch.setattr("lib.io.label_pyramid.TILE", 64)
    labels = np.random.default_rng(0).integers(0, 10**6, (333, 250)).astype(np.int32)
    path = tmp_path / "a.tif"
    bands = (labels[start : start + rows] for start in range(0, len(labels), rows))
    write_label_pyramid(path, bands, labels.shape, (5e-4, 2.5e-4))
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        assert tiff.is_ome
        assert [level.shape for level in levels] == [(333, 250), (167, 125), (84, 63)]
        for step, level in zip((1, 2, 4), levels, strict=True):
            np.testing.assert_array_equal(level.asarray(), labels[::step, ::step])
    assert large_image(path, 100).spacing == pytest.approx((5e-4, 2.5e-4))
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_nothing_is_left_of_a_pyramid_that_fails(tmp_path):
    def bands():
        yield np.zeros((10, 90), np.int32)
        raise InputError("no")

    with pytest.raises(InputError):
        write_label_pyramid(tmp_path / "a.tif", bands(), (50, 90))
    assert not list(tmp_path.iterdir())
