"""What weights tell of their ancestors stays short, however often they are trained on."""

from __future__ import annotations

from typing import Any

from lib.training.provenance import GENERATIONS, shortened
from lib.weights.contents import check_plain


def ancestors(provenance: dict[str, Any]) -> list[int]:
    steps = []
    while provenance:
        steps.append(provenance["step"])
        provenance = provenance["from"]
    return steps


def test_weights_of_500_retrainings_tell_of_the_last_ones() -> None:
    provenance: dict[str, Any] = {"step": 0, "from": None}
    for step in range(1, 500):
        provenance = {"step": step, "from": shortened(provenance)}
        told = ancestors(provenance)
        assert told == list(range(step, max(step - GENERATIONS, 0) - 1, -1))
    check_plain("provenance", provenance)
    oldest = provenance
    while oldest["from"]:
        oldest = oldest["from"]
    assert oldest["earlier"] == 500 - 1 - GENERATIONS


def test_few_ancestors_stay_as_they_are() -> None:
    provenance = {"step": 2, "from": {"step": 1, "from": None}}
    assert shortened(provenance) == provenance
