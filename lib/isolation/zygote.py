"""The process that workers are forked from: it has the readers loaded, and has seen no file.

It is started by `lib.isolation.pool`, never by a fork of the server, so that no thread, lock or
secret of the server is in it. A worker is forked ahead of its use, reads for one request, and ends.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lib.errors import InputError
from lib.isolation.messages import receive, resolve, send
from lib.isolation.sandbox import Confinement, end_with_parent, limit_memory, limit_seconds
from lib.leftovers import PRIVATE, remove_left

# imported before the first fork; names only, as these rooms stand above this one
READERS = (
    *("numpy", "SimpleITK", "PIL.Image", "tifffile", "nibabel", "pydicom", "lib.io.labels"),
    *("lib.io.planes", "lib.io.components", "lib.io.nifti", "lib.io.resolution", "lib.io.axes"),
    *("lib.dicom.read", "lib.dicom.series", "lib.dicom.seg.read", "lib.data.readable"),
    *("lib.mammography.exam_files", "lib.mammography.mammogram", "lib.mammography.report.read"),
)
READ = "lib.io.read:read_image"
OWN_READERS = "lib.tasks.outside:load_given"
_REHEARSAL = "rehearsal.png"
MOST_REQUEST_BYTES = 1 << 30
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation", "Unable to allocate")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a worker is asked for.

    Attributes:
        function: ``module:name`` of a function marked with `lib.isolation.calls.isolated`.
        files: all that may be read.
        folder: that relative paths start from.
        seconds: of processor time.
        memory: bytes, beside the libraries and the request.
    """

    function: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    files: tuple[str, ...]
    folder: str
    seconds: float
    memory: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a worker answers.

    Attributes:
        error: what the function raised; None where it returned `value`.
        memory: whether it failed for want of memory.
        log: what was logged meanwhile: name of the logger, level and text.
    """

    value: Any = None
    error: Exception | None = None
    memory: bool = False
    log: tuple[tuple[str, int, str], ...] = ()


def main(control: socket.socket, folder: Path, budget: int) -> None:
    """Fork a worker for every byte that comes, until the server has ended.

    Args:
        control: to the server, which gets a connection to each worker and a handle of its process.
        folder: of the temporary folders of workers, named by their process ids.
        budget: bytes that a worker may take.
    """
    for name in READERS:
        importlib.import_module(name)
    with suppress(InputError):  # the server has said so
        resolve_name(OWN_READERS)()
    with suppress(OSError):  # a full disk, or the server has ended meanwhile
        _write_rehearsal(folder)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel clears up what has ended
    gc.collect()
    gc.freeze()  # else each worker would copy what it only looks through
    with suppress(ConnectionError):
        while control.recv(1):
            _fork(control, folder, budget)
    shutil.rmtree(folder, ignore_errors=True)
    _remove_private_folder(folder.parent)


def _remove_private_folder(folder: Path) -> None:
    """Remove the folder that the server kept temporary files in: a signal may have ended it."""
    for _ in range(10):  # while it ends its lock may outlast its connection
        if not folder.name.startswith(PRIVATE) or not folder.exists():
            return
        remove_left([folder])
        time.sleep(0.1)


def _fork(control: socket.socket, folder: Path, budget: int) -> None:
    """Fork a worker, and send the connection to it and a handle of its process."""
    mine, theirs = socket.socketpair()
    number = os.fork()
    if number == 0:
        _end_as_worker(control, mine, theirs, folder, budget)
    mine.close()
    handle = os.pidfd_open(number)
    socket.send_fds(control, [str(number).encode()], [theirs.fileno(), handle])
    theirs.close()
    os.close(handle)


def _write_rehearsal(folder: Path) -> None:
    """Write the picture that each worker reads before it gets its request; see `_rehearse`."""
    import numpy as np
    from PIL import Image

    Image.init()  # loads its readers
    ramp = np.arange(512, dtype=np.uint8)
    picture = np.stack([np.add.outer(ramp, ramp * factor) for factor in (1, 2, 3)], axis=-1)
    Image.fromarray(picture).save(folder / _REHEARSAL)


def _rehearse(folder: Path) -> None:
    """Read a picture, so that the memory this takes is at hand, and not asked for meanwhile."""
    with suppress(Exception):
        resolve(READ)(str(folder / _REHEARSAL))


def _end_as_worker(
    control: socket.socket, mine: socket.socket, theirs: socket.socket, folder: Path, budget: int
) -> None:
    try:
        end_with_parent(signal.SIGKILL)
        control.close()
        theirs.close()
        work(mine, folder / str(os.getpid()), budget)
    finally:
        os._exit(0)  # nothing is to be cleared up, and nothing may be run any more


def work(connection: socket.socket, folder: Path, budget: int) -> None:
    """Answer one request, confined to its files and to an own temporary folder."""
    with suppress(OSError):  # a full disk; most files are read without
        folder.mkdir(mode=0o700)
    _rehearse(folder.parent)
    tempfile.tempdir = str(folder)
    _silence()
    limit_memory(budget)
    confinement = Confinement()
    confinement.allow_reading(_libraries())
    confinement.allow_reading(["/dev/null", "/dev/urandom", "/proc/self"])
    confinement.allow_changing(folder)
    try:
        request: Request = receive(connection, MOST_REQUEST_BYTES)
    except EOFError:
        return
    with suppress(OSError):  # a folder that is gone, or that may not be entered
        os.chdir(request.folder)
    confinement.allow_reading(request.files)
    limit_memory(request.memory)
    limit_seconds(request.seconds)
    confinement.enforce()
    connection.settimeout(None)
    send(connection, _answer(request))


def _answer(request: Request) -> Reply:
    log = _Kept()
    logging.getLogger().addHandler(log)
    try:
        value = resolve(request.function)(*request.arguments, **request.named)
        return Reply(value=value, log=tuple(log.records))
    except Exception as raised:
        if _wants_memory(raised):
            return Reply(memory=True)
        return Reply(error=_plain(raised), log=tuple(log.records))


def _plain(raised: Exception) -> Exception:
    """Return an error that the server can rebuild: of its own types, or of Python's."""
    if type(raised).__module__.partition(".")[0] in ("builtins", "lib"):
        return raised
    return RuntimeError(f"{type(raised).__name__}: {raised}")


def _wants_memory(raised: BaseException | None) -> bool:
    """Tell whether an error, or one that it was raised for, is that memory is used up."""
    while raised is not None:
        if isinstance(raised, MemoryError) or any(word in str(raised) for word in _NO_MEMORY):
            return True
        raised = raised.__cause__ or raised.__context__
    return False


def _silence() -> None:
    """Send what C libraries print, of files that break them too, nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _libraries() -> set[str]:
    """Return the folders that modules, and the libraries that they load, come from."""
    standard = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")}
    installed = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    own = str(Path(__file__).resolve().parents[1])
    beside = {str(Path(prefix, "lib")) for prefix in (sys.prefix, sys.base_prefix)}  # as of conda
    system = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"}
    return standard | installed | beside | system | {own}


class _Kept(logging.Handler):
    """Keeps what is logged, for the server to log."""

    MOST = 100

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.records) < self.MOST:
            self.records.append((record.name, record.levelno, record.getMessage()[:1000]))
