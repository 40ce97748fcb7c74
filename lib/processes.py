"""Server programs in processes of their own: their port, the wait for an answer, their end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from urllib.error import HTTPError
from urllib.request import urlopen

from lib.errors import InputError

END_SECONDS = 10  # for a program to end by itself


def free_port() -> int:
    """Return a port of this machine that nothing listens on, and that nobody else gets meanwhile.

    A connection that ends on it keeps it for a minute: until then the system gives it to nobody who
    asks for any port, while a server that asks for this one, with SO_REUSEADDR as all do, gets it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        probe.listen(1)
        port = int(probe.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)):
            probe.accept()[0].close()  # who closes first keeps the port
        return port


def require_free(host: str, port: int) -> None:
    """Refuse a port that cannot be listened on: another program would answer there instead.

    Raises:
        InputError: another program uses it, or it needs other rights.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} on {host} cannot be used ({error.strerror}); choose another"
            ) from None


def wait_until_answers(process: subprocess.Popen[bytes], url: str, seconds: float) -> bool:
    """Return whether a program answers at `url`: False if it ended, or the time is over."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return True
        except HTTPError as error:
            if error.code == 401:  # it answers, and asks for a login
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def end(process: subprocess.Popen[bytes], group: bool = False) -> None:
    """End a program as Ctrl-C does, and kill it if it goes on.

    Args:
        group: whether to kill its child processes too; only for one with a session of its own.
    """
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
