"""Which files of the studies can be read, remembered so that no file is looked at twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lib.data.readable import Look, look_at
from lib.files import FileStamp, file_stamp, write_json
from lib.io.channels import CHANNELS
from lib.io.read import image_size
from lib.isolation.calls import read_ahead
from monailabel_app import __version__
from monailabel_app.studies.protocol import SCORES

MEMORY = Path(SCORES, "readable.json")  # in a studies folder
SECONDS = 0.5  # that an overview spends on reading files to their end
SMALL = 4 << 20  # bytes of the largest file that an overview reads to its end
_FORM = "modality"  # of what is written down
ASK_AGAIN_SECONDS = 30.0  # after which a file that could not be read is looked at again


class Looks:
    """What was found in files, by path; a file that changes is looked at again.

    A file that cannot be read is looked at again after a while too: it may be that another file, as
    the pixels of an .mhd, was missing. All are where another choice of channels is made.

    Args:
        folder: of the files, which keeps what was found for the next start; None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.memory = folder / MEMORY if folder else None
        self._channels = folder / CHANNELS if folder else None
        self._rules = self._found_rules()
        self._looks: dict[str, tuple[FileStamp, Look, float]] = {}
        self._guard = threading.Lock()
        self._unsaved = False
        self._recall()

    def at(self, path: Path, whole: bool = False) -> Look:
        """Return what is found in a file.

        Args:
            whole: whether the file must have been read to its end, else a look at its header does.
        """
        try:
            stamp = file_stamp(path)
        except OSError as error:
            return Look(error=f"{path.name}: cannot be read ({error.strerror}); copy it again")
        known = self._looks.get(str(path))
        if known is not None and known[0] == stamp:
            _, look, until = known
            fresh = not look.error or time.monotonic() < until
            if fresh and (look.whole or not whole):
                return look
            whole = whole or look.whole
        look = look_at(path, whole)
        with self._guard:
            self._looks[str(path)] = stamp, look, time.monotonic() + ASK_AGAIN_SECONDS
            self._unsaved |= look.whole and not look.error
        return look

    def overview(self, files: Mapping[str, Path]) -> dict[str, Look]:
        """Return what is found in all files of a folder, by id.

        Small files are read to their end, for a while, of the others the headers.
        """
        if (rules := self._found_rules()) != self._rules:
            with self._guard:
                self._rules, self._looks = rules, {}
        read_ahead(image_size, [(path,) for path in files.values() if str(path) not in self._looks])
        looks = {id: self.at(path) for id, path in files.items()}
        unread = [(_bytes(files[id]), id) for id, look in looks.items() if not look.whole]
        until = time.monotonic() + SECONDS
        for size, id in sorted(unread):
            if size > SMALL or time.monotonic() > until:
                break
            looks[id] = self.at(files[id], whole=True)
        self._keep(files.values())
        return looks

    def _keep(self, files: Iterable[Path]) -> None:
        """Forget all files but these, and write down what was found."""
        paths = {str(path) for path in files}
        with self._guard:
            self._looks = {path: known for path, known in self._looks.items() if path in paths}
        self.save()

    def save(self) -> None:
        """Write down which files were read to their end, if that changed.

        Errors are not kept: a later version may read what this one cannot.
        """
        if self.memory is None or not self._unsaved:
            return
        with self._guard:
            self._unsaved = False
            whole = {
                path: [*stamp, look.modality, look.over_time, *look.size]
                for path, (stamp, look, _) in self._looks.items()
                if look.whole and not look.error
            }
        try:
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.memory, {"rules": self._rules, "whole": whole})
        except OSError:  # a read-only folder, or a full disk: they are read again
            self._unsaved = False

    def _found_rules(self) -> str:
        """Return what decides how the files are read, beside the files."""
        if self._channels is None or not self._channels.exists():
            return f"{__version__} {_FORM}"
        return f"{__version__} {_FORM} {file_stamp(self._channels)}"

    def _recall(self) -> None:
        try:
            assert self.memory is not None
            found: Any = json.loads(self.memory.read_bytes())
            if found["rules"] != self._rules:
                return
            for path, (time_ns, size, inode, modality, loop, *sides) in found["whole"].items():
                look = Look(tuple(sides), whole=True, modality=str(modality), over_time=bool(loop))
                self._looks[path] = (time_ns, size, inode), look, 0.0
        except (
            *(AssertionError, AttributeError, KeyError, OSError),
            *(RecursionError, TypeError, ValueError),
        ):
            return


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
