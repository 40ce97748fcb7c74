"""Small DICOM ultrasound files for the tests of their reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)
from scipy import ndimage

from lib.dicom.header import open_dicom
from lib.dicom.ultrasound import Ultrasound, interpret

ROWS, COLUMNS = 48, 64
SPACED = {"PixelSpacing": ["0.2", "0.3"]}


def grey(frames: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Smooth moving noise, the same for each call: `(frames, 48, 64)`, up to the rim."""
    noise = np.random.default_rng(4).random((frames, ROWS, COLUMNS))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2), mode="wrap")
    span = np.iinfo(dtype).max * 0.9
    return ((smooth - smooth.min()) / np.ptp(smooth) * span).astype(dtype)


def read_ultrasound(path: Path) -> Ultrasound:
    """Read a file as ultrasound, whatever its modality."""
    return interpret(path, open_dicom(path))


def write_us(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags) -> Path:
    """Write `(frames, rows, columns[, 3])` as DICOM ultrasound; tags of None are left out."""
    syntax = tags.pop("syntax", ExplicitVRLittleEndian)
    content = tags.pop("content", None)
    meta = FileMetaDataset()
    single = len(pixels) == 1
    meta.MediaStorageSOPClassUID = (
        UltrasoundImageStorage if single else UltrasoundMultiFrameImageStorage
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    data = FileDataset(
        str(path),
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_implicit_VR=False,
        is_little_endian=syntax.is_little_endian,
    )
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    data.Modality = "US"
    if not single:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[1:3]
    data.SamplesPerPixel = 1 if pixels.ndim == 3 else 3
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = data.BitsStored = pixels.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    for tag, value in tags.items():
        setattr(data, tag, value)
        if value is None:
            delattr(data, tag)
    data.PixelData = pixels.tobytes() if content is None else content
    if syntax.is_compressed:
        data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    data.save_as(path, enforce_file_format=True)
    return path


def item(**tags) -> Dataset:
    """Return an item of a sequence."""
    made = Dataset()
    for tag, value in tags.items():
        setattr(made, tag, value)
    return made


def group(**sequences: Dataset) -> Dataset:
    """Return a functional group: sequences of one item each."""
    return item(**{name: Sequence([value]) for name, value in sequences.items()})
