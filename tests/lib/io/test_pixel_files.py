"""Headers whose pixels lie in a file of their own: read beside them, whole, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lib.errors import InputError
from lib.io.read import image_size, read_image

SHAPE = (7, 20, 30)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)


def _mhd(folder: Path, packed: bool = False) -> Path:
    """Write a.mhd, with its pixels in a.raw or, packed, a.zraw."""
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(folder / "a.mhd"), packed)
    return folder / "a.mhd"


def _nrrd(path: Path, data_file: str) -> Path:
    text = "type: ushort\ndimension: 3\nsizes: 30 20 7\nencoding: raw\nendian: little\n"
    path.write_text(f"NRRD0004\n{text}data file: {data_file}\n")
    return path


def _read(path: Path) -> np.ndarray:
    return read_image(path, spatial_dims=3).pixels


def test_an_mhd_reads_from_the_file_beside_it_packed_or_not(tmp_path):
    for packed, name in ((False, "a.raw"), (True, "a.zraw")):
        path = _mhd(tmp_path, packed)
        assert (tmp_path / name).is_file()
        np.testing.assert_array_equal(_read(path), VOXELS)


def test_an_mhd_without_its_pixel_file_is_refused_with_what_to_do(tmp_path):
    path = _mhd(tmp_path)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(
        InputError, match=r"^a\.mhd: its pixel file 'a\.raw' is not beside it; .*upload.* one only"
    ):
        _read(path)
    assert image_size(path) == SHAPE[::-1]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_an_mhd_with_half_a_pixel_file_is_refused(tmp_path, packed, share):
    path = _mhd(tmp_path, packed)
    data = tmp_path / ("a.zraw" if packed else "a.raw")
    data.write_bytes(data.read_bytes()[: int(data.stat().st_size * share)])
    with pytest.raises(InputError, match=r"^a\.mhd: its pixel file 'a\.z?raw' is damaged or tr"):
        _read(path)


@pytest.mark.parametrize("kind", [".mhd", ".mha", ".nrrd"])
@pytest.mark.parametrize("place", ["../a.raw", "{folder}/a.raw", "sub/a.raw", "LIST", "a%d.raw"])
def test_a_header_may_not_choose_a_file_elsewhere(tmp_path, kind, place):
    _mhd(tmp_path)
    for folder in ("sub", "sub/sub"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.raw").write_bytes((tmp_path / "a.raw").read_bytes())
    path = tmp_path / "sub" / f"b{kind}"
    place = place.format(folder=tmp_path)
    if kind == ".nrrd":
        _nrrd(path, place)
    else:
        path.write_text((tmp_path / "a.mhd").read_text().replace("a.raw", place))
    cause = "its pixels lie in" if "/" in place else "(its pixels lie in|damaged)"
    with pytest.raises(InputError, match=rf"^b{kind}: {cause}"):
        _read(path)


def test_a_nrrd_header_reads_from_the_file_beside_it(tmp_path):
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes())
    np.testing.assert_array_equal(_read(_nrrd(tmp_path / "a.nrrd", "./a.raw")), VOXELS)


def test_a_header_without_end_is_refused(tmp_path):
    path = _mhd(tmp_path)
    comments = b"Comment = of no use\n" * 60_000
    path.write_bytes(path.read_bytes().replace(b"NDims", comments + b"NDims"))
    with pytest.raises(InputError, match=r"^a\.mhd: damaged"):
        _read(path)


def test_a_link_to_pixels_elsewhere_is_refused_and_links_to_both_are_followed(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "kept").mkdir()
    kept = _mhd(tmp_path / "kept")
    header, pixels = tmp_path / "studies" / "a.mhd", tmp_path / "studies" / "a.raw"
    header.write_bytes(kept.read_bytes())
    pixels.symlink_to(kept.with_name("a.raw"))
    with pytest.raises(InputError, match=r"^a\.mhd: its pixel file 'a\.raw' is a link to another"):
        _read(header)
    header.unlink()
    header.symlink_to(kept)
    np.testing.assert_array_equal(_read(header), VOXELS)


def test_a_pixel_file_whose_name_is_none_is_refused(tmp_path):
    path = _mhd(tmp_path)
    for name in (b"a\0.raw", b"a" * 300, b"\xff\xfe"):
        path.write_bytes(path.read_bytes().rpartition(b"= ")[0] + b"= " + name + b"\n")
        with pytest.raises(InputError, match=r"^a\.mhd: "):
            _read(path)
