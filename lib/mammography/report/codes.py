"""Codes for density reports: those of the standard, and where it has none our own."""

from __future__ import annotations

from lib.dicom.objects import Coded

OWN_SCHEME = "99UVDENSITY"
TITLE: Coded = ("111400", "DCM", "Breast Imaging Report")
MAMMOGRAPHY: Coded = ("71651007", "SCT", "Mammography")
COMPOSITION: Coded = ("129715009", "SCT", "Breast composition")
PERCENT_DENSE: Coded = ("111046", "DCM", "Percent Fibroglandular Tissue")
PERCENT: Coded = ("%", "UCUM", "Percent")
NO_UNIT: Coded = ("1", "UCUM", "no units")
RIGHT: Coded = ("24028007", "SCT", "Right")
LEFT: Coded = ("7771000", "SCT", "Left")

CLASSES: dict[str, dict[str, Coded]] = {
    "birads": {  # context group 6000
        "A": ("129716005", "SCT", "Almost entirely fat"),
        "B": ("129717001", "SCT", "Scattered fibroglandular densities"),
        "C": ("129718006", "SCT", "Heterogeneously dense"),
        "D": ("129719003", "SCT", "Extremely dense"),
    },
    "mias": {
        "F": ("MIAS-F", OWN_SCHEME, "Fatty"),
        "G": ("MIAS-G", OWN_SCHEME, "Fatty-glandular"),
        "D": ("MIAS-D", OWN_SCHEME, "Dense-glandular"),
    },
}
_SNOMED_RT = {  # of older writers
    "F-01711": "A",
    "F-01712": "B",
    "F-01713": "C",
    "F-01714": "D",
}
_CLASS_OF_CODE = {
    (code[0], code[1]): (name, scale)
    for scale, row in CLASSES.items()
    for name, code in row.items()
} | {
    (value, scheme): (name, "birads")
    for value, name in _SNOMED_RT.items()
    for scheme in ("SRT", "SNM3")
}


def class_of(value: str, scheme: str) -> tuple[str, str] | None:
    """Return the density class and the scale of a code; None for any other code."""
    return _CLASS_OF_CODE.get((value, scheme))


def probability_of(name: str, scale: str) -> Coded:
    """Return the code that names the probability of a class."""
    meaning = CLASSES[scale][name][2]
    return (f"P-{scale.upper()}-{name}", OWN_SCHEME, f"Probability of {name}, {meaning}")


PROBABILITIES = {
    probability_of(name, scale)[0]: name for scale, row in CLASSES.items() for name in row
}
