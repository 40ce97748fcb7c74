"""Slices of a series as one volume: read as ITK does, or refused with the reason."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_label_samples import FLIPPED, OBLIQUE, SAGITTAL, image, positions, series, write

from lib.dicom.series import order_slices, read_series
from lib.errors import InputError

SHUFFLED = [3, 0, 4, 1, 2]


def _noisy(slices):
    for data in slices:
        noise = np.random.default_rng(data.InstanceNumber).integers(0, 200, (9, 13), np.uint8)
        data.PixelData = noise.tobytes() + b"\0"
    return slices


def _files(slices, folder: Path) -> list[Path]:
    return [write(data, folder / f"{index}.dcm") for index, data in enumerate(_noisy(slices))]


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


@pytest.mark.parametrize("slope", ["1e300", "1e37", "1e9"])
def test_rescaled_values_are_whole_only_where_they_fit_and_finite(slope, tmp_path):
    slices = series(5, FLIPPED, SHUFFLED)
    for data in slices:
        data.RescaleSlope, data.RescaleIntercept = slope, "0"
    if slope != "1e9":
        with pytest.raises(InputError, match="RescaleSlope 1e.* beyond 32-bit numbers"):
            read_series(_files(slices, tmp_path), "a")
        return
    pixels = read_series(_files(slices, tmp_path), "a").pixels
    assert pixels.dtype == np.float32 and pixels.min() >= 0


def _moved(slices, index: int, way: tuple[float, float, float]):
    place = np.add([float(side) for side in slices[index].ImagePositionPatient], way)
    slices[index].ImagePositionPatient = [f"{side:.6g}" for side in place]
    return slices


@pytest.mark.parametrize(
    ("slices", "reason"),
    [
        (lambda: series(5, order=[0, 1, 3, 4]), "1 of 3 slices are not 2.5 mm"),
        (lambda: series(3) + _noisy(series(3, name="again")), "two slices at the same position"),
        (lambda: series(3) + series(2, SAGITTAL, name="other"), "several directions"),
        (lambda: _moved(series(5), 2, (0.0, 1.0, 0.0)), "shifted .* by up to 1 mm .* not straight"),
        (lambda: _tilted(series(5), 15), r"tilted by 15\.0 degrees \(gantry tilt\); expected"),
        (lambda: _jittered(series(5), 0.5), "slices are not .* even distances; resample it"),
        (lambda: series(5, order=[0, 1, 4]), r"from 72\.5 to 80 mm .*; slices are missing, send"),
        (lambda: [image(data.SOPClassUID, "CT", name=str(i)) for i, data in enumerate(series(3))],
         "3 of 3 slices give no position"),
        (lambda: [*series(3), image("1.2.840.10008.5.1.4.1.1.2", "CT", Rows=5)], "one size"),
    ],
)  # fmt: skip
def test_what_is_no_volume_is_refused(slices, reason, tmp_path):
    files = [write(data, tmp_path / f"{index}.dcm") for index, data in enumerate(slices())]
    with pytest.raises(InputError, match=reason):
        read_series(files, "series")


def _tilted(slices, degrees: float):
    for index in range(len(slices)):
        _moved(slices, index, (0.0, 2.5 * index * math.tan(math.radians(degrees)), 0.0))
    return slices


def _jittered(slices, most: float):
    """Move the inner slices of an axial series along its axis, up and down in turn."""
    for index in range(1, len(slices) - 1):
        _moved(slices, index, (0.0, 0.0, most * (-1) ** index))
    return slices


def test_small_irregularities_are_accepted_and_told(tmp_path):
    jittered = read_series(_files(_jittered(series(5), 0.2), tmp_path), "series")
    assert jittered.geometry.spacing[2] == pytest.approx(2.5)
    assert jittered.notes == (
        "slices lie up to 0.2 mm off even distances of 2.5 mm; taken as even",
    )
    shifted = read_series(_files(_moved(series(5), 2, (0.0, 0.1, 0.0)), tmp_path), "series")
    assert shifted.notes == ("slices are shifted by up to 0.1 mm in their plane; not heeded",)


@pytest.mark.parametrize("orientation", [FLIPPED, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("step", [0.3, 0.625, 0.9375, 2.5])
def test_positions_that_are_rounded_to_a_tenth_are_accepted(tmp_path, orientation, step):
    slices, places = series(40, orientation), positions(40, orientation, step)
    for data, place in zip(slices, places, strict=True):
        data.ImagePositionPatient = [f"{side:.1f}" for side in place]
    volume = read_series(_files(slices, tmp_path), "series")
    assert volume.geometry.spacing[2] == pytest.approx(step, abs=0.2 / 39)
    np.testing.assert_array_equal(volume.pixels[7], slices[7].pixel_array)


def test_a_slice_that_is_there_twice_is_taken_once(tmp_path):
    slices = _noisy(series(5))
    twin = _noisy(series(5, name="again"))[3]
    files = [write(data, tmp_path / f"{n}.dcm") for n, data in enumerate([*slices, twin])]
    volume = read_series(files, "series")
    assert volume.shape == (5, 9, 13)
    assert volume.notes == ("1 slices are there twice, alike in every pixel; taken once",)
    assert len(order_slices(files, "series")) == 5


@pytest.mark.parametrize(
    ("tag", "values", "name"),
    [
        ("TemporalPositionIdentifier", ("1", "2"), "time"),
        ("EchoTime", ("4.6", "9.2"), "echo"),
        ("AcquisitionNumber", ("1", "2"), "acquisition"),
    ],
)
def test_times_and_echoes_of_a_series_are_kept_apart(tmp_path, tag, values, name):
    slices = []
    for number, value in enumerate(values):
        part = series(4, OBLIQUE, name=f"part {number}")
        for data in part:
            data.InstanceNumber += 10 * number
            setattr(data, tag, value)
        slices += part
    files = _files(slices, tmp_path)
    with pytest.raises(InputError, match=rf"series: holds 2 volumes \({name} 1, {name} 2\), expec"):
        read_series(files, "series")
    volume = read_series(files, "series", choose=lambda name, volumes: 1)
    assert volume.channel == f"{name} 2"
    np.testing.assert_array_equal(volume.pixels, [data.pixel_array for data in slices[4:]])
