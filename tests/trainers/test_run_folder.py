"""The status of a run that was killed is never told as that of the run that begins after it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lib.files import read_object, write_json
from lib.training.progress import STATS
from trainers import run_folder
from trainers.run_folder import RunFolder

KILLED = {"active": True, "step": 7, "seconds": 3.0, "pid": 1}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """The folder that a killed run has left."""
    write_json(tmp_path / STATS, KILLED)
    return RunFolder(tmp_path, "nuclei")


def test_a_killed_run_is_not_active(folder: RunFolder) -> None:
    assert folder.stats()["active"] is False
    with folder.exclusive():
        assert folder.stats() == {}


def test_who_asks_while_a_run_begins_gets_nothing_of_the_killed_one(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(run_folder, "remove_leftovers", lambda _: told.append(folder.stats()))
    with folder.exclusive():
        assert told == [{}]


def test_who_has_read_the_killed_one_as_a_run_begins_does_not_call_it_active(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as run:

        def read_as_a_run_begins(path: Path) -> dict[str, Any]:
            stats = read_object(path)
            monkeypatch.undo()
            run.enter_context(folder.exclusive())
            return stats

        monkeypatch.setattr(run_folder, "read_object", read_as_a_run_begins)
        assert folder.stats() == {}


def test_the_status_of_an_ended_run_asks_for_no_lock(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(folder.path / STATS, {**KILLED, "active": False})

    def locked(*_: object, **__: object) -> None:
        raise AssertionError("the lock may lie where nothing can be written, or others need it")

    monkeypatch.setattr(run_folder, "FileLock", locked)
    assert folder.stats()["total_time"] == "3.0"


def test_nobody_trains_where_nothing_may_be_written(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(run_folder, "FileLock", denied)
    assert folder.stats()["active"] is False and not folder.in_progress()


def test_two_who_ask_at_once_do_not_tell_each_other_that_somebody_trains(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "ASK_SECONDS", 10.0)  # a busy machine may stop who asks
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: folder.stats()["active"], range(400)))
    assert not any(told)
