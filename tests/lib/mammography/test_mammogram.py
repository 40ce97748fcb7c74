"""Mammograms as read, and what is refused or doubted as none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mammogram_samples import code, lut, stored, write_mg
from PIL import Image as PillowImage
from pydicom.data import get_testdata_file

from lib.errors import InputError
from lib.mammography.breast import prepare_breast
from lib.mammography.mammogram import read_mammogram
from lib.mammography.outline import find_breast
from lib.mammography.views import View

INVERSE = {"PhotometricInterpretation": "MONOCHROME1"}


def _pixels(path: Path) -> np.ndarray:
    return read_mammogram(path).pixels


# --- reading -------------------------------------------------------------------------------------


def test_pixels_are_the_stored_values_over_their_range(tmp_path):
    found = read_mammogram(write_mg(tmp_path / "a.dcm"))
    np.testing.assert_allclose(found.pixels, stored() / 4095, atol=2e-5)
    assert found.pixels.dtype == np.float32
    assert found.view == View("R", "CC")
    assert found.notes == found.doubts == ()
    assert found.orientation == ("P", "L")


@pytest.mark.parametrize(
    ("tags", "inverse"),
    [
        ({}, {}),
        ({"WindowCenter": "1500", "WindowWidth": "2000"}, {"WindowCenter": "2596"}),
        (
            {"WindowCenter": "1500", "WindowWidth": "1600", "VOILUTFunction": "SIGMOID"},
            {"WindowCenter": "2595"},
        ),
        (
            {"VOILUTSequence": lut(np.arange(4096) ** 2 // 4095)},
            {"VOILUTSequence": lut(4095 - (4095 - np.arange(4096)) ** 2 // 4095)},
        ),
    ],
    ids=["plain", "window", "sigmoid", "table"],
)
def test_both_photometric_interpretations_give_the_same_pixels(tmp_path, tags, inverse):
    one = _pixels(write_mg(tmp_path / "a.dcm", **tags))
    two = _pixels(write_mg(tmp_path / "b.dcm", pixels=4095 - stored(), **INVERSE, **tags | inverse))
    np.testing.assert_array_equal(one, two)
    assert one.max() > 0.5


def test_window_and_table_are_applied_as_a_viewer_does(tmp_path):
    wide = stored().astype(float)
    window = _pixels(write_mg(tmp_path / "a.dcm", WindowCenter="2048", WindowWidth="1024"))
    np.testing.assert_allclose(
        window, np.clip((wide - 2047.5) / 1023 + 0.5, 0, 1), atol=2e-5
    )  # PS3.3 C.11.2.1.2.1
    table = np.round(np.sqrt(np.arange(4096) / 4095) * 4095)
    shown = _pixels(write_mg(tmp_path / "b.dcm", VOILUTSequence=lut(table)))
    np.testing.assert_allclose(shown, table[stored()] / 4095, atol=2e-5)


def test_a_table_of_8_bits_with_many_entries_does_not_wrap(tmp_path):
    table = np.arange(4096) >> 4
    shown = _pixels(write_mg(tmp_path / "a.dcm", VOILUTSequence=lut(table, depth=8)))
    np.testing.assert_allclose(shown, table[stored()] / 255, atol=2e-5)


def test_a_window_that_cannot_be_applied_is_told_and_left_out(tmp_path):
    found = read_mammogram(write_mg(tmp_path / "a.dcm", WindowCenter="9", WindowWidth="0"))
    np.testing.assert_allclose(found.pixels, stored() / 4095, atol=2e-5)
    assert "window cannot be applied" in found.notes[0]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_raw_images_become_attenuation(tmp_path, photometric):
    thickness = stored().astype(float) / 4095
    exposure = np.rint(4000 * np.exp(-3 * thickness))
    inverse = photometric == "MONOCHROME2"
    path = write_mg(
        tmp_path / "raw.dcm",
        pixels=4095 - exposure if inverse else exposure,
        PhotometricInterpretation=photometric,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=-1 if inverse else 1,
    )
    found = read_mammogram(path)
    inside = (found.pixels > 0.05) & (found.pixels < 0.95)
    assert np.corrcoef(found.pixels[inside], thickness[inside])[0, 1] > 0.999
    assert "For Processing" in found.notes[0]


def test_compressed_pixels_are_those_of_the_plain_file(tmp_path):
    plain = _pixels(write_mg(tmp_path / "a.dcm"))
    np.testing.assert_array_equal(plain, _pixels(write_mg(tmp_path / "b.dcm", jpeg_2000=True)))
    inverse = write_mg(tmp_path / "c.dcm", pixels=4095 - stored(), jpeg_2000=True, **INVERSE)
    np.testing.assert_array_equal(plain, _pixels(inverse))


def test_padding_is_black(tmp_path):
    pixels = np.where(stored() == 0, 4095, stored())
    found = _pixels(write_mg(tmp_path / "a.dcm", pixels=pixels, PixelPaddingValue=4095))
    np.testing.assert_allclose(found, np.where(stored() == 4095, 0, stored() / 4095), atol=2e-5)


@pytest.mark.parametrize("kind", [".png", ".tif", ".pgm", ".jpg"])
def test_pictures_read_like_the_dicom_file(tmp_path, kind):
    path = tmp_path / f"p1_L-MLO{kind}"
    pixels = (stored(3) >> 4).astype(np.uint8)
    PillowImage.fromarray(pixels).save(path)
    found = read_mammogram(path)
    away = np.abs(found.pixels - pixels / 255)
    assert away.max() < 1e-6 or (kind == ".jpg" and away.mean() < 0.01)
    assert found.view == View("L", "MLO")


def test_a_negative_picture_is_inverted_and_told(tmp_path):
    pixels = (stored() >> 4).astype(np.uint8)
    PillowImage.fromarray(255 - pixels).save(tmp_path / "a.png")
    found = read_mammogram(tmp_path / "a.png")
    np.testing.assert_allclose(found.pixels, pixels / 255, atol=1e-6)
    assert "negative" in found.notes[0]


# --- what is no mammogram ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Modality": "CT", "BodyPartExamined": None}, "modality CT, expected a mammogram"),
        ({"Modality": "DX", "BodyPartExamined": "CHEST"}, "shows CHEST"),
        ({"PhotometricInterpretation": "MONOCHROME3"}, "photometric interpretation 'MONOCHROME3'"),
        (
            {"PhotometricInterpretation": None, "PresentationLUTShape": None},
            "which in MG may be bright or dark",
        ),
        ({"NumberOfFrames": "3"}, "tomosynthesis"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "tomosynthesis"),
        ({"PixelData": b""}, "no pixel data"),
        ({"ViewCodeSequence": [code("127457009")]}, "specimen"),
    ],
)
def test_what_is_no_mammogram_by_its_tags_is_refused(tmp_path, tags, message):
    with pytest.raises(InputError, match=message):
        read_mammogram(write_mg(tmp_path / "a.dcm", **tags))


def test_a_real_ct_slice_is_refused():
    with pytest.raises(InputError, match="modality CT"):
        read_mammogram(get_testdata_file("CT_small.dcm"))


@pytest.mark.parametrize("jpeg_2000", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(tmp_path, kept, jpeg_2000):
    path = write_mg(tmp_path / "a.dcm", jpeg_2000=jpeg_2000)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match="a.dcm: .*(export|copy)"):
        read_mammogram(path)


def test_a_missing_pixel_module_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="no pixel data"):
        read_mammogram(write_mg(tmp_path / "a.dcm", PixelData=None))
    for name in ("b.dcm", "b.png", "b.pgm"):
        with pytest.raises(InputError, match="no such file"):
            read_mammogram(tmp_path / name)


def test_blank_images_are_refused(tmp_path):
    for value in (0, 7, 255):
        PillowImage.fromarray(np.full((90, 70), value, np.uint8)).save(tmp_path / "a.png")
        with pytest.raises(InputError, match="blank"):
            read_mammogram(tmp_path / "a.png")


def test_noise_stripes_and_dots_hold_no_breast():
    rng = np.random.default_rng(0)
    stripes = np.tile((np.arange(200) // 20 % 2).astype(np.float32), (160, 1)).T
    dots = np.zeros((200, 160), np.float32)
    dots[rng.integers(0, 200, 40), rng.integers(0, 160, 40)] = 1
    for pixels in (rng.random((200, 160)).astype(np.float32), stripes, dots):
        with pytest.raises(InputError, match="no breast found"):
            find_breast(pixels)


def test_a_body_across_is_doubted():
    y, x = np.mgrid[:200, :200]
    body = ((x - 100) / 85) ** 2 + ((y - 100) / 62) ** 2 < 1
    found = find_breast(np.where(body, 0.6, 0).astype(np.float32))
    assert any("wide for a breast" in doubt for doubt in found.doubts)
    assert any("chest wall" in doubt for doubt in found.doubts)


@pytest.mark.parametrize("view", [2, 3])
def test_an_oblique_view_upside_down_is_doubted(tmp_path, view):
    upright = read_mammogram(write_mg(tmp_path / "a.dcm", view))
    assert prepare_breast(upright, 128).doubts == ()
    turned = replace(upright, pixels=np.ascontiguousarray(upright.pixels[::-1]))
    assert any("upside down" in doubt for doubt in prepare_breast(turned, 128).doubts)
    by_tag = replace(upright, orientation=("P", "HL"))
    assert any("upside down" in doubt for doubt in prepare_breast(by_tag, 128).doubts)
