"""Files of microscopes: channels by name, sizes in micrometres, and what is refused in words.

ND2 and LIF are written here as their readers expect them, not by the makers' programs.
"""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pytest

from lib.data.passed_over import find_passed_over
from lib.data.studies import list_items
from lib.errors import InputError
from lib.io import scenes
from lib.io.all_channels import read_channels
from lib.io.channel_list import image_channels
from lib.io.channels import SeveralChannelsError
from lib.io.pixel_size import pixel_size
from lib.io.read import check_readable, image_geometry, image_size, read_image, stem
from lib.isolation.calls import use
from lib.isolation.pool import Pool

for library in ("zarr", "nd2", "liffile", "pylibCZIrw"):
    pytest.importorskip(library, reason="pip install -r requirements-microscopy.txt")

from microscope_files import (  # noqa: E402
    change_json,
    write_czi,
    write_lif,
    write_nd2,
    write_ome_zarr,
)

STACK = np.random.default_rng(0).integers(0, 60000, (2, 3, 40, 50)).astype(np.uint16)
OTHER = STACK[:, :, ::-1] // 2
WAYS = {
    ".czi": lambda path, pixels, **told: write_czi(path, [pixels], **told),
    ".nd2": write_nd2,
    ".lif": lambda path, pixels, **told: write_lif(path, [pixels], **told),
    ".zarr": write_ome_zarr,
    ".ozx": lambda path, pixels, **told: write_ome_zarr(path, pixels, version=3, **told),
    ".ome.zarr.zip": write_ome_zarr,
}


@pytest.fixture(params=WAYS)
def way(request, tmp_path):
    """Return a function that writes a file of a kind."""
    return lambda pixels, **told: WAYS[request.param](
        tmp_path / f"cells{request.param}", pixels, **told
    )


def square(path):
    """Return the sizes of a pixel: ND2 has one for both axes."""
    return (5e-4, 5e-4 if path.suffix == ".nd2" else 2.5e-4, 2e-3)


def test_a_stack_of_channels(way):
    path = way(STACK)
    assert image_size(path) == (50, 40, 3)
    assert image_channels(path) == ("DAPI", "GFP")
    with pytest.raises(SeveralChannelsError, match="2 channels .1 DAPI, 2 GFP.*probably 'DAPI'"):
        read_image(path, spatial_dims=3, max_pixels=10**6)
    for asked, index in (("gfp", 1), ("1", 0)):
        image = read_image(path, 10**6, None, asked)
        np.testing.assert_array_equal(image.pixels, STACK[index])
        assert image.channel == ("GFP" if index else "DAPI") and not image.over_time
        assert pixel_size(image) == pytest.approx(square(path))
        assert image.geometry == image_geometry(path)
    assert list(read_channels(read_image(path, 10**6, 3, "GFP"))) == ["DAPI", "GFP"]
    with pytest.raises(InputError, match="no channel 'RFP', it has 2 channels"):
        read_image(path, 10**6, 3, "RFP")
    with pytest.raises(InputError, match="a volume of 50 x 40 x 3, expected one 2D image"):
        read_image(path, 10**6, 2, "GFP")
    with pytest.raises(InputError, match="pixels are too many"):
        read_image(path, 1000, 3, "GFP")
    check_readable(path)
    assert stem(path) in ("cells", "cells.ome")


def test_one_plane_needs_no_choice(way):
    path = way(STACK[:1, :1], names=("DAPI",))
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, STACK[0, 0])
    assert image_size(path) == (50, 40) and image_channels(path) == ()
    assert pixel_size(image) == pytest.approx(square(path)[:2])


def test_channels_csv_chooses(way, tmp_path):
    path = way(STACK)
    (tmp_path / "channels.csv").write_text("id,channel\n*,GFP\n")
    np.testing.assert_array_equal(read_image(path, 10**6, 3).pixels, STACK[1])


