"""The soak benchmark: what counts as flat, and a short run against a real server."""

from __future__ import annotations

import pytest

from benchmarks.speed import soak
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS

EVEN = {"requests": 0, "memory_mib": 900.0, "handles": 20, "threads": 30, "processes": 1}


def _looks(memory: list[float], **last: float) -> list[dict[str, float]]:
    looks = [
        {**EVEN, "requests": 100 * number, "memory_mib": value, "temporary_files": 1}
        for number, value in enumerate(memory)
    ]
    looks[-1] |= last
    return looks


def test_what_grows_after_warm_up_is_not_flat():
    assert soak.is_flat(_looks([500.0, 700.0, 850.0] + [900.0 + n % 3 for n in range(9)]))
    assert not soak.is_flat(_looks([500.0 + 20 * n for n in range(12)]))


@pytest.mark.parametrize("last", [{"handles": 60}, {"temporary_files": 5}])
def test_handles_and_files_that_are_not_given_back_are_not_flat(last):
    assert not soak.is_flat(_looks([900.0] * 12, **last))


def test_growth_is_told_per_thousand_requests():
    rows = soak.held(_looks([900.0 + 10 * n for n in range(12)]))
    assert rows["memory_mib"]["per_1000"] == pytest.approx(100)
    assert rows["memory_mib"]["most"] == 1010


def test_a_server_is_soaked_and_watched(monkeypatch):
    monkeypatch.setattr(soak, "CLIENTS", 1)
    counted = []
    store = ModelStore(SHIPPED_MODELS, SHIPPED_MODELS)
    report = soak.run(store, lambda: counted.append(1), requests=20)
    assert report["requests"] == len(counted) == 20
    assert not report["errors"]
    assert report["looks"][-1]["memory_mib"] > 100
    lines = soak.table(report)
    assert "per 1000 requests" in "\n".join(lines)
