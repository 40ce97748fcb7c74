"""Servers, and what they start, forked from a process that has loaded other people's libraries.

Loading them is most of what a start takes. What is forked loads the app and MONAI Label itself,
with its own environment, working folder and words, and is a process of its own. Only with
`SERVERS=warm`: otherwise all is started as users start it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLD = os.environ.get("SERVERS") != "warm"
# what servers load of others; all of it, but the heavy ones are enough
LIBRARIES = """torch torch.distributed.fsdp torchvision monai.apps monai.transforms
monai.networks.nets monai.losses ignite.handlers scipy.signal scipy.stats skimage.measure
sklearn.metrics pandas pyarrow matplotlib.figure SimpleITK itk nibabel pydicom mlflow zarr tifffile
fastapi uvicorn requests dicomweb_client""".split()
START_SECONDS = 300  # of patience with a busy machine
BYTES = 4  # of the number of a process, and of how it ended
PYTHON = Path(__file__).with_name("warm_python")  # what servers start of themselves: see there


class WarmProcess:
    """A server that was forked: what the tests use of `subprocess.Popen`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._guard = threading.Lock()
        self.pid = _hear(connection)
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, negative for a signal, as soon as it has."""
        with self._guard:
            if self.returncode is None:
                if not select.select([self._connection], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("monailabel", timeout or 0)
                self.returncode = _hear(self._connection)
                self._connection.close()
            return self.returncode

    def poll(self) -> int | None:
        """Return how it ended, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Warmed:
    """The process that others are forked from, one for all tests of this process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self.address = str(Path(self._folder.name, "socket"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=(listener.fileno(),),
            )
        atexit.register(self.stop)

    def start(self, log: Path, **request: Any) -> WarmProcess:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(START_SECONDS)
        connection.connect(self.address)
        with open(os.devnull, "rb") as nothing, open(log, "ab") as said:
            handles = [nothing.fileno(), said.fileno(), said.fileno()]
            socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], handles)
            return WarmProcess(connection)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def _hear(connection: socket.socket) -> int:
    told = connection.recv(BYTES, socket.MSG_WAITALL)
    assert len(told) == BYTES, "the process that servers are forked from has ended"
    return int.from_bytes(told, "big", signed=True)


_warmed: list[_Warmed] = []
_guard = threading.Lock()


def start_server(words: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str]) -> WarmProcess:
    """Start `monailabel WORDS` in a process of its own that writes what it says into `log`."""
    with _guard:
        if not _warmed:
            _warmed.append(_Warmed())
    warmed = _warmed[0]
    # as the script `monailabel` does
    paths = f"{Path(sys.executable).parents[2]}:{env.get('PYTHONPATH', '')}"
    names = {"PYTHONPATH": paths, "WARM_SOCKET": warmed.address}
    return warmed.start(
        log, module="monailabel.main", words=list(words), cwd=str(cwd), env={**env, **names}
    )


# --- in the process that others are forked from --------------------------------------------------


class _Forking:
    """Forks, tells how what it forked ended, and ends it where nobody waits for that any more."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[int, tuple[int, socket.socket]] = {}  # by a handle of the process
        self._waiting = select.poll()
        self._waiting.register(listener, select.POLLIN)
        self._waiting.register(0)  # closed when the tests are over

    def wait_for_work(self) -> dict[str, Any] | None:
        """Return when the tests are over, or, in each process that is forked, what it shall be."""
        while True:
            handle, _ = self._waiting.poll()[0]  # what follows may close others
            if handle == 0:
                return None
            if handle in self._running:
                self._reap(handle)
            elif handle == self._listener.fileno():
                if (request := self._fork()) is not None:
                    return request
            else:
                self._end(handle)

    def _fork(self) -> dict[str, Any] | None:
        connection, _ = self._listener.accept()
        message, handles, *_ = socket.recv_fds(connection, 1 << 20, 3)
        while message and not message.endswith(b"\n"):
            message += connection.recv(1 << 20)
        if len(handles) != 3 or not message:  # it was killed meanwhile
            number = -1
        elif (number := os.fork()) == 0:
            for place, handle in enumerate(handles):
                os.dup2(handle, place)
            for ours in (connection, self._listener, *(one for _, one in self._running.values())):
                ours.close()
            for handle in (*handles, *self._running):
                os.close(handle)
            return dict(json.loads(message))
        for handle in handles:
            os.close(handle)
        if number > 0:
            process = os.pidfd_open(number)
            self._running[process] = (number, connection)
            self._waiting.register(process, select.POLLIN)
            self._waiting.register(connection, 0)  # for its end
            _tell(connection, number)
        return None

    def _reap(self, process: int) -> None:
        number, connection = self._running.pop(process)
        _, status = os.waitpid(number, 0)
        self._waiting.unregister(process)
        try:
            self._waiting.unregister(connection)
        except KeyError:  # nobody waited
            pass
        os.close(process)
        _tell(connection, os.waitstatus_to_exitcode(status))
        connection.close()

    def _end(self, connection: int) -> None:
        self._waiting.unregister(connection)
        for number, other in self._running.values():
            if other.fileno() == connection:
                os.kill(number, signal.SIGKILL)


def _tell(connection: socket.socket, number: int) -> None:
    try:
        connection.sendall(number.to_bytes(BYTES, "big", signed=True))
    except OSError:  # nobody waits for it
        pass


def _become(module: str, words: list[str], cwd: str, env: dict[str, str]) -> None:
    """Be `python -m MODULE WORDS`, as if nothing had been loaded but libraries."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    paths = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    rest = [path for path in sys.path[1:] if path not in before]  # the first is of this script
    sys.path[:] = list(dict.fromkeys([cwd, *paths, *rest]))
    sys.argv[:] = [module, *words]
    sys.executable = str(PYTHON)
    tempfile.tempdir = None
    sys.modules["numpy"].random.seed()  # others were forked with the same numbers
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    # an end as any other, but for taking each library apart, whose memory would be copied for it
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # nor is it looked through, which would copy it too
    if (work := _Forking(socket.socket(fileno=int(sys.argv[1]))).wait_for_work()) is not None:
        _become(**work)
    os._exit(0)