def test_files_that_are_cut_or_no_such_file_are_named(way, tmp_path):
    path = way(STACK)
    if path.is_dir():
        return
    content = path.read_bytes()
    for number, damaged in enumerate((content[: len(content) // 2], b"no image" * 100)):
        broken = tmp_path / f"broken{number}{path.name.removeprefix('cells')}"
        broken.write_bytes(damaged)
        with pytest.raises(InputError, match=f"^{broken.name}: ") as refused:
            read_image(broken, 10**6, 3, "GFP")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ending", [".czi", ".lif"])
def test_scenes_stand_before_the_names_of_channels(tmp_path, ending):
    write = write_czi if ending == ".czi" else write_lif
    path = write(tmp_path / f"a{ending}", [STACK, OTHER])
    names = ("1", "2") if ending == ".czi" else ("Series001", "Series002")
    assert image_channels(path) == tuple(
        f"{one} / {two}" for one in names for two in ("DAPI", "GFP")
    )
    image = read_image(path, 10**6, 3, f"{names[1]} / gfp")
    np.testing.assert_array_equal(image.pixels, OTHER[1])
    assert list(read_channels(image)) == [f"{names[1]} / DAPI", f"{names[1]} / GFP"]
    single = write(tmp_path / f"b{ending}", [STACK[:1, :1], OTHER[:1, :1]], names=("DAPI",))
    assert image_channels(single) == names
    np.testing.assert_array_equal(read_image(single, channel="2").pixels, OTHER[0, 0])


def test_frames_of_a_czi_are_a_loop_and_its_colours_are_read(tmp_path):
    path = write_czi(tmp_path / "loop.czi", [STACK], times=True)
    image = read_image(path, 10**6, None, "GFP")
    np.testing.assert_array_equal(image.pixels, STACK[1])
    assert image.over_time and pixel_size(image) == pytest.approx((5e-4, 2.5e-4))
    colours = np.random.default_rng(1).integers(0, 255, (1, 1, 30, 20, 3)).astype(np.uint8)
    path = write_czi(tmp_path / "section.czi", [colours], names=())
    image = read_image(path)
    assert image.colour and not image.channel
    np.testing.assert_array_equal(image.pixels, colours[0, 0])
    assert (read_image(path, channel="green").pixels == colours[0, 0, ..., 1]).all()


def test_frames_and_slices_at_once_are_refused(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", np.stack([STACK[0]] * 2), axes="tzyx", names=())
    assert image_size(path) == (50, 40, 3, 2)
    with pytest.raises(InputError, match="a series of 50 x 40 x 3 x 2, expected one volume"):
        read_image(path, 10**6, 3)


def test_without_its_library_a_file_says_what_to_install(way, monkeypatch):
    path = way(STACK)
    monkeypatch.setattr(scenes, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"which is not installed; pip install -r requirements-microscopy\.txt"
    ):
        read_image(path, 10**6, 3, "GFP")


HOSTILE = [
    ({"shape": [2, 3, 2**30, 2**30]}, "chunks are too many"),
    ({"shape": [2, 3, -1, 50]}, "sides of"),
    ({"shape": "all"}, "sides of"),
    ({"chunks": [1, 1, 2**20, 2**20]}, "a chunk: .* take"),
    ({"chunks": [1, 16]}, "its chunks have 2 axes"),
    ({"dtype": "|O"}, r"values of type \|O"),
    ({"filters": [{"id": "pickle"}]}, "coded by pickle"),
    ({"compressor": {"id": "pickle"}}, "coded by pickle"),
]


@pytest.mark.parametrize(("changes", "told"), HOSTILE, ids=str)
def test_arrays_that_cannot_be_right_are_refused(tmp_path, changes, told):
    path = write_ome_zarr(tmp_path / "a.zarr", STACK)
    change_json(path / "0" / ".zarray", **changes)
    with pytest.raises(InputError, match=f"a.zarr.*{told}"):
        read_image(path, 10**6, 3, "GFP")


needs_zarr_3 = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="zarr 2, which Python 3.10 has, reads no newer arrays"
)


@needs_zarr_3
def test_a_codec_of_a_newer_zarr_that_is_unknown_is_refused(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", STACK, version=3)
    change_json(path / "0" / "zarr.json", codecs=[{"name": "numcodecs.pickle"}])
    with pytest.raises(InputError, match="coded by numcodecs.pickle"):
        read_image(path, 10**6, 3, "GFP")


@pytest.mark.parametrize("version", [2, pytest.param(3, marks=needs_zarr_3)])
def test_missing_parts_of_a_store_are_named(tmp_path, version):
    path = write_ome_zarr(tmp_path / "a.zarr", STACK, version=version)
    (path / "0" / (".zarray" if version == 2 else "zarr.json")).unlink()
    with pytest.raises(InputError, match="its array '0' is missing"):
        read_image(path, 10**6, 3, "GFP")
    about = path / (".zattrs" if version == 2 else "zarr.json")
    about.write_text("{}")
    with pytest.raises(InputError, match="no 'multiscales'"):
        read_image(path, 10**6, 3, "GFP")
    about.write_text(json.dumps({"plate": {}} if version == 2 else {"attributes": {"plate": {}}}))
    with pytest.raises(InputError, match="a plate of wells"):
        image_size(path)
    with pytest.raises(InputError, match="no such file, but a folder"):
        image_size(tmp_path)


def test_a_place_outside_of_the_store_is_refused(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", STACK)
    about = json.loads((path / ".zattrs").read_text())
    about["multiscales"][0]["datasets"][0]["path"] = "../other"
    (path / ".zattrs").write_text(json.dumps(about))
    with pytest.raises(InputError, match="its image is at '../other'"):
        read_image(path, 10**6, 3, "GFP")


def test_images_of_bio_formats_are_scenes(tmp_path):
    path = tmp_path / "a.zarr"
    for number, pixels in enumerate((STACK, OTHER)):
        write_ome_zarr(path / str(number) / "x.zarr", pixels)
        (path / str(number) / "x.zarr").rename(tmp_path / f"moved{number}")
        (path / str(number)).rmdir()
        (tmp_path / f"moved{number}").rename(path / str(number))
    (path / ".zattrs").write_text(json.dumps({"bioformats2raw.layout": 3}))
    (path / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    assert image_channels(path) == ("1 / DAPI", "1 / GFP", "2 / DAPI", "2 / GFP")
    np.testing.assert_array_equal(read_image(path, 10**6, 3, "2 / GFP").pixels, OTHER[1])


def test_a_header_of_nd2_that_promises_too_much_or_lacks_frames_is_refused(tmp_path):
    path = write_nd2(tmp_path / "a.nd2", STACK, uiHeight=2**20, uiWidth=2**20)
    with pytest.raises(InputError, match="pixels are too many"):
        read_image(path, 10**9, 3, "GFP")
    path = write_nd2(tmp_path / "b.nd2", STACK)
    path.write_bytes(path.read_bytes().replace(b"ImageDataSeq|2!", b"ImageDataSeq|7!"))
    with pytest.raises(InputError, match=r"b\.nd2: 1 of its 3 frames are not in the file"):
        read_image(path, 10**9, 3, "GFP")


def test_a_lif_that_names_other_files_is_refused(tmp_path):
    path = tmp_path / "a.lif"
    path.write_bytes(b"<?xml version='1.0'?><LMSDataContainerHeader Version='2'/>")
    with pytest.raises(InputError, match="no LIF that holds its own pixels"):
        read_image(path)


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.ozx"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("readme.txt", "no image")
    with pytest.raises(InputError, match="no 'multiscales'"):
        read_image(path)


@pytest.fixture(scope="module")
def pool():
    """The processes in which a server reads files."""
    made = Pool()
    yield made
    made.close()


def test_workers_that_can_read_nothing_else_read_them_too(way, pool):
    path = way(STACK)
    expected = read_image(path, 10**6, 3, "GFP")
    use(pool)
    try:
        assert image_size(path) == (50, 40, 3) and image_channels(path) == ("DAPI", "GFP")
        read = read_image(path, 10**6, 3, "GFP")
        with pytest.raises(InputError, match="no channel 'RFP'"):
            read_image(path, 10**6, 3, "RFP")
    finally:
        use(None)
    np.testing.assert_array_equal(read.pixels, expected.pixels)
    assert (read.geometry, read.channel) == (expected.geometry, "GFP")


def test_a_studies_folder_lists_packed_images_and_tells_of_folders(tmp_path):
    write_ome_zarr(tmp_path / "loose.zarr", STACK)
    write_ome_zarr(tmp_path / "packed.ozx", STACK)
    write_czi(tmp_path / "cells.czi", [STACK])
    (tmp_path / "packed.folder").rename(tmp_path.parent / "unused.folder")
    assert [(one.id, one.image.name) for one in list_items(tmp_path)] == [
        ("cells", "cells.czi"),
        ("packed", "packed.ozx"),
    ]
    assert any(
        "1 OME-Zarr folder, such as loose.zarr" in one
        for one in find_passed_over(tmp_path).sentences
    )
