"""What the header of a DICOM file tells of the image that decides which tasks it is for."""

from __future__ import annotations

import os
from pathlib import Path

from lib.errors import InputError
from lib.image import DICOM_EXTENSIONS
from lib.io.read import begins_as_dicom, extension, image_files
from lib.isolation.calls import isolated


def dicom_facts(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """Return the modality of a DICOM file, and whether its frames are a loop over time.

    Returns:
        "" and false for files of other types, which are not opened for it, and for what cannot be
        read: whoever reads the image says why.
    """
    path = Path(path)
    try:
        if extension(path) in DICOM_EXTENSIONS or not extension(path) and begins_as_dicom(path):
            return _dicom_facts(path)
    except (InputError, OSError):
        pass
    return "", False


@isolated(image_files, remember=True)
def _dicom_facts(path: Path) -> tuple[str, bool]:
    from lib.dicom.read import dicom_kind

    return dicom_kind(path)
