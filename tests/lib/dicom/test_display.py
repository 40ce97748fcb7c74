"""In what is read from DICOM larger is brighter, and padding is background."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_label_samples import series
from dicom_label_samples import write as save
from dicom_pixel_samples import VALUES, encoded, write
from pydicom.dataset import Dataset
from ultrasound_samples import grey, group, item, write_us

from lib.dicom.series import read_series
from lib.io.read import read_image

SIGNED = VALUES.astype(np.int16) - 2048
TWELVE = {"BitsStored": 12, "HighBit": 11}
BORDER = np.zeros(VALUES.shape, bool)
BORDER[:, :6] = True


@pytest.mark.parametrize("values", [VALUES, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [-2.0, 0.5])
def test_larger_is_brighter(tmp_path, values, photometric, slope):
    dark = (photometric == "MONOCHROME1") != (slope < 0)
    tags = {"PhotometricInterpretation": photometric, "RescaleSlope": slope, "RescaleIntercept": 7}
    image = read_image(write(tmp_path / "a.dcm", values, **TWELVE, **tags))
    opposite = 4095 - values if values is VALUES else -1 - values
    np.testing.assert_array_equal(image.pixels, opposite if dark else values)
    assert image.pixels.dtype == values.dtype


def test_a_falling_modality_lut_is_heeded(tmp_path):
    lut = Dataset()
    table = np.arange(4096, dtype=np.uint16)
    lut.LUTDescriptor, lut.LUTData, lut.ModalityLUTType = [4096, 0, 16], table.tobytes(), "US"
    rising = read_image(write(tmp_path / "a.dcm", **TWELVE, ModalityLUTSequence=[lut]))
    np.testing.assert_array_equal(rising.pixels, VALUES)
    lut.LUTData = table[::-1].tobytes()
    falling = read_image(write(tmp_path / "a.dcm", **TWELVE, ModalityLUTSequence=[lut]))
    np.testing.assert_array_equal(falling.pixels, 4095 - VALUES)


def test_frames_with_rescale_factors_of_their_own_are_brought_to_one_scale(tmp_path):
    factors = [
        group(PixelValueTransformationSequence=item(RescaleSlope=str(2**i), RescaleIntercept="-3"))
        for i in range(3)
    ]
    tags = {"Modality": "MR", "PerFrameFunctionalGroupsSequence": factors}
    image = read_image(write_us(tmp_path / "a.dcm", grey(), SOPClassUID="1.2", **tags), 10**6, None)
    expected = grey() * np.float32([1, 2, 4])[:, None, None] - 3
    np.testing.assert_array_equal(image.pixels, expected)
    assert "rescale factors of their own" in image.notes[0]


# padding value in the tag, its limit, what is stored where padding is, and the values elsewhere
PADDED = {
    "bright": (65535, None, 65535, VALUES, {}),
    "in 12 bits": (4095, None, 4095, np.minimum(VALUES, 4094), TWELVE),
    "beyond the 12 bits": (63536, None, 63536, VALUES, TWELVE),
    "a range": (3000, 4000, 3500, np.minimum(VALUES, 2999), TWELVE),
    "a range, backwards": (4000, 3000, 3500, np.minimum(VALUES, 2999), TWELVE),
    "signed": (-2000, None, -2000, np.maximum(SIGNED, -1999), {}),
    "signed, told unsigned": (63536, None, -2000, np.maximum(SIGNED, -1999), {}),
    "signed, beyond the 12 bits": (-32768, None, -32768, SIGNED, TWELVE),
}


@pytest.mark.parametrize("encoding", ["as stored", "RLE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("kind", PADDED)
def test_padding_is_the_darkest_of_the_image(tmp_path, kind, photometric, encoding):
    value, limit, stored, values, tags = PADDED[kind]
    signed, bits = values.dtype.kind == "i", tags.get("BitsStored", 16)
    if photometric == "MONOCHROME1":
        shown = ~values if signed else (2**bits - 1 - values.astype(int)).astype(values.dtype)
    else:
        shown = values
    path = write(
        tmp_path / "a.dcm",
        np.where(BORDER, np.array(stored).astype(values.dtype), values),
        PhotometricInterpretation=photometric,
        **tags,
    )
    data = pydicom.dcmread(path)
    vr = "SS" if value < 0 else "US"
    data.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        data.add_new("PixelPaddingRangeLimit", vr, limit)
    data.save_as(path)
    image = read_image(encoded(path, encoding))
    expected = np.where(BORDER, shown[~BORDER].min(), shown)
    np.testing.assert_array_equal(image.pixels, expected)
    assert "20.0% of the pixels are padding (PixelPaddingValue); taken as background" in image.notes


def test_an_image_of_padding_alone_is_left_as_it_is(tmp_path):
    blank = np.zeros((9, 9), np.uint16)
    image = read_image(write(tmp_path / "a.dcm", blank, PixelPaddingValue=0))
    assert (image.pixels == 0).all() and image.notes == ()


def test_padding_of_a_series_is_the_darkest_of_the_volume(tmp_path):
    files = []
    for index, data in enumerate(series(3)):
        noise = np.random.default_rng(index).integers(5, 200, (9, 13), np.uint8)
        noise[0] = 255
        data.PixelData, data.PixelPaddingValue = noise.tobytes() + b"\0", 255
        data.RescaleSlope, data.RescaleIntercept = "1", "-1024"
        files.append(save(data, tmp_path / f"{index}.dcm"))
    volume = read_series(files, "series")
    assert (volume.pixels[:, 0] == volume.pixels[:, 1:].min()).all()
    assert volume.pixels.max() < 200 - 1024
    assert volume.notes == (
        "11.1% of the pixels are padding (PixelPaddingValue); taken as background",
    )
