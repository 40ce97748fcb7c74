"""The status of a run that was killed is never told as that of the run that begins after it."""

from __future__ import annotations

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
        assert folder.stats()["active"] is False
