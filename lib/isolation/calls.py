"""Functions that read files, marked so that they run in a worker where there is a pool of them."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from lib.errors import InputError
from lib.files import FileStamp, file_stamp
from lib.isolation.messages import resolve

if TYPE_CHECKING:
    from lib.isolation.pool import Pool

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Result = TypeVar("Result")
Files = Callable[..., Iterable[Path]]

GROUP = 100  # files that one worker reads the headers of
REMEMBERED = 65536

_pool: Pool | None = None
_memory: OrderedDict[Hashable, Any] = OrderedDict()
_NOTHING = object()


def read_in_workers() -> None:
    """Read files in workers from now on; once for a process.

    Only Linux (5.3) has all that it takes; elsewhere files are read in this process.
    """
    global _pool
    if _pool is not None:
        return
    if not _has_handles():
        logger.warning(
            "Files are read in the server itself on this system, so that a damaged one may end it; "
            "run it on Linux to have them read in processes of their own"
        )
        return
    from lib.isolation.pool import Pool

    _pool = Pool()
    os.register_at_fork(after_in_child=_pool.reset)


def _has_handles() -> bool:
    """Tell whether this system gives handles of processes, by which a worker is ended for sure."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return sys.platform.startswith("linux")


def use(pool: Pool | None) -> None:
    """Read files in the workers of `pool`; None reads them in this process."""
    global _pool
    _pool = pool


def given_files(*arguments: Any, **named: Any) -> list[Path]:
    """Return the files among arguments: paths, lists of paths, and a first one that is a text."""
    found: list[Path] = []
    if arguments and isinstance(arguments[0], str):
        found.append(Path(arguments[0]))
    for value in (*arguments, *named.values()):
        many = value if isinstance(value, (list, tuple)) else [value]
        found += [Path(one) for one in many if isinstance(one, os.PathLike)]
    return found


def isolated(
    files: Files = given_files, remember: bool = False
) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Mark a function that reads files; with a pool it runs in a worker that can read only these.

    Its arguments and its result are plain values, arrays, and dataclasses of lib.

    Args:
        files: takes the arguments; returns the files to read, that of errors first. If there are
            none, as what is read is in memory already, the function runs in this process.
        remember: whether a result is kept until a file changes; for small ones, as of headers.
    """

    def mark(function: Callable[Given, Result]) -> Callable[Given, Result]:
        name = f"{function.__module__}:{function.__qualname__}"

        @functools.wraps(function)
        def run(*arguments: Given.args, **named: Given.kwargs) -> Result:
            needed = [] if _pool is None else list(files(*arguments, **named))
            if _pool is None or not needed:
                return function(*arguments, **named)
            if not remember:
                return _pool.call(name, arguments, named, needed)
            key = _key(name, arguments, named, needed)
            known = _memory.get(key, _NOTHING)
            if known is _NOTHING:
                known = _pool.call(name, arguments, named, needed)
                _remember(key, known)
            return known

        run.isolated, run.files, run.name = function, files, name  # type: ignore[attr-defined]
        return run

    return mark


def read_ahead(function: Callable[..., Any], many: Iterable[tuple[Any, ...]]) -> None:
    """Call a remembering function for many arguments, in a few workers: its next calls are fast.

    A worker for each file would take longer than a header does. What fails is left to these calls.
    """
    if _pool is None:
        return
    marked: Any = function
    unknown = [
        (arguments, key, needed)
        for arguments in many
        for needed in [list(marked.files(*arguments))]
        if needed and (key := _key(marked.name, arguments, {}, needed)) not in _memory
    ]
    for start in range(0, len(unknown), GROUP):
        group = unknown[start : start + GROUP]
        if len(group) == 1:
            return
        needed = list(dict.fromkeys(file for _, _, files in group for file in files))
        asked = [arguments for arguments, _, _ in group]
        try:
            results = _pool.call(f"{__name__}:_results", (marked.name, asked), {}, needed)
        except InputError:  # one of them broke the worker
            continue
        for (_, key, _), found in zip(group, results, strict=True):
            for result in found:
                _remember(key, result)


@isolated()
def _results(name: str, many: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Return the result for each of many arguments, in a list that is empty where it fails."""
    function = resolve(name)
    results = []
    for arguments in many:
        try:
            results.append([function(*arguments)])
        except Exception:  # the call for this file alone tells it
            results.append([])
    return results


def _key(
    name: str, arguments: tuple[Any, ...], named: dict[str, Any], files: Sequence[Path]
) -> Hashable:
    return name, arguments, tuple(named.items()), tuple(map(_stamp, files))


def _stamp(file: Path) -> FileStamp | None:
    try:
        return file_stamp(file)
    except (OSError, ValueError):
        return None


def _remember(key: Hashable, result: Any) -> None:
    _memory[key] = result
    while len(_memory) > REMEMBERED:
        try:
            _memory.popitem(last=False)
        except KeyError:  # another thread was faster
            break
