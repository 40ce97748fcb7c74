"""Decoded frames, kept in memory within a limit: each file is decoded once for all its frames."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from lib.files import FileStamp, file_stamp
from lib.io.shown_frames import ShownFrames, shown_frames

LIMIT = 1 << 28  # bytes of all frames that are kept
AT_ONCE = 2  # files that are decoded at the same time

Key = tuple[Path, str, FileStamp]


class FrameCache:
    """Frames by file; beyond `limit` the least recently used ones are forgotten.

    The last one is always kept, however large: a viewer asks for its frames one by one.
    """

    def __init__(
        self, limit: int = LIMIT, read: Callable[[Path, str], ShownFrames] = shown_frames
    ) -> None:
        self.limit, self._read = limit, read
        self._kept: OrderedDict[Key, ShownFrames] = OrderedDict()
        self._reading: dict[Key, threading.Lock] = {}
        self._guard = threading.Lock()
        self._slots = threading.Semaphore(AT_ONCE)

    def get(self, path: Path, channel: str = "") -> ShownFrames:
        """Return the frames of a file as it is now.

        Args:
            channel: the one that is shown of several.

        Raises:
            InputError: it cannot be read.
        """
        key = path, channel, file_stamp(path)
        if (known := self._known(key)) is not None:
            return known
        with self._guard:
            lock = self._reading.setdefault(key, threading.Lock())
        try:
            with lock:
                if (known := self._known(key)) is not None:
                    return known
                with self._slots:
                    frames = self._read(path, channel)
                self._keep(key, frames)
                return frames
        finally:
            with self._guard:
                self._reading.pop(key, None)

    def _known(self, key: Key) -> ShownFrames | None:
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Key, frames: ShownFrames) -> None:
        with self._guard:
            self._kept[key] = frames
            total = sum(one.pixels.nbytes for one in self._kept.values())
            while total > self.limit and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                total -= gone.pixels.nbytes
