"""How far two readers agree on the density of exams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.mammography.density_labels import BIRADS, HALVES, MIAS
from lib.statistics import weighted_kappa

SCALES = {"birads": BIRADS, "mias": MIAS, "halves": HALVES}  # classes from fatty to dense


def scale_of(density: str, scale: str) -> str:
    """Return the name in `SCALES` of the classes that a density is one of.

    Args:
        density, scale: as `lib.mammography.density_labels` reads them.
    """
    return "halves" if density in HALVES else scale


def compare_densities(pairs: Sequence[tuple[str, str]], scale: str) -> dict[str, Any]:
    """Return how far two readers agree on exams, at least one.

    Args:
        pairs: the density by one reader and by the other, for each exam.
        scale: whose classes they are, see `SCALES`.

    Returns:
        ``exams``, ``percent_agreement``, ``kappa`` (Cohen's, with linear weights; None where both
        gave one and the same class to all), ``classes`` and ``confusion``, a row for each class of
        the one reader and a column for each of the other.
    """
    classes = SCALES[scale]
    confusion = np.zeros((len(classes), len(classes)), int)
    for one, other in pairs:
        confusion[classes.index(one), classes.index(other)] += 1
    kappa = float(weighted_kappa(confusion, power=1, undefined=np.nan))
    return {
        "scale": scale,
        "exams": len(pairs),
        "percent_agreement": 100 * float(np.trace(confusion)) / len(pairs),
        "kappa": None if np.isnan(kappa) else kappa,
        "classes": list(classes),
        "confusion": confusion.tolist(),
    }
