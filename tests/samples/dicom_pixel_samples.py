"""Small DICOM images whose pixels are described in every way, and dcmtk's encoders for them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import MRImageStorage

from lib.phantoms.dicom_objects import image_instance

ENCODINGS = {
    "as stored": (),
    "implicit": ("dcmconv", "+ti"),
    "big endian": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "RLE": ("dcmcrle",),
    "JPEG lossless": ("dcmcjpeg", "+e1"),
    "JPEG-LS": ("dcmcjpls",),
}
VALUES = np.random.default_rng(5).integers(0, 4096, (20, 30)).astype(np.uint16)


def image(pixels: np.ndarray = VALUES, **tags: Any) -> Any:
    """Return `(rows, columns)` as an instance; tags of None are left out."""
    left_out = [tag for tag, value in tags.items() if value is None]
    kept = {tag: value for tag, value in tags.items() if value is not None}
    kept.setdefault("PixelRepresentation", int(pixels.dtype.kind == "i"))
    data = image_instance(MRImageStorage, "MR", ("pixels", 0, 0, 0), pixels[None], **kept)
    for tag in left_out:
        data.pop(tag, None)
    return data


def write(path: Path, pixels: np.ndarray = VALUES, **tags: Any) -> Path:
    """Write `image` as a file."""
    image(pixels, **tags).save_as(path, enforce_file_format=True)
    return path


def encoded(path: Path, encoding: str) -> Path:
    """Return the file in another encoding; skips where dcmtk is not installed."""
    if not ENCODINGS[encoding]:
        return path
    program, *options = ENCODINGS[encoding]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} of the Debian package dcmtk")
    other = path.with_name(f"{encoding} {path.name}")
    subprocess.run([program, *options, path, other], check=True, timeout=60)
    return other
