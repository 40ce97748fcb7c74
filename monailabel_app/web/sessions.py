"""Uploaded images of sessions: a damaged or half-made one is nobody's, and removed in time."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

from lib.files import read_object, write_atomically

logger = logging.getLogger(__name__)

RECORD = "meta.info"
MAKING_SECONDS = 600.0  # that a session may take to be made


class SafeSessions(Sessions):
    """Sessions as MONAI Label (0.8.5) keeps them; its own fail at the first damaged record."""

    def get_session(
        self, session_id: str, update_ts: bool = True, fetch_cache: bool = True
    ) -> SessionInfo | None:
        """Return a session; None if there is none, or its record is damaged."""
        known = fetch_cache and session_id in self
        if not known and not _is_record(read_object(Path(self.store_path, session_id, RECORD))):
            return None
        try:
            return super().get_session(session_id, update_ts, fetch_cache)
        except (OSError, ValueError):
            return None

    def remove_expired(self) -> int:
        """Remove sessions whose time is over, and folders without a record; return their number."""
        removed = 0
        root = Path(self.store_path)
        for folder in root.iterdir() if root.is_dir() else ():
            try:
                if folder.is_dir() and not folder.is_symlink() and _is_over(folder):
                    self.pop(folder.name, None)
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
            except OSError as error:
                logger.warning(f"Session {folder.name} cannot be removed: {error.strerror}")
        return removed

    def _write_meta_info(self, session_id: str, session_info: SessionInfo) -> None:
        text = session_info.to_str()
        file = Path(self.store_path, session_id, RECORD)
        write_atomically(file, lambda target: target.write(text.encode()))


def _is_over(folder: Path) -> bool:
    record = read_object(folder / RECORD)
    now = time.time()
    if not _is_record(record):
        return now - folder.stat().st_mtime > MAKING_SECONDS
    return 0 < record["expiry"] < now - record["last_access_ts"]


def _is_record(record: Mapping[str, Any]) -> bool:
    numbers = (record.get("expiry"), record.get("last_access_ts"))
    return isinstance(record.get("image"), str) and all(
        isinstance(number, (int, float)) for number in numbers
    )
