"""What is wrong with an object that was not found."""

from __future__ import annotations

import numpy as np
import pytest

from lib.interactive.click_evaluation import object_error


def _disc(row: int, column: int, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:64, :96]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


ONE, OTHER = _disc(32, 30, 11), _disc(32, 50, 11)
TRUTH = np.where(ONE, 1, np.where(OTHER, 2, 0)).astype(np.int32)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (np.zeros_like(TRUTH), "missed"),
        (OTHER.astype(np.int32), "missed"),
        ((ONE | OTHER).astype(np.int32), "merged"),
        (_disc(32, 30, 20).astype(np.int32), "outline"),
        (np.where(ONE, 1 + (np.arange(96) > 30), 0).astype(np.int32), "outline"),
    ],
)
def test_the_kind_of_an_error_is_told(answer, kind):
    assert object_error(answer, TRUTH, TRUTH == 1) == kind
