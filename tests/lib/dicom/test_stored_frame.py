"""Frames of uncompressed files, as viewers take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from lib.dicom.header import open_dicom
from lib.dicom.pixels import decode_frames
from lib.dicom.stored_frame import stored_frame
from lib.errors import InputError, NotFoundError


def _file(name: str) -> Path:
    return Path(get_testdata_file(name, download=False))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("SC_rgb_expb.dcm", "u1"),
        ("SC_rgb_expb_16bit_2frame.dcm", "<u2"),
        ("SC_ybr_full_422_uncompressed.dcm", "u1"),
        ("MR_small_bigendian.dcm", "<i2"),
    ],
)
def test_each_frame_has_the_values_of_the_reader_in_little_endian(name, dtype):
    file = _file(name)
    expected = decode_frames(file, open_dicom(file)).values
    for number, frame in enumerate(expected, 1):
        found = np.frombuffer(stored_frame(file, number), dtype)
        assert np.array_equal(found.reshape(frame.shape), frame)


def test_planes_of_colour_stay_planes():
    file = _file("ExplVR_BigEnd.dcm")
    expected = decode_frames(file, open_dicom(file)).values[0]
    found = np.frombuffer(stored_frame(file, 1), "u1").reshape(3, *expected.shape[:2])
    assert np.array_equal(found.transpose(1, 2, 0), expected)


def test_what_is_compressed_or_not_there_is_refused():
    with pytest.raises(InputError, match="RLE"):
        stored_frame(_file("SC_rgb_rle.dcm"), 1)
    with pytest.raises(NotFoundError, match="frame 3"):
        stored_frame(_file("SC_rgb_expb_16bit_2frame.dcm"), 3)
