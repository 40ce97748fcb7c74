"""Values sent between processes; what comes from a worker is rebuilt from a closed list of types.

A worker that a hostile file has taken over may send anything. So its answer can name no function
but those that rebuild values, and reach no class: one that it could reach it could also change, for
the whole server. Arrays travel beside the pickle, and are received where they then stay, without
another copy.
"""

from __future__ import annotations

import builtins
import datetime
import importlib
import io
import pathlib
import pickle
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

import numpy as np

MOST_BUFFERS = 10_000
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_PLAIN = (set, frozenset, slice, complex, bytearray)
_STANDARD = {
    **{("builtins", kind.__name__): kind for kind in _PLAIN},
    ("pathlib", "PosixPath"): pathlib.PosixPath,
    ("datetime", "datetime"): datetime.datetime,
    ("datetime", "timezone"): datetime.timezone,
    ("datetime", "timedelta"): datetime.timedelta,
}


class BrokenMessage(Exception):
    """What was received is no message: it ended early, is too long or names a foreign type."""


def send(connection: socket.socket, value: Any) -> None:
    """Send a value; arrays in it go beside the pickle."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
    parts = [file.getbuffer(), *(buffer.raw() for buffer in buffers)]
    lengths = b"".join(_LENGTH.pack(part.nbytes) for part in parts)
    connection.sendall(_COUNT.pack(len(parts)) + lengths)
    for part in parts:
        if part.nbytes:  # who has all of the message by then may have ended
            connection.sendall(part)


def receive(connection: socket.socket, most_bytes: int, deadline: float | None = None) -> Any:
    """Return the value that comes next.

    Args:
        most_bytes: of all parts together.
        deadline: of `time.monotonic`; None waits without end.

    Raises:
        TimeoutError: the deadline passes first.
        EOFError: the other side ended without sending anything.
        BrokenMessage: what comes is no message.
    """
    head = _receive(connection, _COUNT.size, deadline, first=True)
    (count,) = _COUNT.unpack(head)
    if not 1 <= count <= MOST_BUFFERS:
        raise BrokenMessage(f"{count} parts")
    lengths = [
        length for (length,) in _LENGTH.iter_unpack(_receive(connection, 8 * count, deadline))
    ]
    if sum(lengths) > most_bytes:
        raise BrokenMessage(f"{sum(lengths)} bytes")
    pickled, *buffers = [_receive(connection, length, deadline) for length in lengths]
    try:
        return _Unpickler(io.BytesIO(pickled), buffers=buffers).load()
    except Exception as error:  # a forged pickle fails in more ways than can be listed
        raise BrokenMessage(f"{type(error).__name__}: {error}") from None


def _receive(
    connection: socket.socket, length: int, deadline: float | None, first: bool = False
) -> memoryview:
    """Return so many bytes, in memory that nothing else uses."""
    target = memoryview(np.empty(length, np.uint8).data)
    done = 0
    while done < length:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        try:
            got = connection.recv_into(target[done:])
        except ConnectionError:
            got = 0
        if not got:
            if first and not done:
                raise EOFError
            raise BrokenMessage("it ends early")
        done += got
    return target


def array(data: Any, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array of bytes that were received; its values are numbers or texts."""
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(data, kind).reshape(shape)


def scalar(data: bytes, dtype: str) -> Any:
    """Return a number as NumPy keeps it."""
    return array(data, dtype, ())[()]


def built(module: str, name: str, arguments: tuple[Any, ...], state: dict[str, Any]) -> Any:
    """Return a value of lib, or an error, without running its constructor.

    Args:
        arguments: of an error, or the items of a tuple.
        state: attributes by name.
    """
    kind = _kind(module, name)
    made = kind.__new__(kind, *arguments)
    if isinstance(made, Exception):
        made.args = arguments
    if state:
        vars(made).update(state)
    return made


def _kind(module: str, name: str) -> type:
    """Return a type of lib that only holds values, or of an error; a foreign one is refused."""
    if module == builtins.__name__:
        found = getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    elif module.startswith("lib.") and "." not in name:
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and found.__module__ == module and _is_value(found):
            return found
    raise pickle.UnpicklingError(f"{module}.{name}")


def _is_value(kind: type) -> bool:
    """Tell whether a type of lib only holds values: a dataclass, a tuple or an error."""
    return is_dataclass(kind) or issubclass(kind, (tuple, Exception))


def resolve(name: str) -> Callable[..., Any]:
    """Return the function ``module:name``, which is to be marked as isolated."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function).isolated
    return found


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.ndarray and not value.dtype.hasobject:
            whole = np.ascontiguousarray(value)
            data = pickle.PickleBuffer(whole.reshape(-1).view(np.uint8).data)
            return array, (data, value.dtype.str, value.shape)
        if isinstance(value, np.generic):
            return scalar, (value.tobytes(), value.dtype.str)
        kind = type(value)
        if isinstance(value, Exception):
            return built, (kind.__module__, kind.__qualname__, value.args, dict(vars(value)))
        if kind.__module__.startswith("lib.") and _is_value(kind):
            is_tuple = isinstance(value, tuple)
            items, state = (tuple(value), {}) if is_tuple else ((), dict(vars(value)))
            return built, (kind.__module__, kind.__qualname__, items, state)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what makes a value; what is foreign raises `UnpicklingError`.

        What is returned is made for this message alone, as a pickle may set attributes of it.
        """
        if (module, name) in _STANDARD:
            return _anew(_STANDARD[module, name])
        if module == __name__ and name in _BUILDERS:
            return _anew(_BUILDERS[name])
        raise pickle.UnpicklingError(f"{module}.{name}")


def _anew(make: Callable[..., Any]) -> Callable[..., Any]:
    def make_anew(*arguments: Any) -> Any:
        return make(*arguments)

    return make_anew


_BUILDERS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (array, scalar, built)
}
