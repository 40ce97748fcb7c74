"""Damage to valid files: strategies of Hypothesis, so that a finding is made small by itself."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

_HEADER = 400  # most bytes at the start that are damaged more often than the rest
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_LINE = re.compile(rb"[^\r\n]*(?:\r?\n|$)")
_INTEGERS = (0, 1, 2, 3, 5, 16, 127, 128, 255, 256, 32767, 65535, 99999999, 2**31 - 1, 2**32 - 1)
_WORDS = (
    *(b"-1", b"0", b"1", b"2", b"16", b"99999999", b"2147483647", b"4294967296", b"1" * 30),
    *(b"nan", b"inf", b"1e309", b"-0.0", b"1e-320", b"", b" ", b"\0", b"0x10", b"9 9 9 9"),
    *(b"A" * 1000, b"../../x", b"/etc/passwd", b"\xff\xfe", b"%s%n", b"LOCAL", b"LIST"),
)

Damage = Callable[[st.DrawFn, bytes], bytes]


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Draw one of the files with one to five faults."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 5))):
        content = draw(st.sampled_from(_DAMAGES))(draw, content)
    return content


def _place(draw: st.DrawFn, content: bytes) -> int:
    """Draw a place in a file, every other time in its header."""
    end = min(len(content), _HEADER) if draw(st.booleans()) else len(content)
    return draw(st.integers(0, max(end - 1, 0)))


def _flip(draw: st.DrawFn, content: bytes) -> bytes:
    place, bit = _place(draw, content), draw(st.integers(0, 7))
    changed = bytes(byte ^ (1 << bit) for byte in content[place : place + 1])
    return content[:place] + changed + content[place + 1 :]


def _integer(draw: st.DrawFn, content: bytes) -> bytes:
    kind = draw(st.sampled_from(("<H", ">H", "<I", ">I", "<Q", "B")))
    size = struct.calcsize(kind)
    value = draw(st.sampled_from(_INTEGERS)) % (1 << (8 * size))
    if draw(st.booleans()):
        value = -value % (1 << (8 * size))
    place = _place(draw, content)
    return content[:place] + struct.pack(kind, value) + content[place + size :]


def _real(draw: st.DrawFn, content: bytes) -> bytes:
    kind = draw(st.sampled_from(("<f", ">f", "<d", ">d")))
    value = draw(st.sampled_from((0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30)))
    place = _place(draw, content)
    return content[:place] + struct.pack(kind, value) + content[place + struct.calcsize(kind) :]


def _cut(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: _place(draw, content)]


def _remove(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    return content[:place] + content[place + draw(st.integers(1, 64)) :]


def _repeat(draw: st.DrawFn, content: bytes) -> bytes:
    place, length = _place(draw, content), draw(st.integers(1, 64))
    part = content[place : place + length] * draw(st.sampled_from((1, 2, 50)))
    return content[:place] + part + content[place:]


def _insert(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    return content[:place] + draw(st.binary(min_size=1, max_size=16)) + content[place:]


def _word(draw: st.DrawFn, content: bytes) -> bytes:
    """Replace a number that is written as text."""
    numbers = list(_NUMBER.finditer(content, 0, 4096))
    if not numbers:
        return _integer(draw, content)
    found = draw(st.sampled_from(numbers))
    return content[: found.start()] + draw(st.sampled_from(_WORDS)) + content[found.end() :]


def _line(draw: st.DrawFn, content: bytes) -> bytes:
    """Remove, repeat or move a line of text."""
    lines = [match for match in _LINE.finditer(content, 0, 4096) if match.group()]
    if not lines:
        return content
    line = draw(st.sampled_from(lines))
    rest = content[: line.start()] + content[line.end() :]
    if draw(st.booleans()):
        return rest
    place = draw(st.sampled_from(lines)).start()
    return content[:place] + line.group() + content[place:]


_DAMAGES: tuple[Damage, ...] = (
    *(_flip, _integer, _integer, _real, _cut, _remove, _repeat, _insert, _word, _word, _line),
)
