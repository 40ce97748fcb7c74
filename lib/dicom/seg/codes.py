"""Codes for what a segment shows, found by the name of its label."""

from __future__ import annotations

from dataclasses import dataclass

from lib.dicom.objects import Coded
from lib.tasks.spec import plain

ANATOMY: Coded = ("91723000", "SCT", "Anatomical Structure")
ABNORMAL: Coded = ("49755003", "SCT", "Morphologically Abnormal Structure")
TISSUE: Coded = ("85756007", "SCT", "Tissue")
BREAST: Coded = ("76752008", "SCT", "Breast")
_LESION: Coded = ("52988006", "SCT", "Lesion")


@dataclass(frozen=True)
class Property:
    """What a segment shows.

    Attributes:
        category: of context group 7150.
        type: the structure or tissue.
        region: the anatomic region; None where the label does not tell it.
    """

    category: Coded
    type: Coded
    region: Coded | None = None


_NUCLEUS = Property(ANATOMY, ("84640000", "SCT", "Nucleus"))
_PROSTATE = Property(ANATOMY, ("41216001", "SCT", "Prostate"))
_DENSE = Property(TISSUE, TISSUE, BREAST)

_DEFAULT = Property(TISSUE, TISSUE)  # that of a new segment in 3D Slicer
PROPERTIES = {
    "nucleus": _NUCLEUS,
    "nuclei": _NUCLEUS,
    "nerve": Property(ANATOMY, ("119410002", "SCT", "Nerve")),
    "brachial plexus": Property(ANATOMY, ("36582005", "SCT", "Brachial plexus")),
    "lesion": Property(ABNORMAL, _LESION),
    "breast lesion": Property(ABNORMAL, _LESION, BREAST),
    "mass": Property(ABNORMAL, ("4147007", "SCT", "Mass")),
    "tumor": Property(ABNORMAL, ("108369006", "SCT", "Neoplasm")),
    "cyst": Property(ABNORMAL, ("367643001", "SCT", "Cyst")),
    "gland": Property(ANATOMY, TISSUE),
    "prostate": _PROSTATE,
    "prostate gland": _PROSTATE,
    "breast": Property(ANATOMY, BREAST),
    "dense tissue": _DENSE,
    "fibroglandular tissue": _DENSE,
    "pectoral muscle": Property(ANATOMY, ("60005003", "SCT", "Pectoralis major muscle"), BREAST),
}


def property_of(name: str) -> Property:
    """Return what a label of this name shows; tissue where the name is unknown."""
    return PROPERTIES.get(plain(name), _DEFAULT)
