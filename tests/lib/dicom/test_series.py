"""Slices of a series as one volume: read as ITK does, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_label_samples import FLIPPED, OBLIQUE, SAGITTAL, image, series, write

from lib.dicom.series import read_series
from lib.errors import InputError

SHUFFLED = [3, 0, 4, 1, 2]


def _files(slices, folder: Path) -> list[Path]:
    for data in slices:
        noise = np.random.default_rng(data.InstanceNumber).integers(0, 200, (9, 13), np.uint8)
        data.PixelData = noise.tobytes() + b"\0"
    return [write(data, folder / f"{index}.dcm") for index, data in enumerate(slices)]


@pytest.mark.parametrize("orientation", [FLIPPED, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize(("slope", "intercept"), [("1", "0"), ("1", "-1024"), ("0.5", "3")])
def test_a_series_is_read_as_itk_reads_it(orientation, slope, intercept, tmp_path):
    slices = series(5, orientation, SHUFFLED)
    for data in slices:
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
    files = _files(slices, tmp_path)
    read = read_series(files, "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    true = reader.Execute()
    assert np.array_equal(read.pixels, sitk.GetArrayFromImage(true))
    assert read.geometry.size == true.GetSize()
    assert read.geometry.spacing == pytest.approx(true.GetSpacing(), abs=1e-5)
    assert read.geometry.origin == pytest.approx(true.GetOrigin(), abs=1e-5)
    assert read.geometry.direction == pytest.approx(true.GetDirection(), abs=1e-5)


def _moved(slices, index: int, way: tuple[float, float, float]):
    place = np.add([float(side) for side in slices[index].ImagePositionPatient], way)
    slices[index].ImagePositionPatient = [f"{side:.6g}" for side in place]
    return slices


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        (lambda: series(5, order=[0, 1, 3, 4]), "1 of 3 slices are not 2.5 mm"),
        (lambda: series(3) + series(3, name="again"), "two slices at the same position"),
        (lambda: series(3) + series(2, SAGITTAL, name="other"), "several directions"),
        (lambda: _moved(series(5), 2, (0.0, 1.0, 0.0)), "shifted against each other"),
        (lambda: [image(data.SOPClassUID, "CT", name=str(i)) for i, data in enumerate(series(3))],
         "3 of 3 slices give no position"),
        (lambda: [*series(3), image("1.2.840.10008.5.1.4.1.1.2", "CT", Rows=5)], "one size"),
    ],
)  # fmt: skip
def test_what_is_no_volume_is_refused(slices, reason, tmp_path):
    files = [write(data, tmp_path / f"{index}.dcm") for index, data in enumerate(slices())]
    with pytest.raises(InputError, match=reason):
        read_series(files, "series")
