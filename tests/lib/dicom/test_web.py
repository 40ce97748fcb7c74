"""What DICOMweb tells of a DICOM file."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from lib.dicom.web import dicom_json
from lib.phantoms.dicom_objects import image_instance, uid


@pytest.mark.parametrize(
    ("photometric", "shown"), [("PALETTE COLOR", "RGB")] + [("MONOCHROME2",) * 2]
)
def test_nothing_of_a_palette_is_told(photometric, shown, tmp_path):
    data = image_instance(
        SecondaryCaptureImageStorage,
        "US",
        ("palette", 1, 1, 0),
        np.zeros((1, 4, 6), np.uint8),
        PhotometricInterpretation=photometric,
        PaletteColorLookupTableUID=uid("a palette"),
    )
    for colour in ("Red", "Green", "Blue"):
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data, f"Segmented{colour}PaletteColorLookupTableData", bytes(8))
    data.save_as(tmp_path / "palette.dcm", enforce_file_format=True)
    row = json.loads(dicom_json(tmp_path / "palette.dcm"))
    assert pydicom.Dataset.from_json(row).PhotometricInterpretation == shown
    assert not [tag for tag in row if tag.startswith(("002811", "002812"))]
