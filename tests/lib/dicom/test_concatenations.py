"""A part of an image that was split into several files is never taken for the whole."""

from __future__ import annotations

import pytest

from lib.errors import InputError
from lib.io.read import read_image
from lib.phantoms.dicom_studies import ultrasound_volume_study


@pytest.mark.parametrize(("count", "told"), [(2, "part 1 of 2"), (None, "part 1 of several")])
def test_a_part_is_refused_by_name(count, told, tmp_path):
    (data,) = ultrasound_volume_study(3, (4, 24, 32)).datasets
    data.ConcatenationUID, data.InConcatenationNumber = "1.2.3", 1
    if count:
        data.InConcatenationTotalNumber = count
    data.save_as(tmp_path / "first.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match=f"first.dcm: {told}"):
        read_image(tmp_path / "first.dcm", 10**6, 3)


def test_a_concatenation_of_one_is_whole(tmp_path):
    (data,) = ultrasound_volume_study(3, (4, 24, 32)).datasets
    data.ConcatenationUID = "1.2.3"
    data.InConcatenationNumber = data.InConcatenationTotalNumber = 1
    data.save_as(tmp_path / "whole.dcm", enforce_file_format=True)
    assert len(read_image(tmp_path / "whole.dcm", 10**6, 3).pixels) == 4
