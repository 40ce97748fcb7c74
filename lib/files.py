"""Files that are either wholly there or not at all."""

from __future__ import annotations

import hashlib
import json
import os
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


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Call `write` with a temporary file beside `path`, then move it into place.

    A reader, or a process started after a crash, sees the old content or the new, never a part.
    A failed write (full disk, say) leaves the old file as it was and no temporary one.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX, dir=path.parent
    )
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return path


def copy_atomically(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a file; `target` is replaced whole or not at all."""
    with open(source, "rb") as content:
        return write_atomically(target, lambda file: shutil.copyfileobj(content, file))


@contextmanager
def put_back_on_error(path: Path) -> Iterator[None]:
    """Let the body replace `path`; if it fails, `path` is as it was before. Needs no free space."""
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


def remove_leftovers(folder: Path, older_than_seconds: float = 3600) -> None:
    """Delete temporary files that a killed process left in `folder`."""
    for file in folder.glob(f".*{TEMPORARY_SUFFIX}"):
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
    """Return 16 hexadecimal digits over names and contents of `paths`, independent of order."""
    digest = hashlib.sha256()
    for line in sorted(f"{path.name}:{_known_sha256(path, _stamp(path))}" for path in paths):
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def file_print(path: Path) -> str:
    """Return 16 hexadecimal digits over the content of `path`."""
    return _known_sha256(path, _stamp(path))[:16]


def _stamp(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


@lru_cache(maxsize=65536)  # the folds of a study ask for the same large files again and again
def _known_sha256(path: Path, stamp: object) -> str:
    return sha256(path)


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _current_umask()


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, where the platform can."""
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
