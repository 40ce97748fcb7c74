"""What a file might make its reader do: functions that run in a worker."""

from __future__ import annotations

import os
import resource
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import NotFoundError
from lib.isolation.calls import isolated


def _files(path: Path, *_: Any) -> list[Path]:
    return [path, Path(__file__)]  # a worker may read this module only if it is told so


@isolated(_files)
def echo(path: Path, value: Any) -> Any:
    return value


@isolated(_files)
def fail(path: Path) -> None:
    raise NotFoundError(f"{path.name}: no such thing")


@isolated(_files)
def break_down(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@isolated(_files)
def read_by_itk(path: Path) -> None:
    import SimpleITK as sitk

    sitk.ReadImage(str(path))


@isolated(_files)
def go_on_forever(path: Path) -> None:
    while True:
        pass


@isolated(_files)
def take_memory(path: Path, number_of_bytes: int) -> int:
    return int(np.ones(number_of_bytes, np.uint8)[::4096].sum())


@isolated(_files)
def processor_seconds(path: Path) -> int:
    return resource.getrlimit(resource.RLIMIT_CPU)[0]


@isolated(_files)
def look_at(path: Path, other: Path) -> str:
    return other.read_text()


@isolated(_files)
def list_folder(path: Path, other: Path) -> list[str]:
    return os.listdir(other)


@isolated(_files)
def write_to(path: Path, other: Path) -> None:
    other.write_text("changed")


@isolated(_files)
def connect(path: Path, port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


@isolated(_files)
def run_program(path: Path) -> int:
    return os.posix_spawn("/bin/true", ["true"], {})


@isolated(_files)
def signal_to(path: Path, process: int) -> None:
    os.kill(process, signal.SIGTERM)


@isolated(_files)
def keep_in_temporary_folder(path: Path) -> str:
    file = Path(tempfile.mkdtemp(), "left")
    file.write_text("of a patient")
    return str(file)


@isolated(_files)
def environment(path: Path) -> dict[str, str]:
    return dict(os.environ)


class _Forged:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@isolated(_files)
def forge(path: Path, command: str) -> Any:
    return _Forged(command)
