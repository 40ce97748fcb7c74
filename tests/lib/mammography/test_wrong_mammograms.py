"""What is no mammogram, or a damaged one, under the name of a view: refused, or doubted aloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from mammogram_samples import stored, write_mg
from PIL import Image as PillowImage
from pydicom.encaps import encapsulate
from scipy import ndimage

from lib.errors import InputError
from lib.mammography.breast import prepare_breast
from lib.mammography.mammogram import read_mammogram

ROWS, COLUMNS = 240, 200
Y, X = np.mgrid[:ROWS, :COLUMNS] / np.array([ROWS, COLUMNS])[:, None, None]


def _ellipse(y: float, x: float, high: float, wide: float) -> np.ndarray:
    return ((Y - y) / high) ** 2 + ((X - x) / wide) ** 2 < 1


def _chest(background: float) -> np.ndarray:
    """Two dark lungs in a bright body, from edge to edge or with air at both sides."""
    body = np.where(_ellipse(0.6, 0.5, 0.75, 0.47), 0.75, background)
    body[_ellipse(0.5, 0.3, 0.32, 0.13) | _ellipse(0.5, 0.7, 0.32, 0.13)] = 0.2
    return ndimage.gaussian_filter(body, 2)


def _slice() -> np.ndarray:
    """A body across: soft tissue around dark lungs and a bright spine, air all around."""
    body = np.where(_ellipse(0.5, 0.5, 0.33, 0.45), 0.5, 0.0)
    body[_ellipse(0.47, 0.3, 0.2, 0.13) | _ellipse(0.47, 0.7, 0.2, 0.13)] = 0.1
    body[_ellipse(0.7, 0.5, 0.06, 0.06)] = 1
    return ndimage.gaussian_filter(body, 1)


def _photo() -> np.ndarray:
    """A coloured thing of a breast's outline: nothing but its colour tells."""
    thing = _ellipse(0.5, 1.0, 0.45, 0.7)[..., None] * np.array([0.9, 0.5, 0.2])
    return ndimage.gaussian_filter(thing, (2, 2, 0))


def _noise() -> np.ndarray:
    return np.random.default_rng(3).random((ROWS, COLUMNS))


def _found(path: Path) -> str:
    """Return how a file is refused, or what is doubted about it; empty where it is trusted."""
    try:
        return "; ".join(prepare_breast(read_mammogram(path), 96).doubts)
    except InputError as error:
        assert path.name in str(error)
        return str(error)


@pytest.mark.parametrize("view", ["R-CC", "L-MLO"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: _chest(0.75), "it may be no mammogram"),
        (lambda: _chest(0.0), "it may be no mammogram"),
        (_slice, "it may be no mammogram"),
        (_noise, "no breast found"),
        (_photo, "coloured: it may be no mammogram"),
        (lambda: np.zeros((ROWS, COLUMNS)), "blank"),
        (lambda: np.ones((ROWS, COLUMNS)), "blank"),
        (lambda: np.full((ROWS, COLUMNS), 0.5), "blank"),
    ],
    ids=["chest", "chest in air", "CT", "noise", "photo", "black", "white", "grey"],
)
def test_a_picture_of_something_else_is_refused_or_doubted(tmp_path, make, words, view):
    path = tmp_path / f"a_{view}.png"
    PillowImage.fromarray(np.rint(make() * 255).astype(np.uint8)).save(path)
    found = _found(path)
    assert words in found or "no breast found" in found, found


@pytest.mark.parametrize("view", range(4))
def test_a_breast_mirrored_left_to_right_is_answered_without_doubt(tmp_path, view):
    path = write_mg(tmp_path / "a.dcm", view, PatientOrientation=None)
    plain = prepare_breast(read_mammogram(path), 96)
    mirrored = write_mg(
        tmp_path / "b.dcm", view, pixels=stored(view)[:, ::-1], PatientOrientation=None
    )
    found = prepare_breast(read_mammogram(mirrored), 96)
    assert plain.doubts == found.doubts == ()
    assert any("is mirrored" in note for note in found.notes)
    np.testing.assert_allclose(found.pixels, plain.pixels, atol=0.06)


def test_an_encoding_without_a_decoder_is_refused_by_name(tmp_path):
    path = write_mg(tmp_path / "a.dcm", jpeg_2000=True)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.106"  # JPEG XL, of which GDCM has none
    data.PixelData = encapsulate([b"\xff\x0a" + b"\0" * 200])
    data.save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match=r"a\.dcm: .*export it again"):
        read_mammogram(path)
