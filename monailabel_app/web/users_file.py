"""The file of users while the server runs: what changes in it counts from the next second on."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from lib.errors import InputError
from lib.files import FileStamp, file_stamp
from monailabel_app.web.users import Users

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class UsersFile:
    """The users of a file, read again when it changes.

    A file that cannot be read leaves the users as they were; the server's log says so.

    Raises:
        InputError: at first it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self._users = Users.read(path)
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def users(self) -> Users:
        """Return the users; the file is looked at once a second at most."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= LOOK_SECONDS:
                self._looked = now
                self._look()
            return self._users

    def _look(self) -> None:
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._users = Users.read(self.path)
        except InputError as error:
            logger.error(f"The users stay as they were: {error}")
        else:
            logger.info(f"'{self.path}' has changed: {len(self._users.rows)} users")


def _stamp(path: Path) -> FileStamp | None:
    try:
        return file_stamp(path)
    except OSError:
        return None
