"""The view of a mammogram, which is a breast and a projection, from DICOM tags or the file name.

The codes are those of DICOM PS3.16 CID 4014 (view) and CID 4015 (view modifier), in SNOMED CT and
in SNOMED-RT, which older files use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Laterality = Literal["R", "L"]


def _named_by(words: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each word, of words by name."""
    return {word: name for name, each in words.items() for word in each.split()}


# codes of ViewCodeSequence by the abbreviation for ViewPosition (0018,5101), PS3.3 C.8.11.7
_PROJECTIONS = _named_by(
    {
        "CC": "399162004 R-10242",
        "MLO": "399368009 R-10226 399268006 G-5224",
        "ML": "399260004 R-10224",
        "LM": "399352003 R-10228",
        "LMO": "399099002 R-10230 399159002 G-5225",
        "XCCL": "399192008 R-1024A",
        "XCCM": "399101009 R-1024B",
        "FB": "399196006 R-10244",
        "SIO": "399188001 R-102D0",
        "ISO": "441555000 R-40AAA",
        "specimen": "127457009 G-8310",
    }
)
_MODIFIERS = _named_by(
    {
        "implant displaced": "399209000 R-102D5",
        "magnified": "399163009 R-102D6",
        "spot compression": "399055006 R-102D7",
        "cleavage": "399161006 R-102D2",
        "axillary tail": "399011000 R-102D1",
        "rolled": "399197002 R-102D3 399226006 R-102D4 414493004 R-102CA 415670009 R-102C9",
        "tangential": "399110001 R-102C2",
        "anterior compression": "441752004 P2-00161",
        "axillary tissue": "442580003 R-40AB2",
    }
)
_ABBREVIATIONS = frozenset(_PROJECTIONS.values()) | {"AT", "CV"}
_WORDS = _named_by(
    {
        "implant displaced": "id implant",
        "magnified": "m mag magnification",
        "spot compression": "s spot",
        "tomosynthesis": "tomo dbt",
        "rolled": "rl rm",
    }
)
_MAGNIFIED = 1.25  # least EstimatedRadiographicMagnificationFactor; a contact view has 1.0 to 1.1
TOMOSYNTHESIS = (
    "1.2.840.10008.5.1.4.1.1.13.1.3",  # Breast Tomosynthesis Image Storage
    "1.2.840.10008.5.1.4.1.1.13.1.4",  # Breast Projection X-Ray, For Presentation
    "1.2.840.10008.5.1.4.1.1.13.1.5",  # Breast Projection X-Ray, For Processing
)
# ID_PATIENT_MG_SIDE_VIEW_ANON of INbreast, where ML means MLO
_INBREAST = re.compile(r"(\d+)_([0-9a-z]+)_MG_([RL])_(CC|ML|MLO)_ANON", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:(?P<exam>.+?)[ _.-]+)?(?P<side>right|left|r|l)[ _.-]*(?:dm[ _.-]+)?(?P<id>id)?[ _.-]*"
    r"(?P<view>cc|mlo|ml|lmo|lm|xccl|xccm)(?P<id2>id)?(?P<rest>(?:[ _.-]+[a-z0-9]+)*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class View:
    """A breast and a projection of it.

    Attributes:
        laterality: "R" or "L"; None if unknown.
        projection: "CC", "MLO", "ML" ..., as in ViewPosition; None if unknown.
    """

    laterality: Laterality | None = None
    projection: str | None = None

    @property
    def name(self) -> str:
        """The name, such as ``R-CC``; a ``?`` stands for an unknown part."""
        return f"{self.laterality or '?'}-{self.projection or '?'}"

    @property
    def standard(self) -> bool:
        """Whether it is one of the four views of a screening exam."""
        return self in STANDARD_VIEWS

    def or_else(self, other: View) -> View:
        """Return this view, with unknown parts taken from another one."""
        return View(self.laterality or other.laterality, self.projection or other.projection)


STANDARD_VIEWS = (View("R", "CC"), View("L", "CC"), View("R", "MLO"), View("L", "MLO"))


