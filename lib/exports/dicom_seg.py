"""An answer on a DICOM file as DICOM segmentation that refers to it."""

from __future__ import annotations

import io

import pydicom

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.dicom.sources import read_sources
from lib.errors import InputError
from lib.exports.answer import Answer
from lib.io.channels import Chooser
from lib.io.read import begins_as_dicom


def segmentation(answer: Answer) -> bytes:
    """Return the label image as DICOM; more objects than a file keeps apart become one segment.

    Raises:
        InputError: the image is no DICOM file, or no segmentation can refer to it.
    """
    path, channel = answer.image.path, answer.image.channel
    if not begins_as_dicom(path):
        raise InputError(
            f"{path.name} is no DICOM image, so no DICOM segmentation can refer to it; ask for "
            f"another export"
        )
    seg = make_seg(
        answer.label,
        read_sources(path, Chooser(channel) if channel else None),
        answer.labels,
        Author(answer.model, answer.version, "", answer.software),
        instances=answer.numbered,
        too_many="merge",
    )
    content = io.BytesIO()
    pydicom.dcmwrite(content, seg, enforce_file_format=True)
    return content.getvalue()
