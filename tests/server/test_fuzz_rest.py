"""A short form of the fuzzing of the routes: `make fuzz` runs the long one."""

from __future__ import annotations

import random

import pytest

from fuzz import rest
from fuzz.rest_requests import HIDDEN, Vocabulary, draw


def test_hostile_requests_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ANSWER_SECONDS", 30.0), ("INFO_SECONDS", 5.0)):  # on a busy machine
        monkeypatch.setattr(rest, name, seconds)
    counts = rest.fuzz(600, seed=18, most=250)
    assert counts.requests == 250
    assert counts.findings == []
    assert counts.statuses[200] > 20  # some are right


def test_the_same_seed_draws_the_same_requests() -> None:
    known = Vocabulary(routes=HIDDEN, query={}, values={}, bodies={"/train": ["a"]}, files=[b"x"])
    drawn = [[draw(random.Random(f"7:{n}"), known) for n in range(50)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 40