@dataclass(frozen=True)
class ViewFound:
    """A view as tags or a file name describe it.

    Attributes:
        modifiers: why it is not a plain view: "implant displaced", "magnified", "spot compression",
            "tomosynthesis" ...; empty for a plain view.
        exam: the part of a file name before the view; empty if there is none, or from tags.
        patient: the patient's key in a file name; empty if there is none, or from tags.
    """

    view: View
    modifiers: tuple[str, ...] = ()
    exam: str = ""
    patient: str = ""


def view_of_tags(data: Any) -> ViewFound:
    """Return the view that ImageLaterality or Laterality, ViewPosition and ViewCodeSequence give.

    ViewCodeSequence counts more than ViewPosition, which is free text in many files. Digitised film
    (CBIS-DDSM) has the projection as PatientOrientation.
    """
    laterality = str(data.get("ImageLaterality") or data.get("Laterality") or "").strip().upper()
    told = data.get("ViewPosition") or data.get("PatientOrientation") or ""
    position = re.sub(r"[^A-Z]", "", told.upper()) if isinstance(told, str) else ""
    modifiers: list[str] = []
    projection = position if position in _ABBREVIATIONS else None
    if projection is None:  # such as "LCCID" or "RMLO"
        named = view_of_name(position)
        if named is not None:
            projection = named.view.projection
            laterality = laterality or named.view.laterality or ""
            modifiers.extend(named.modifiers)
        elif position.endswith("ID") and position[:-2] in _ABBREVIATIONS:
            projection, modifiers = position[:-2], ["implant displaced"]
    for item in data.get("ViewCodeSequence") or []:
        projection = _PROJECTIONS.get(str(item.get("CodeValue", "")).strip(), projection)
        for modifier in item.get("ViewModifierCodeSequence") or []:
            code = str(modifier.get("CodeValue", "")).strip()
            meaning = str(modifier.get("CodeMeaning", "") or "").strip().lower()
            if code not in ("442581004", "R-40AB3", "442593008", "R-40ABE"):  # nipple, fold: plain
                modifiers.append(_MODIFIERS.get(code, meaning or code))
    modifiers.extend(_by_other_tags(data))
    side: Laterality | None = "R" if laterality == "R" else "L" if laterality == "L" else None
    return ViewFound(View(side, projection), tuple(dict.fromkeys(m for m in modifiers if m)))


def _by_other_tags(data: Any) -> list[str]:
    found = []
    try:
        factor = float(data.get("EstimatedRadiographicMagnificationFactor") or 1.0)
        frames = int(data.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        factor, frames = 1.0, 1
    if factor >= _MAGNIFIED:
        found.append("magnified")
    if "SPOT" in str(data.get("PaddleDescription") or "").upper():
        found.append("spot compression")
    if frames > 1 or str(data.get("SOPClassUID", "")) in TOMOSYNTHESIS:
        found.append("tomosynthesis")
    return found


def view_of_name(stem: str) -> ViewFound | None:
    """Return the view that a file name without its extension contains; None if there is none.

    The form is ``<exam>_<R|L>-<CC|MLO>``, with any of ``-_. `` or nothing between side and view.
    The side may be a word. Modifiers may follow the view (``ID``, ``MAG``, ``SPOT``, ``TOMO``); a
    number there is an index and is ignored. Names of INbreast and of the plain images of CDD-CESM
    (``P3_R_DM_CC``) are understood, too.
    """
    if published := _INBREAST.fullmatch(stem):
        projection = "CC" if published[4].upper() == "CC" else "MLO"
        side = published[3].upper()
        return ViewFound(
            View(side, projection),  # type: ignore[arg-type]
            exam=published[2].lower(),
            patient=published[2].lower(),
        )
    named = _NAMED.fullmatch(stem)
    if not named:
        return None
    modifiers = ["implant displaced"] if named["id"] or named["id2"] else []
    for word in re.split(r"[ _.-]+", (named["rest"] or "").lower()):
        if word and not word.isdigit():
            modifiers.append(_WORDS.get(word, word))
    side = named["side"][0].upper()
    view = View(side, named["view"].upper())  # type: ignore[arg-type]
    return ViewFound(view, tuple(modifiers), exam=(named["exam"] or "").strip(" _.-"))
