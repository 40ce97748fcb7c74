"""The server's side: workers taken from the zygote, asked, and ended."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lib.errors import BusyError, InputError, printable
from lib.isolation.messages import BrokenMessage, receive, send
from lib.isolation.zygote import Reply, Request
from lib.leftovers import new_folder, remove_left

logger = logging.getLogger(__name__)

MEMORY_BYTES = 4 << 30  # that reading a file may take, beside the libraries
SMALL_BYTES = 1 << 30  # that a small file may take, and
BYTES_PER_BYTE = 4 * 1032  # of the file, more: four times what deflate can make of it
SECONDS = 8.0  # that it may take, and
BYTES_PER_SECOND = 4 << 20  # of the file, more
WAIT_SECONDS = 30.0  # for a worker, while others are at work
START_SECONDS = 60.0  # for the readers to load
SPARE = 2  # workers that wait for a request
MOST_AT_ONCE = max(4, 2 * (os.cpu_count() or 1))
_UNTIL_ENDED = (1.0, 3.0, 10.0)  # seconds to wait for what was killed, longer on a busy machine
_FOLDER = "monailabel-reading-"  # begins the names of folders of workers
_CPU_SHARE = 4  # processors that a reader may use at once
# settings of a user that readers heed; others, and secrets, are none of theirs
_SETTINGS = "PATH LD_LIBRARY_PATH LANG LC_ALL LC_CTYPE TZ TMPDIR HOME UNETVNET_TASKS".split()
_WORKER = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
    # glibc keeps freed memory: each page asked for again takes time
    **{"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_ARENA_MAX": "1"},
}
_START = (
    "import json, pathlib, socket, sys; handle, folder, budget, sys.path = json.loads(sys.argv[1]);"
    "from lib.isolation.zygote import main;"
    "main(socket.socket(fileno=handle), pathlib.Path(folder), budget)"
)


def memory_budget() -> int:
    """Return the bytes that reading a file may take: `MEMORY_BYTES`, at most half the memory."""
    return min(MEMORY_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


class Pool:
    """Workers, each for one request; safe to use from several threads."""

    def __init__(
        self,
        budget: int | None = None,
        seconds: float = SECONDS,
        at_once: int = MOST_AT_ONCE,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.budget = budget or memory_budget()
        self.seconds, self.at_once, self.wait_seconds = seconds, at_once, wait_seconds
        self.reset()
        self._start()

    def reset(self) -> None:
        """Make new locks, as after a fork: a thread that is not here any more may hold one."""
        self._taking = threading.Lock()
        self._free = threading.BoundedSemaphore(self.at_once)

    def call(
        self,
        function: str,
        arguments: tuple[Any, ...],
        named: dict[str, Any],
        files: Sequence[Path],
    ) -> Any:
        """Run a function in a worker, and return or raise what it does.

        Args:
            function: ``module:name`` of an isolated function.
            files: that it may read; the first is named in errors.

        Raises:
            InputError: reading took too much memory or time, or broke the worker.
            BusyError: all workers were at work for too long.
        """
        name = files[0].name if files else "the file"
        stored = sum(map(_bytes, files))
        seconds = self.seconds + stored / BYTES_PER_SECOND
        memory = min(self.budget, SMALL_BYTES + BYTES_PER_BYTE * stored)
        request = Request(
            function=function,
            arguments=arguments,
            named=named,
            files=tuple(map(str, files)),
            folder=_current_folder(),
            seconds=_CPU_SHARE * seconds,
            memory=memory,
        )
        if not self._free.acquire(timeout=self.wait_seconds):
            raise BusyError(
                f"{name}: {self.at_once} other files have been read for {self.wait_seconds:.0f} s; "
                f"try again in a minute"
            )
        try:
            reply = self._ask(request, name, seconds)
        finally:
            self._free.release()
        for logger_name, level, text in reply.log:
            logging.getLogger(logger_name).log(level, "%s", printable(text))
        if reply.memory:
            raise InputError(
                f"{name}: reading it needs more than {memory // 10**6} MB of memory; it is "
                f"damaged, or larger than it seems; crop the image or save it again"
            )
        if reply.error is not None:
            raise reply.error
        return reply.value

    def _ask(self, request: Request, name: str, seconds: float, again: bool = True) -> Reply:
        number, connection, handle = self._take()
        try:
            connection.settimeout(seconds)
            deadline = time.monotonic() + seconds
            try:
                send(connection, request)
                reply = receive(connection, self.budget, deadline)
            except TimeoutError:
                raise InputError(
                    f"{name}: reading it takes longer than {math.ceil(seconds)} s; it is damaged, "
                    f"or larger than it seems; crop the image or save it again"
                ) from None
            except (EOFError, OSError, BrokenMessage):
                if again and self.process.poll() is not None:  # it ended with the zygote
                    return self._ask(request, name, seconds, again=False)
                raise InputError(
                    f"{name}: it breaks the program that reads it, so it is damaged; copy it, or "
                    f"save it, again"
                ) from None
            if not isinstance(reply, Reply):
                raise InputError(f"{name}: it takes over the program that reads it; do not use it")
            return reply
        finally:
            connection.close()
            _kill(handle)
            _remove(self._folder / str(number))
            self._replace()

    def _take(self) -> tuple[int, socket.socket, int]:
        """Return a worker: its process id, a connection to it and a handle of its process."""
        with self._taking:
            for _ in range(2 * SPARE):  # the zygote, or spare workers, may have been killed
                try:
                    if self.process.poll() is not None:  # its spare workers are about to end too
                        raise ConnectionError
                    number, connection, handle = self._next()
                except OSError:
                    logger.warning("The process that files are read in has ended; starting another")
                    self._stop()
                    self._start()
                    continue
                if not _has_ended(handle):
                    return number, connection, handle
                connection.close()
                os.close(handle)
        raise InputError("no process can be started to read files in; see the log of the server")

    def _next(self) -> tuple[int, socket.socket, int]:
        if not self._spare:
            self._order()
        if not _is_readable(self._control.fileno(), START_SECONDS):
            raise TimeoutError
        number, handles, *_ = socket.recv_fds(self._control, 20, 2)
        if len(handles) != 2:  # the zygote has ended, or no more files can be open here
            for handle in handles:
                os.close(handle)
            raise ConnectionError
        self._spare -= 1
        return int(number), socket.socket(fileno=handles[0]), handles[1]

    def _order(self) -> None:
        self._control.send(b"+")
        self._spare += 1

    def _replace(self) -> None:
        """Order a spare worker for one that was used: after its work, as forking takes time."""
        with self._taking:
            if self._spare < SPARE:
                try:
                    self._order()
                except OSError:  # the next one to take a worker finds out
                    pass

    def _start(self) -> None:
        remove_left_folders()
        self._place = ExitStack()
        parent = Path(tempfile.gettempdir())
        self._folder = self._place.enter_context(new_folder(parent, _FOLDER))
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *(path for path in sys.path if os.path.isabs(path) and path != root)]
        settings = json.dumps([theirs.fileno(), str(self._folder), self.budget, paths])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, settings],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is for the server, whose end this one sees
            env=_WORKER | {name: os.environ[name] for name in _SETTINGS if name in os.environ},
            cwd="/",
        )
        theirs.close()
        self._control, self._spare = mine, 0
        for _ in range(SPARE):
            self._order()

    def _stop(self) -> None:
        self._control.close()
        self.process.kill()
        self.process.wait()
        self._place.close()

    def close(self) -> None:
        """End all workers; what they read is lost."""
        with self._taking:
            self._stop()


def remove_left_folders() -> None:
    """Remove the folders of workers whose server or training was killed, with all that it began."""
    parent = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    remove_left(parent.glob(f"{_FOLDER}*"))


def remove_left_folders_soon() -> None:
    """Remove these folders when what was killed just now has ended, which may take its time."""

    def remove() -> None:
        for seconds in _UNTIL_ENDED:
            time.sleep(seconds)
            remove_left_folders()

    threading.Thread(target=remove, name="left folders", daemon=True).start()


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "/"


def _is_readable(file: int, seconds: float) -> bool:
    waiting = select.poll()  # unlike select, it takes files of any number
    waiting.register(file, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))


def _has_ended(handle: int) -> bool:
    """Tell whether the process of a handle has ended."""
    return _is_readable(handle, 0)


def _kill(handle: int) -> None:
    """End a process, if it has not ended, by a handle that never means another one."""
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
