"""Sessions and files of answers: for who made them, and for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from monailabel.utils.sessions import Sessions

from lib.errors import NotFoundError
from monailabel_app.web.access import Access
from monailabel_app.web.ownership import OwnedResultFiles, check_session, own_session
from monailabel_app.web.people import Person, asking


@contextmanager
def asked_by(name: str, access: Access = Access.USER) -> Iterator[None]:
    token = asking.set(Person(name=name, access=access))
    try:
        yield
    finally:
        asking.reset(token)


def test_files_of_an_answer_are_for_who_asked():
    results = OwnedResultFiles()
    with asked_by("anna"), results.new_folder() as folder:
        (folder / "overlay.png").write_bytes(b"x")
    with asked_by("anna"):
        assert results.find(folder.name, "overlay.png").read_bytes() == b"x"
    with asked_by("chief", Access.ADMIN):
        assert results.find(folder.name, "overlay.png").exists()
    with asked_by("bert", Access.REVIEWER), pytest.raises(NotFoundError) as other:
        results.find(folder.name, "overlay.png")
    with asked_by("bert"), pytest.raises(NotFoundError) as unknown:
        results.find("unknown", "overlay.png")
    assert str(other.value) == str(unknown.value)  # nobody learns that it is there


def test_without_a_login_files_of_answers_are_for_all():
    results = OwnedResultFiles()
    with results.new_folder() as folder:
        (folder / "overlay.png").write_bytes(b"x")
    assert results.find(folder.name, "overlay.png").exists()
    with asked_by("anna"), pytest.raises(NotFoundError):  # of before there was a login
        results.find(folder.name, "overlay.png")


def test_a_session_keeps_its_owner_over_a_restart(tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(b"x")
    sessions = Sessions(str(tmp_path / "sessions"))
    with asked_by("anna"):
        id, _ = sessions.add_session(str(image))
        own_session(sessions, id)
    for again in (sessions, Sessions(str(tmp_path / "sessions"))):
        with asked_by("anna"):
            check_session(again, id)
        with asked_by("bert"), pytest.raises(NotFoundError, match="unknown session"):
            check_session(again, id)


@pytest.mark.parametrize("id", ["", "../x", "nothing", "x" * 300, "x\0"])
def test_what_is_no_session_is_refused(tmp_path: Path, id: str):
    for sessions in (Sessions(str(tmp_path)), None):
        with pytest.raises(NotFoundError):
            check_session(sessions, id)
