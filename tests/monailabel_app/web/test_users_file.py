"""The file of users while the server runs."""

from __future__ import annotations

import pytest

from monailabel_app.web import users_file
from monailabel_app.web.users import Users
from monailabel_app.web.users_file import UsersFile


@pytest.fixture
def users() -> Users:
    users = Users.empty()
    for name in ("anna", "otto"):
        users.set(name, "user", "correct horse")
    return users


def test_a_running_server_sees_changes_and_keeps_the_users_of_a_damaged_file(
    users, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(users_file, "LOOK_SECONDS", 0)
    path = tmp_path / "users.json"
    users.write(path)
    file = UsersFile(path)
    with Users.changed(path) as changed:
        del changed.rows["anna"]
    assert set(file.users().rows) == {"otto"}
    for damaged in (
        '{"secret"',
        "[" * 100_000,
        '{"secret": "x", "users": {"a": {"role": "user"}}}',
    ):
        path.write_text(damaged)
        assert set(file.users().rows) == {"otto"}
    path.unlink()
    assert set(file.users().rows) == {"otto"}
    assert caplog.text.count("The users stay as they were") == 4
    users.write(path)
    assert set(file.users().rows) == {"anna", "otto"}


def test_a_file_is_looked_at_once_a_second(users, tmp_path, monkeypatch):
    users.write(tmp_path / "users.json")
    file, looks = UsersFile(tmp_path / "users.json"), []
    monkeypatch.setattr(UsersFile, "_look", looks.append)
    for _ in range(100):
        file.users()
    assert len(looks) <= 1
