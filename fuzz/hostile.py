"""Values that no request should hold, as Python values and as bytes of JSON."""

from __future__ import annotations

import json
import random
from typing import Any

EMOJI = "\N{PILE OF POO}"
# fmt: off
TEXTS = (
    "", " ", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "~", "-rf", "%00", "%s%n",
    "\0", "a\0b", "a\r\nX-Injected: 1", "\n", "\t", "\x7f", "\x1b[31m", "\u202eexe.png", "\ufeff",
    "\u2028", "\ue000", "\U0010ffff", "e\u0301", "n\N{FULLWIDTH SOLIDUS}a", "\N{SNOWMAN}.png",
    "x" * 300, "x" * 255, "x" * 5000, EMOJI * 60, EMOJI * 64, "\u0416" * 130, '"', "'", ";", "|id",
    "nan", "NaN", "inf", "-1", "0", "1", "1e999", "9" * 40, "true", "null", "[]", "{}", "[[1,2]]",
    "__class__", "constructor", "model", "all", "cuda:99", "cpu:-1", "meta", "mps", ".exe", "a.png",
    "1.5", "0x10", "1_000", "\N{ARABIC-INDIC DIGIT FIVE}", "\N{SUPERSCRIPT TWO}", "http://[::1",
)
NUMBERS = (
    0, 1, -1, 2, 3, 7, 10**4, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**400, -0.0, 0.5, 1e-320,
    1e308, float("nan"), float("inf"), float("-inf"),
)
RAW = (  # bytes where an object of JSON is expected
    b"", b"{", b"[", b"]", b"null", b"true", b"1", b'"x"', b"[1]", b"{}{}", b"\xff\xfe{\0}\0",
    b'{"a": NaN}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": "\xff\xc3("}', b"\0",
    b'{"\\u0000": 1}', b'{"a": "\\ud800"}', b'{"a": 1, "a": [2]}', b"\xef\xbb\xbf{}",
    b"[" * 10_000, b'{"a":' * 10_000, b'{"params": ' * 400 + b"1" + b"}" * 400, b"{'a': 1}",
    b"[" * 900 + b"]" * 900, b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"a": 1}' + b" " * 10_000,
)
# fmt: on


def text(rng: random.Random) -> str:
    """Draw a text."""
    if rng.random() < 0.85:
        return rng.choice(TEXTS)
    signs = (rng.choice((0x80, 0x250, 0xD800, 0x10FFFF)) for _ in range(rng.randint(1, 40)))
    return "".join(chr(rng.randrange(end)) for end in signs)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Draw a value of any type that JSON has, and some that it has not."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return text(rng)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind == 4:
        return rng.choice((None, True, False))
    if kind == 5:
        return {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    return nested(rng)


def nested(rng: random.Random) -> Any:
    """Return lists or objects in one another, as deep as Python's writer of JSON goes."""
    found: Any = 1
    for _ in range(rng.choice((5, 100, 300))):
        found = [found] if rng.random() < 0.5 else {"a": found}
    return found


def as_json(rng: random.Random, content: Any) -> bytes:
    """Return `content` as JSON, once in ten with a hole for bytes that are none."""
    if rng.random() < 0.1:
        return rng.choice(RAW)
    return json.dumps(content, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
