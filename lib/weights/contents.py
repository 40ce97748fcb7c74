"""What a file of weights may hold: checked before it is unpacked, and before it is used."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib.errors import InputError
from lib.files import is_text

PICKLE_BYTES = 16 * 2**20  # of names, figures and provenance
MOST_VALUES = 200_000  # plain values in a checkpoint
DEEPEST = 200  # each retraining nests the provenance of the weights it started from
LONGEST_TEXT = 10_000
_PARTS = ("spec", "metrics", "provenance", "answer")


def check_archive(path: Path) -> None:
    """Refuse a file that `torch.save` did not write, or that unpacks to more than it has.

    Raises:
        InputError: no ZIP archive of plainly stored entries, as `torch.save` makes it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path.name}: damaged or foreign weights file ({str(error)[:100]}); expected one that "
            f"torch.save wrote"
        ) from None
    unpacked = sum(entry.file_size for entry in entries)
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or unpacked > path.stat().st_size:
        raise InputError(
            f"{path.name}: no weights file, it would unpack to {unpacked / 1e6:.1f} MB; expected "
            f"one that torch.save wrote, which packs nothing"
        )
    pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if pickled > PICKLE_BYTES:
        raise InputError(
            f"{path.name}: {pickled / 1e6:.1f} MB of names and figures beside the weights, at most "
            f"{PICKLE_BYTES / 1e6:.1f} MB are read"
        )


def check_tensors(path: Path, weights: Mapping[Any, Any]) -> None:
    """Refuse weights that are no tensors by name, or not the bytes that the file has.

    Args:
        weights: of a file that is mapped into memory, where each claims what bytes it likes.

    Raises:
        InputError: with the first name that is wrong.
    """
    total = 0
    storages: dict[int, int] = {}  # bytes by address
    for name, value in weights.items():
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        if not isinstance(name, str) or not dense or value.is_meta or value.is_complex():
            raise InputError(f"{path.name}: weights '{str(name)[:80]}' are no tensor of numbers")
        total += value.numel() * value.element_size()
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    with zipfile.ZipFile(path) as archive:
        stored = [one.file_size for one in archive.infolist() if "/data/" in one.filename]
    claimed = sorted(size for size in storages.values() if size)
    if total > path.stat().st_size or claimed != sorted(size for size in stored if size):
        raise InputError(
            f"{path.name}: damaged weights file, its tensors are {total / 1e6:.1f} MB in "
            f"{len(claimed)} parts, it has {sum(stored) / 1e6:.1f} MB in {len(stored)}"
        )


def check_plain_parts(name: str, content: Mapping[str, Any]) -> None:
    """Check the types of what a checkpoint holds beside its weights.

    Args:
        name: of the file.
        content: with ``format``, ``task``, ``weights`` and the parts that are plain data.

    Raises:
        InputError: a part has another type, or holds anything but bounded plain data.
    """
    types = {"format": int, "task": str, "weights": dict, **dict.fromkeys(_PARTS, dict)}
    for part, expected in types.items():
        if part in content and type(content[part]) is not expected:
            raise InputError(
                f"{name}: {part} is {type(content[part]).__name__}, expected {expected.__name__}; "
                f"the weights file is damaged or foreign"
            )
    for part in _PARTS:
        check_plain(f"{name}: {part}", content.get(part, {}))


def check_plain(what: str, value: Any) -> None:
    """Refuse data that is not plain, not text, endless, or nested without end.

    Raises:
        InputError: with what was found, after `what`.
    """
    left = [(value, 0)]
    seen = 0
    while left:
        value, depth = left.pop()
        seen += 1
        if depth > DEEPEST or seen + len(left) > MOST_VALUES:
            raise InputError(
                f"{what} has more than {MOST_VALUES} values, or more than {DEEPEST} in each other"
            )
        if isinstance(value, dict):
            _check_keys(what, value)
            left += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, (list, tuple)):
            left += [(item, depth + 1) for item in value]
        else:
            _check_leaf(what, value)


def _check_keys(what: str, value: Mapping[Any, Any]) -> None:
    for key in value:
        if type(key) is not str:
            raise InputError(f"{what} has a name that is {type(key).__name__}, expected text")
        _check_leaf(what, key)


def _check_leaf(what: str, value: Any) -> None:
    if value is None or type(value) in (bool, float):
        return
    if type(value) is int and abs(value) < 2**63:
        return
    if type(value) is str and len(value) <= LONGEST_TEXT and is_text(value):
        return
    raise InputError(
        f"{what} holds a {type(value).__name__} that is no plain value; "
        f"expected texts of up to {LONGEST_TEXT} signs, and numbers"
    )
