"""Stands in for pydicom-seg, which needs NumPy below 2 and jsonschema below 4.

MONAI Label imports it for two conversions between DICOM SEG and other files that this app does by
itself (`lib.dicom.seg`). See docs/decisions/0024-current-libraries.md of the app.
"""


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"pydicom_seg.{name}: this is a stand-in without functions, installed with unetvnet; the "
        f"app reads and writes DICOM SEG by itself. For pydicom-seg use an environment of its own"
    )
