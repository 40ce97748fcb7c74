"""Small mammograms for the tests: phantoms, and DICOM files that differ from them by a few tags."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless

from lib.phantoms.mammograms.dicom import mammogram_dataset
from lib.phantoms.mammograms.exams import ExamPhantom, exam_phantom

SCALE = 0.08


@cache
def exam(number: int = 0, density: str = "B") -> ExamPhantom:
    """Four small views, the same for each call: R-CC, L-CC, R-MLO, L-MLO."""
    return exam_phantom(1, number, SCALE, density)


def write_mg(path: Path, view: int = 0, number: int = 0, pixels=None, **tags) -> Path:
    """Write a view as MONOCHROME2 of 12 bits without window; tags of None are left out.

    Args:
        pixels: stored values instead of the phantom's, `(rows, columns)`.
    """
    compressed = tags.pop("jpeg_2000", False)
    phantom = exam(number).views[view]
    data = mammogram_dataset(phantom, 1, number, view)
    if pixels is None:
        top = 2**phantom.detector.bits - 1
        pixels = np.rint(phantom.pixels / top * 4095)
    pixels = np.asarray(pixels).astype(np.uint16)
    data.PhotometricInterpretation, data.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
    data.PixelIntensityRelationshipSign = -1
    data.BitsStored, data.HighBit = 12, 11
    del data.WindowCenter, data.WindowWidth
    data.Rows, data.Columns = pixels.shape
    for tag, value in tags.items():
        setattr(data, tag, value)
        if value is None:
            delattr(data, tag)
    if compressed:
        file = io.BytesIO()
        PillowImage.fromarray(pixels).save(file, "JPEG2000", irreversible=False, no_jp2=True)
        data.PixelData = encapsulate([file.getvalue()])
        data["PixelData"].is_undefined_length = True
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    elif "PixelData" not in tags:
        data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def stored(view: int = 0, number: int = 0) -> np.ndarray:
    """The pixels of a view in 12 bits."""
    phantom = exam(number).views[view]
    return np.rint(phantom.pixels / (2**phantom.detector.bits - 1) * 4095).astype(np.uint16)


def code(value: str, meaning: str = "", **tags) -> Dataset:
    """Return a code item; `tags` may hold its modifiers."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    for tag, content in tags.items():
        setattr(item, tag, content)
    return item


def lut(entries, first: int = 0, depth: int = 12) -> Sequence:
    """Return a VOI or modality LUT sequence of one table."""
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, depth]
    item.LUTData = [int(value) for value in entries]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return Sequence([item])
