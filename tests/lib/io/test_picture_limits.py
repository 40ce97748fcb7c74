"""Pictures and TIFFs are opened and decoded within limits, whatever they claim."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.image import MAX_VOXELS
from lib.io import opening
from lib.io.layers import read_label_file
from lib.io.opening import MAX_PAGES, count_pages
from lib.io.read import image_geometry, image_size, read_image


def read_any(path: Path) -> object:
    return read_image(path, MAX_VOXELS, None)


READERS = (image_size, image_geometry, read_any)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, columns: int, rows: int, *more: bytes, bits: int = 8, colour: int = 0) -> Path:
    """Write a PNG of zeros with further chunks; the pixels of a large one are left out."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, bits, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(min((columns + 1) * rows, 10_000))))
    content = (b"\x89PNG\r\n\x1a\n", header, *more, data, chunk(b"IEND", b""))
    path.write_bytes(b"".join(content))
    return path


def retagged(path: Path, **values: int) -> Path:
    """Overwrite the first value of tags of the first page of a TIFF."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name, value in values.items():
            tag = tiff.pages.first.tags[name]
            code = {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
            struct.pack_into(tiff.byteorder + code, content, tag.valueoffset, value)
    path.write_bytes(content)
    return path


def test_thousands_of_pages_are_read_in_seconds_and_more_are_refused(tmp_path, timed):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((2000, 8, 8), np.uint8), photometric="minisblack", metadata=None
    )
    with timed(8):
        assert read_any(path).shape == (2000, 8, 8)
    tifffile.imwrite(
        path, np.zeros((MAX_PAGES + 1, 1, 1), np.uint8), photometric="minisblack", metadata=None
    )
    for read in (*READERS, count_pages, lambda file: read_label_file(file, 3)):
        refused = pytest.raises(InputError, match=rf"^a\.tif: holds more than {MAX_PAGES} pages")
        with timed(2), refused:
            read(path)


def test_pages_in_a_circle_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        start, _, last = (page.offset for page in tiff.pages)
        entries = len(tiff.pages[2].tags)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, last + 2 + 12 * entries, start)
    path.write_bytes(content)
    for read in READERS:
        with pytest.raises(InputError, match=r"^a\.tif: damaged, its pages form a circle"):
            read(path)


@pytest.mark.parametrize("field", ["first page", "entries of a page"])
def test_pages_beyond_all_that_can_be_sought_are_refused(tmp_path, field):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint8), bigtiff=True, metadata=None)
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<Q", content, 8)
    struct.pack_into("<Q", content, 8 if field == "first page" else first, 2**63 + 5)
    path.write_bytes(content)
    for read in (*READERS, count_pages, lambda file: read_label_file(file, 2)):
        with pytest.raises(InputError, match=r"^a\.tif: "):
            read(path)


@pytest.mark.parametrize(
    "changed",
    [{"Z": 10**9}, {"T": 10**5, "C": 10**5}],
    ids=["slices", "times and channels"],
)
def test_planes_that_ome_only_tells_of_are_not_listed(tmp_path, changed):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((2, 8, 8), np.uint8), ome=True, metadata={"axes": "CYX"})
    with tifffile.TiffFile(path) as tiff:
        text = tiff.ome_metadata
    for axis, size in changed.items():
        text = re.sub(rf'Size{axis}="\d+"', f'Size{axis}="{size}"', text)
    tifffile.imwrite(
        path,
        np.zeros((2, 8, 8), np.uint8),
        description=text.encode(),
        metadata=None,
        photometric="minisblack",
    )
    for read in READERS:
        with pytest.raises(InputError, match=r"^a\.ome\.tif: tells of \d+ planes, at most 1000000"):
            read(path)


def with_strip(path: Path, strip: bytes, compression: str) -> Path:
    """Write a TIFF of four channels, the first of which is a strip of these bytes."""
    pixels = np.random.default_rng(0).integers(0, 255, (4, 300, 300), dtype=np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack",
        planarconfig="separate",
        compression=compression,
        rowsperstrip=300,
        metadata=None,
    )
    end = path.stat().st_size
    retagged(path, StripOffsets=end, StripByteCounts=len(strip))
    path.write_bytes(path.read_bytes() + strip)
    return path


def test_a_strip_that_inflates_to_more_than_its_page_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_HARMLESS", 1_000_000)
    bomb = with_strip(tmp_path / "a.tif", zlib.compress(bytes(200_000_000)), "zlib")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"^a\.tif: inflates to more than 1000000 bytes"):
        read_image(bomb, channel="1")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_strip_that_could_but_does_not_inflate_to_more_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_HARMLESS", 10_000)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8)
    strip = zlib.compress(pixels.tobytes())
    found = read_image(with_strip(tmp_path / "a.tif", strip, "zlib"), channel="1")
    np.testing.assert_array_equal(found.pixels, pixels)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_texts_and_profiles_of_a_png_are_not_inflated_without_end(tmp_path, kind):
    inflating = zlib.compress(bytes(300_000_000))
    head = b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0"
    path = png(tmp_path / "a.png", 64, 64, chunk(kind, head + inflating))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"^a\.png: damaged .*too large"):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


def test_more_bytes_than_are_decoded_are_refused_by_the_header(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 3)), photometric="rgb")
    retagged(path, ImageWidth=8192, ImageLength=8192)
    with pytest.raises(InputError, match=r"^a\.tif: .* take 1611 MB when decoded"):
        read_image(path)


def test_a_tile_far_larger_than_its_picture_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(16, 16))
    retagged(path, TileWidth=65520, TileLength=65520)
    with pytest.raises(InputError, match=r"^a\.tif, a tile: 65520 x 65520 pixels"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_only_the_types_that_are_read_are_parsed_whatever_the_name(tmp_path, name):
    path = tmp_path / name
    PillowImage.fromarray(np.zeros((8, 8), np.uint8)).save(path, format="GIF")
    with pytest.raises(InputError, match=rf"^{name}: damaged or not an image of its type"):
        read_image(path)
    PillowImage.fromarray(np.full((8, 8), 7, np.uint8)).save(path, format="PNG")
    assert (read_image(path).pixels == 7).all()


def test_a_label_of_more_channels_than_are_passed_over_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((65, 8, 8), np.uint8), photometric="minisblack", planarconfig="separate"
    )
    with pytest.raises(InputError, match=r"^a\.tif: a label of 65 channels"):
        read_label_file(path, 2)


@pytest.mark.parametrize("kept", range(3, 16))
def test_a_tiff_that_ends_in_its_head_is_refused(tmp_path, kept):
    path = tmp_path / "a.tif"
    for big in (False, True):
        tifffile.imwrite(path, np.zeros((8, 8), np.uint8), bigtiff=big)
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(InputError, match=r"^a\.tif: "):
            read_image(path)


def test_a_picture_of_more_bytes_than_one_may_have_is_refused_by_its_header(tmp_path):
    refused = png(tmp_path / "a.png", 8192, 8192, bits=16, colour=6)
    with pytest.raises(InputError, match=r"^a\.png: .* take 537 MB when decoded, at most 268 MB"):
        read_image(refused)
    doubles = tmp_path / "a.tif"
    tifffile.imwrite(doubles, np.zeros((64, 64)))
    retagged(doubles, ImageWidth=8192, ImageLength=8192)
    with pytest.raises(InputError, match=r"^a\.tif: .* take 537 MB when decoded, at most 268 MB"):
        read_image(doubles)


@pytest.mark.parametrize("kind", ["chunks", "scans", "tiles"])
def test_pictures_of_too_many_parts_are_refused_and_of_many_are_read(tmp_path, kind, monkeypatch):
    path = tmp_path / {"chunks": "a.png", "scans": "a.jpg", "tiles": "a.tif"}[kind]
    if kind == "chunks":
        png(path, 64, 64, *[chunk(b"teXt", b"a\0")] * 9)  # and three
    elif kind == "scans":
        PillowImage.new("L", (64, 64)).save(path, progressive=True)
    else:
        tifffile.imwrite(path, np.zeros((64, 48), np.uint8), tile=(16, 16))
    count = {"chunks": 12, "scans": path.read_bytes().count(b"\xff\xda"), "tiles": 12}[kind]
    monkeypatch.setattr(opening, f"MAX_{kind.upper()}", count)
    assert not read_image(path).pixels.any()
    monkeypatch.setattr(opening, f"MAX_{kind.upper()}", count - 1)
    for read in READERS if kind != "tiles" else [read_any]:
        with pytest.raises(InputError, match=rf"^{path.name}: .*{count - 1} .*save it"):
            read(path)
