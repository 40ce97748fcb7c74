"""Codes that tell other programs what a segment shows, by the name of the label."""

from __future__ import annotations

from dataclasses import dataclass

from lib.dicom.objects import Coded

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
        type: what it is.
        region: where it is; None where the label does not say it.
    """

    category: Coded
    type: Coded
    region: Coded | None = None


_NUCLEUS = Property(ANATOMY, ("84640000", "SCT", "Nucleus"))
_PROSTATE = Property(ANATOMY, ("41216001", "SCT", "Prostate"))
_DENSE = Property(TISSUE, TISSUE, BREAST)

DEFAULT = Property(TISSUE, TISSUE)  # as 3D Slicer's of a new segment
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


def plain(name: str) -> str:
    """Return a label name for comparison: lower case, one space for blanks, ``_`` and ``-``."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def property_of(name: str) -> Property:
    """Return what a label of this name shows; tissue where the name is not known."""
    return PROPERTIES.get(plain(name), DEFAULT)
