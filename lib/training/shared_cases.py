"""Prepared cases in one file that several runs map into memory: read once, held once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from typing_extensions import Self

from lib.data.case import Prepared
from lib.data.studies import Item
from lib.errors import InputError
from lib.tasks.network_spec import ClassifierSpec
from lib.tasks.spec import TaskSpec
from lib.training.batches import CACHE_BYTES, PreparedCases
from lib.training.options import FitOptions

ALIGNMENT = 64  # bytes, so that arrays begin where vector instructions like it

_Part = tuple[int, tuple[int, ...], str]  # where an array begins, its shape and type
_WITHOUT = frozenset(  # fields of a row that no prepared case depends on
    "name description reference weights_licence strict modalities dimensions network augment "
    "training output key_metric".split()
)


@dataclass(frozen=True)
class SharedCases:
    """Cases in a file; a few lines that can be sent to a process.

    Attributes:
        file: the arrays, one after the other.
        parts: of each case, by the files of its image and label.
    """

    file: Path
    parts: dict[tuple[Path, Path | None], tuple[_Part, ...]]

    def open(self) -> Prepared:
        """Return the cases as views of the file: a process has a copy of what it changes alone."""
        if not self.parts:
            return {}
        pages = np.memmap(self.file, np.uint8, mode="c")
        return {
            files: tuple(_view(pages, *part) for part in parts)
            for files, parts in self.parts.items()
        }

    def given_to(self, options: FitOptions, at_once: int = 1) -> FitOptions:
        """Return the options of a run that holds these cases, and no further ones, in memory.

        Args:
            at_once: runs at the same time on one device, this one included.
        """
        return replace(options, prepared=self.open(), cache_bytes=0, at_once=at_once)


def _view(pages: np.ndarray, start: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return pages[start : start + size].view(dtype).reshape(shape)


@contextmanager
def share_cases(
    items: Iterable[Item], task: TaskSpec, cache_bytes: int = CACHE_BYTES
) -> Iterator[SharedCases]:
    """Prepare the cases of `items`, one after the other, and yield them in a file until the end.

    The file has no name where the system allows that: whatever ends this process and those that
    opened it, nothing is left. Cases that cannot be read are left out: the run that needs one
    reads it, and says why it cannot.

    Args:
        cache_bytes: of all cases together; at most half of what is free for temporary files. Those
            beyond are read by each run anew.
    """
    free = shutil.disk_usage(tempfile.gettempdir()).free
    with _temporary() as (stream, file):
        parts = _write(stream, items, task, min(cache_bytes, free // 2))
        stream.flush()
        yield SharedCases(file, parts)


def _write(
    stream: BinaryIO, items: Iterable[Item], task: TaskSpec, left: int
) -> dict[tuple[Path, Path | None], tuple[_Part, ...]]:
    parts: dict[tuple[Path, Path | None], tuple[_Part, ...]] = {}
    cases, place = PreparedCases(list(items), task, cache_bytes=0), 0
    for index, item in enumerate(cases.items):
        files = item.image, item.label
        try:
            case = () if files in parts else cases[index]
        except InputError:
            continue
        size = sum(array.nbytes + ALIGNMENT for array in case)
        if not case or size > left:
            continue
        left -= size
        found = []
        for array in case:
            place += stream.write(bytes(-place % ALIGNMENT))
            found.append((place, array.shape, array.dtype.str))
            place += stream.write(array.tobytes())
        parts[files] = tuple(found)
    return parts


@contextmanager
def _temporary() -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a temporary file, and the path by which this process and its children open it."""
    with ExitStack() as stack:
        nameless = stack.enter_context(tempfile.TemporaryFile())
        path = Path(f"/proc/{os.getpid()}/fd/{nameless.fileno()}")
        if path.exists():
            yield nameless, path
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = Path(folder, "cases")
        yield stack.enter_context(open(path, "wb")), path


def preparation(task: TaskSpec) -> str:
    """Return what of a row decides how its cases are prepared; equal rows may share cases."""
    row = {name: part for name, part in task.as_dict().items() if name not in _WITHOUT}
    network = task.network
    views = list(network.views) if isinstance(network, ClassifierSpec) else []
    return json.dumps([row, network.in_channels, network.spatial_dims, views], sort_keys=True)


class CasePool:
    """The shared cases of many runs: those of one preparation are read when a run first needs them.

    They are given up when the last of these runs is done, or at the end of the `with` block.

    Args:
        runs: task and items of each run, by its name.
        cache_bytes: of the cases of one preparation, see `share_cases`.
    """

    def __init__(
        self,
        runs: Mapping[str, tuple[TaskSpec, Sequence[Item]]],
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._tasks = {name: task for name, (task, _) in runs.items()}
        self._keys = {name: preparation(task) for name, (task, _) in runs.items()}
        self._items: dict[str, dict[tuple[Path, Path | None], Item]] = {}
        for name, (_, items) in runs.items():
            known = self._items.setdefault(self._keys[name], {})
            known.update({(item.image, item.label): item for item in items})
        self._cache_bytes = cache_bytes
        self._open: dict[str, tuple[SharedCases, ExitStack]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _cases, opened in self._open.values():
            opened.close()
        self._open.clear()

    def of(self, name: str) -> SharedCases | None:
        """Return the cases of a run, prepared now if they are not yet; None for unknown runs."""
        if name not in self._keys:
            return None
        key = self._keys[name]
        if key not in self._open:
            opened, items = ExitStack(), self._items[key].values()
            cases = share_cases(items, self._tasks[name], self._cache_bytes)
            self._open[key] = opened.enter_context(cases), opened
        return self._open[key][0]

    def done(self, name: str) -> None:
        """Say that a run has ended."""
        key = self._keys.pop(name, None)
        if key is not None and key not in self._keys.values() and key in self._open:
            self._open.pop(key)[1].close()
