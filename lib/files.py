"""Files that are either wholly there or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY_SUFFIX = ".partial"
FileStamp = tuple[int, int, int]  # time of the last change in ns, bytes, inode


@contextmanager
def replaced_atomically(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary file beside `path`, and move it into place when the body ends well.

    A reader, or a process started after a crash, sees the old content or the new, never a part.
    If the body fails (full disk, say), the old file stays as it was and no temporary one is left.
    Written by hand: the standard library has no such function, and the packages that have one do
    not sync the folder, or are no longer maintained.

    Args:
        suffix: ending of the temporary file, for libraries that choose the format by it.
    """
    ending = f"{TEMPORARY_SUFFIX}{suffix}"
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=ending, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Call `write` with a file whose content then replaces `path`; see `replaced_atomically`."""
    path = Path(path)
    with replaced_atomically(path) as temporary, open(temporary, "wb") as file:
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
        yield
    except BaseException:
        if existed:
            os.replace(earlier, path)
        else:
            path.unlink(missing_ok=True)
        raise
    finally:
        earlier.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write `value` as JSON, atomically."""
    text = json.dumps(value, indent=2, default=str) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))


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


def remove_leftovers(folder: Path, older_than_seconds: float = 3600) -> None:
    """Delete temporary files that a killed process left in `folder`."""
    for file in folder.glob(f".*{TEMPORARY_SUFFIX}*"):
        try:
            if time.time() - file.stat().st_mtime > older_than_seconds:
                file.unlink()
        except OSError:
            continue


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
    for line in sorted(f"{path.name}:{_sha256_once(path, file_stamp(path))}" for path in paths):
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def content_fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits over the content of `path`."""
    return _sha256_once(path, file_stamp(path))[:16]


def file_stamp(path: Path) -> FileStamp:
    """Return what changes when a file is written or replaced, without reading it."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


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
