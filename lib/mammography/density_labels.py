"""Labels of breast density: classes A to D and others, read from and written to label files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.files import write_json

BIRADS = ("A", "B", "C", "D")  # BI-RADS 5th edition; 1 to 4 in a label image
MIAS = ("F", "G", "D")  # tissue of mini-MIAS: fatty, fatty-glandular, dense-glandular
HALVES = ("non-dense", "dense")  # A or B, and C or D; 5 and 6 in a label image
DENSITIES = (*BIRADS, *HALVES)  # in the order of their values in label images, from 1
# keys of the JSON: whether the letter D is of BI-RADS or of mini-MIAS; dense tissue of the views
SCALE, PERCENT = "scale", "percent_density"


def read_density(path: str | Path) -> str:
    """Return the density class of a label file.

    A JSON file holds ``{"density": "C"}``, where the value may also be 1 to 4 for A to D,
    ``"dense"`` or ``"non-dense"``; of the other keys, which are free, `read_percent` reads one. A
    label image has one value that is not zero: 1 = A, 2 = B, 3 = C, 4 = D, 5 = non-dense, 6 =
    dense.

    Raises:
        InputError: an unreadable file, no class, an unknown class, or an image of several classes.
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

    from lib.io.labels import read_label
    from lib.io.read import read_image

    try:
        values = np.unique(read_label(path))
    except InputError:  # viewers send 3D files of one slice; any other fault recurs here
        values = np.unique(read_image(path, spatial_dims=3).pixels)
    painted = [int(value) for value in values if value != 0]
    if len(painted) != 1 or painted[0] not in range(1, len(DENSITIES) + 1):
        raise InputError(
            f"{path.name}: label values {painted or 'none but 0'}, expected one of 1 (A) to 4 (D), "
            f"5 (non-dense) or 6 (dense) beside 0; paint with one segment"
        )
    return DENSITIES[painted[0] - 1]


def read_scale(path: str | Path) -> str:
    """Return the scale of a label: "mias" if its JSON says so, or else "birads"."""
    if Path(path).suffix.lower() != ".json":
        return "birads"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        mias = content.get("density") in ("F", "G") or content.get(SCALE) == "mias"
    except (OSError, ValueError, AttributeError):
        return "birads"
    return "mias" if mias else "birads"


def read_percent(path: str | Path) -> dict[str, float]:
    """Return the percent density, 0 to 100, by view of a JSON label; empty where it has none.

    Its key is ``percent_density``, as in ``{"R-CC": 12.5, "L-CC": 14.1}``.

    Raises:
        InputError: no JSON, no names with numbers, or a number out of range.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name}: not JSON ({error}); write it again") from None
    values = content.get(PERCENT) if isinstance(content, dict) else None
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InputError(
            f"{path.name}: {PERCENT} is '{str(values)[:40]}', expected a number for each view, as "
            f'in {{"R-CC": 12.5}}; correct it or leave it away'
        )
    for view, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (math.isfinite(value) and 0 <= value <= 100):
            raise InputError(
                f"{path.name}: {PERCENT} of {view} is '{str(value)[:40]}', expected a number from "
                f"0 to 100; correct it or leave it away"
            )
    return {str(view): float(value) for view, value in values.items()}


def density_class(value: Any, name: str) -> str:
    """Return the class A, B, C or D, or F or G of mini-MIAS, of a letter or of a number 1 to 4.

    Args:
        name: of the file, for errors.

    Raises:
        InputError: any other value.
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
    """Write a density as a JSON label, atomically.

    Args:
        scale: "birads", or "mias" for F, G and D of mini-MIAS.
        facts: more keys to keep, such as the source.
    """
    return write_json(path, {"density": density, SCALE: scale, **facts})
