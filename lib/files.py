"""Files that are either wholly there or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from lib.leftovers import TEMPORARY_SUFFIX, in_use, new_file, release, remove_left

LARGEST_RECORD = 64 * 2**20  # bytes; that of a million labels
YOUNG_NS = 10**9  # since the last change of a file
FileStamp = tuple[int, int, int]  # time of the last change in ns, bytes, inode


@contextmanager
def replaced_atomically(
    path: Path, suffix: str = "", mode: int = 0, durable: bool = True
) -> Iterator[Path]:
    """Yield a temporary file beside `path`, and move it into place when the body ends well.

    A reader, or a process started after a crash, sees the old content or the new, never a part.
    If the body fails (full disk, say), the old file stays as it was and no temporary one is left.
    Written by hand: the standard library has no such function, and the packages that have one do
    not sync the folder, or are no longer maintained.

    Args:
        suffix: ending of the temporary file, for libraries that choose the format by it.
        mode: permissions of the file, from its first byte on; 0 are the usual ones.
        durable: whether the content survives a power cut from then on; that takes milliseconds.
    """
    ending = f"{TEMPORARY_SUFFIX}{suffix}"
    temporary, handle = new_file(path.parent, f".{path.name}.", ending)
    try:
        yield temporary
        if durable:
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())
        os.chmod(temporary, mode or 0o666 & ~_UMASK)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        release(handle)
    if durable:
        _sync_folder(path.parent)


def write_atomically(
    path: str | os.PathLike[str],
    write: Callable[[BinaryIO], object],
    mode: int = 0,
    durable: bool = True,
) -> Path:
    """Call `write` with a file whose content then replaces `path`; see `replaced_atomically`."""
    path = Path(path)
    with (
        replaced_atomically(path, mode=mode, durable=durable) as temporary,
        open(temporary, "wb") as file,
    ):
        write(file)
    return path


def copy_atomically(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a file; `target` is replaced whole or not at all."""
    with open(source, "rb") as content:
        return write_atomically(target, lambda file: shutil.copyfileobj(content, file))


@contextmanager
def restored_on_error(path: Path) -> Iterator[None]:
    """Let the body replace `path`; if the body fails, restore `path`. Needs no free space."""
    earlier = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY_SUFFIX}")
    existed = path.exists()
    if existed:
        os.link(path, earlier)
    try:
        with in_use(earlier):
            yield
    except BaseException:
        if existed:
            os.replace(earlier, path)
        else:
            path.unlink(missing_ok=True)
        raise
    finally:
        earlier.unlink(missing_ok=True)


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Delete `path` if the body fails."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: Any, mode: int = 0) -> Path:
    """Write `value` as JSON, atomically; `mode` as in `replaced_atomically`."""
    text = json.dumps(value, indent=2, default=str) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()), mode)


def read_object(file: Path) -> dict[str, Any]:
    """Return a JSON object; an absent, damaged or endless file counts as an empty one.

    Numbers that are not finite are None, so that the object may become part of an answer.
    """
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_RECORD:
            return {}
        text = file.read_text(encoding="utf-8")
        content = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
        if "\\ud" in text.lower():  # escaped, half a surrogate pair passes for text
            json.dumps(content, ensure_ascii=False).encode()
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def is_text(name: str) -> bool:
    """Tell whether a name is UTF-8: no other can stand in an index, a record or an answer."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_file_name(text: str) -> str:
    """Return `text` as a part of a file name: only letters, digits, dots and dashes are kept."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.") or "x"


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that killed processes left in `folder`."""
    remove_left(folder.glob(f".*{TEMPORARY_SUFFIX}*"))


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(paths: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits over names and contents of `paths`, in any order."""
    digest = hashlib.sha256()
    for line in sorted(f"{path.name}:{_sha256_of(path)}" for path in paths):
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def content_fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits over the content of `path`."""
    return _sha256_of(path)[:16]


def file_stamp(path: Path) -> FileStamp:
    """Return what changes when a file is written or replaced, without reading it."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def is_young(stamp: FileStamp) -> bool:
    """Tell whether a file has just changed, so that its next content may have the same stamp.

    Clocks of file systems stand still for milliseconds, and what replaces a file may get the inode
    of the one before.
    """
    return abs(time.time_ns() - stamp[0]) < YOUNG_NS


def _sha256_of(path: Path) -> str:
    stamp = file_stamp(path)
    return sha256(path) if is_young(stamp) else _sha256_once(path, stamp)


@lru_cache(maxsize=65536)  # the folds of a study ask for the same large files again and again
def _sha256_once(path: Path, stamp: FileStamp) -> str:
    return sha256(path)


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _current_umask()


def _sync_folder(folder: Path) -> None:
    """Make the renaming survive a power cut, where the platform can sync a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
