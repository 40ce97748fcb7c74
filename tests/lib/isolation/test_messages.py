"""What a worker that a hostile file has taken over may send, and what it may not reach by it."""

from __future__ import annotations

import pathlib
import pickle
import socket
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lib.image import Geometry
from lib.io.segments import Segment
from lib.isolation import messages

_OF_CLASS = "N}X\x06\x00\x00\x00existsK\x00s\x86b."  # pickled: set the attribute `exists` to 0


def _received(pickled: bytes) -> object:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.sendall(messages._COUNT.pack(1) + messages._LENGTH.pack(len(pickled)) + pickled)
        return messages.receive(theirs, 1 << 20)


@pytest.mark.parametrize("kind", [pathlib.PosixPath, Geometry])
def test_no_class_can_be_changed(kind: type) -> None:
    """Python sets attributes of whatever a pickle names last, of a class for the whole process."""
    before = vars(kind).get("exists")
    with suppress(messages.BrokenMessage):
        _received(f"\x80\x02c{kind.__module__}\n{kind.__qualname__}\n{_OF_CLASS}".encode("latin-1"))
    changed = vars(kind).get("exists") is not before
    if changed:  # for the tests that follow
        delattr(kind, "exists")
    assert not changed


def test_no_function_of_the_server_can_be_changed() -> None:
    _received(f"\x80\x02c{messages.__name__}\narray\n{_OF_CLASS}".encode("latin-1"))
    assert not hasattr(messages.array, "exists")


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x02cbuiltins\neval\n.",
        b"\x80\x02clib.weights.store\nModelStore\n.",
        b"\x80\x02clib.isolation.messages\n_kind\n.",
        b"no pickle",
    ],
)
def test_what_is_foreign_is_refused(pickled: bytes) -> None:
    with pytest.raises(messages.BrokenMessage):
        _received(pickled)


@pytest.mark.parametrize("name", ["lib.weights.store ModelStore", "pathlib Path", "builtins int"])
def test_no_other_type_is_built(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError):
        messages.built(*name.split(), (), {})


def test_values_of_lib_are_built_as_they_were() -> None:
    mine, theirs = socket.socketpair()
    sent = [Segment("Tumour", 0, 1, 2), Geometry.flat(2, 3), OSError(28, "full"), Path("/a/b")]
    with mine, theirs:
        messages.send(mine, sent)
        found = messages.receive(theirs, 1 << 20)
    assert found[:2] == sent[:2] and found[3] == sent[3]
    assert type(found[0]) is Segment
    assert type(found[2]) is OSError and found[2].args == (28, "full")


def test_nothing_is_sent_once_the_message_is_whole() -> None:
    """An empty array has no bytes: who has received the message may have ended before they come."""
    mine, theirs = socket.socketpair()
    sent: list[int] = []

    class Noted:
        def sendall(self, data: bytes | memoryview) -> None:
            sent.append(memoryview(data).nbytes)
            mine.sendall(data)

    with mine, theirs:
        messages.send(Noted(), np.zeros((0, 3), np.float32))  # type: ignore[arg-type]
        found = messages.receive(theirs, 1 << 20)
    assert found.shape == (0, 3) and found.dtype == np.float32
    assert 0 not in sent
