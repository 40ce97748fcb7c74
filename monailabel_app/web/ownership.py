"""Sessions and files of answers belong to who made them; others do not learn that they exist."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infer.result_files import ResultFiles
from lib.errors import NotFoundError
from monailabel_app.web.people import person

_OWNER = "user"  # in the record of a session
_MOST_OWNERS = 10_000


class OwnedResultFiles(ResultFiles):
    """Files of answers, each for who asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self._owners: OrderedDict[str, str] = OrderedDict()

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Yield a folder for the files of one answer to who asks now."""
        with super().new_folder() as folder:
            self._owners[folder.name] = person().name
            while len(self._owners) > _MOST_OWNERS:
                self._owners.popitem(last=False)
            yield folder

    def find(self, key: str, name: str) -> Path:
        """Return a file; one of somebody else raises `NotFoundError`, as if it was not there."""
        return super().find(key if person().owns(self._owners.get(key, "")) else "", name)


def own_session(sessions: Any, id: str) -> None:
    """Keep who made a session, in its record."""
    sessions.get_session(id, update_ts=False).meta[_OWNER] = person().name
    sessions.get_session(id)  # writes the record


def check_session(sessions: Any, id: str) -> None:
    """Raise `NotFoundError` unless there is such a session, of who asks."""
    # a session is a folder with this name: a path would open a folder of somebody else
    is_name = id.replace("-", "").isalnum()
    known = is_name and sessions is not None  # an empty store may have sessions of an earlier run
    session = sessions.get_session(id, update_ts=False) if known else None
    if session is None or not person().owns(session.meta.get(_OWNER, "")):
        raise NotFoundError(f"unknown session '{id}'; open a new one")
