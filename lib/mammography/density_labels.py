"""Answers on breast density: class A to D, as JSON or as a label image, and their tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.files import write_json

BIRADS = ("A", "B", "C", "D")  # BI-RADS 5th edition; a label image holds 1 for A ... 4 for D
MIAS = ("F", "G", "D")  # tissue of mini-MIAS: fatty, fatty-glandular, dense-glandular
HALVES = ("non-dense", "dense")  # A or B, C or D, where no more is known; 5 and 6 in a label image
SCALE = "scale"  # of the JSON: which of the two D means


def read_density(path: str | Path) -> str:
    """Return the density class of a label file.

    JSON holds ``{"density": "C"}`` (or 1 to 4 for A to D), or ``"dense"`` or ``"non-dense"``; a
    label image has one value that is not zero: 1 = A, 2 = B, 3 = C, 4 = D, 5 = non-dense,
    6 = dense. Other keys of the JSON are free.

    Raises:
        InputError: unreadable, no class, an unknown one, or an image of several classes or none.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path.name}: no such file") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path.name}: not JSON ({error}); write it again") from None
        value = content.get("density") if isinstance(content, dict) else None
        half = str(value).strip().lower()
        return half if half in HALVES else density_class(value, path.name)
    import numpy as np

    from lib.io.masks import read_label
    from lib.io.read import read_image

    try:
        values = np.unique(read_label(path))
    except InputError:  # viewers send 3D files of one slice; anything else fails again here
        values = np.unique(read_image(path, spatial_dims=3).pixels)
    found = [int(value) for value in values if value != 0]
    classes = (*BIRADS, *HALVES)
    if len(found) != 1 or found[0] not in range(1, len(classes) + 1):
        raise InputError(
            f"{path.name}: label values {found or 'none but 0'}, expected one of 1 (A) to 4 (D), 5 "
            f"(non-dense) or 6 (dense) beside 0; paint with one segment"
        )
    return classes[found[0] - 1]


def read_scale(path: str | Path) -> str:
    """Return which scale a label is on: "mias" where the JSON says so, else "birads"."""
    if Path(path).suffix.lower() != ".json":
        return "birads"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        mias = content.get("density") in ("F", "G") or content.get(SCALE) == "mias"
    except (OSError, ValueError, AttributeError):
        return "birads"
    return "mias" if mias else "birads"


def density_class(value: Any, name: str) -> str:
    """Return A, B, C, D, or F, G of mini-MIAS, for a letter in any case or a number 1 to 4.

    Raises:
        InputError: none of these; the message names `name`.
    """
    text = str(value).strip().upper() if value is not None and not isinstance(value, bool) else ""
    if text in ("1", "2", "3", "4"):
        return BIRADS[int(text) - 1]
    if text in BIRADS or text in MIAS:
        return text
    raise InputError(
        f"{name}: density '{value}', expected A, B, C or D (or 1 to 4; F, G or D of mini-MIAS); "
        f"correct it"
    )


def write_density(path: Path, density: str, scale: str = "birads", **facts: Any) -> Path:
    """Write the JSON answer, whole or not at all.

    Args:
        scale: "birads", or "mias" where F, G and D are meant.
        facts: more keys to keep, such as the source.
    """
    return write_json(path, {"density": density, SCALE: scale, **facts})
