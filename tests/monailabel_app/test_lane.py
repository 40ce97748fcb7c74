"""A lane: few threads, a short queue, and no waiting without end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fastapi import HTTPException

from monailabel_app.lane import Lane


def _run(lane: Lane, work, count: int, admitted: bool = False) -> list[object]:
    async def all_() -> list[object]:
        return await asyncio.gather(
            *(lane.run(work, admitted) for _ in range(count)), return_exceptions=True
        )

    return asyncio.run(all_())


def _run_until_refused(lane: Lane, count: int, most: int) -> tuple[list[object], list[Any]]:
    """Run work that ends when so many were refused; return its results and the refusals."""
    free, refused = threading.Event(), []

    async def one() -> object:
        try:
            return await lane.run(lambda: free.wait(60))
        except HTTPException as error:
            refused.append(error)
            if len(refused) == most:
                free.set()
            return error

    async def all_() -> list[object]:
        return await asyncio.gather(*(one() for _ in range(count)))

    return asyncio.run(all_()), refused


def test_what_finds_no_place_is_refused_at_once_with_the_seconds_to_wait():
    lane = Lane("test", threads=1, waiting=2, patience=60.0)
    results, refused = _run_until_refused(lane, 5, 2)
    assert results[:3] == [True] * 3 and len(refused) == 2
    assert refused[0].status_code == 503
    assert int((refused[0].headers or {})["Retry-After"]) >= 1


def test_what_waits_too_long_for_a_thread_is_refused():
    lane = Lane("test", threads=1, waiting=9, patience=0.1)
    results, refused = _run_until_refused(lane, 3, 2)
    assert results[0] is True and len(refused) == 2


def test_the_rest_of_an_answer_is_never_refused():
    lane = Lane("test", threads=1, waiting=0, patience=0.1)
    assert _run(lane, lambda: True, 3, admitted=True) == [True] * 3


def test_errors_are_passed_on_and_free_the_place():
    def fail() -> None:
        raise ValueError("bad")

    lane = Lane("test", threads=1, waiting=0, patience=1.0)
    for _ in range(3):
        with pytest.raises(ValueError, match="bad"):
            asyncio.run(lane.run(fail))
