"""Sessions end in time, and damaged ones break nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from monailabel_app.web.sessions import RECORD, SafeSessions


def add(sessions: SafeSessions, folder: Path) -> str:
    image = folder / "image.png"
    image.write_bytes(b"image")
    return str(sessions.add_session(str(image))[0])


@pytest.fixture
def sessions(tmp_path: Path) -> SafeSessions:
    return SafeSessions(str(tmp_path / "sessions"), 3600)


def test_a_session_is_there_after_a_new_start_and_goes_when_its_time_is_over(sessions, tmp_path):
    id = add(sessions, tmp_path)
    again = SafeSessions(sessions.store_path, 3600)
    assert again.remove_expired() == 0
    assert again.get_session(id) is not None
    record = Path(sessions.store_path, id, RECORD)
    record.write_text(json.dumps({**json.loads(record.read_text()), "last_access_ts": 1}))
    assert SafeSessions(sessions.store_path, 3600).remove_expired() == 1
    assert not list(Path(sessions.store_path).iterdir())


@pytest.mark.parametrize("text", ["", '{"na', "[1]", '{"image": 5}', "[" * 100_000, None])
def test_a_damaged_session_is_none_and_removed_when_it_is_old(sessions, text):
    folder = Path(sessions.store_path, "torn")
    folder.mkdir(parents=True)
    if text is not None:
        (folder / RECORD).write_text(text)
    assert sessions.get_session("torn") is None
    assert sessions.remove_expired() == 0, "somebody may be making it"
    os.utime(folder, (1, 1))
    assert sessions.remove_expired() == 1
    assert not folder.exists()


def test_other_things_among_the_sessions_are_left_alone(sessions, tmp_path):
    root = Path(sessions.store_path)
    root.mkdir()
    (root / "file").touch()
    (tmp_path / "patients").mkdir()
    (root / "link").symlink_to(tmp_path / "patients")
    (root / "loop").symlink_to(root / "loop")
    assert sessions.remove_expired() == 0
    assert (tmp_path / "patients").is_dir()
