"""Tasks that others wrote: in YAML files, in Python files, and in installed packages.

What is loaded is in the tables of this process, and by the variable `VARIABLE` in those of the
processes that it starts: a training, a worker. A Python file, and a package that declares tasks, is
code that runs with all rights of the process; only who starts it names them. YAML is data.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from lib.errors import InputError
from lib.tasks.registry import TASKS, register
from lib.tasks.yaml_rows import read_rows

VARIABLE = "UNETVNET_TASKS"
GROUP = "unetvnet.tasks"
YAML, PYTHON = (".yaml", ".yml"), ".py"

_loaded: dict[str, None] = {}  # files and entry points
_names: dict[str, None] = {}


def names() -> tuple[str, ...]:
    """Return the names of the tasks that were loaded, in their order."""
    return tuple(_names)


def load(files: Iterable[Path]) -> None:
    """Add what files hold to the tables, here and in the processes that are started from here.

    A file that is loaded already is passed over.

    Args:
        files: YAML, see `lib.tasks.yaml_rows`, or Python, which is run as a module: it calls
            `lib.tasks.registry.register`, `lib.kinds.register`, or adds to other tables.

    Raises:
        InputError: a file is missing, of another type, or wrong; the message names it.
    """
    found = [_existing(file) for file in files]
    for file in found:
        _once(str(file), lambda file=file: _load_file(file))  # type: ignore[misc]
    paths = dict.fromkeys([*_in_environment(), *map(str, found)])
    if paths:
        os.environ[VARIABLE] = os.pathsep.join(paths)


def load_given() -> None:
    """Load what installed packages declare and the variable `VARIABLE` names.

    A package declares an entry point in the group `GROUP`: a function without arguments that adds
    to the tables, or returns the path of a YAML file of its own.

    Raises:
        InputError: as `load`; or a package's function failed.
    """
    for point in entry_points(group=GROUP):
        _once(f"{point.name} = {point.value}", lambda point=point: _load_point(point))  # type: ignore[misc]
    load(map(Path, _in_environment()))


def _in_environment() -> list[str]:
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def _existing(file: Path) -> Path:
    """Return the full path of a file that can be loaded."""
    path = file.expanduser().resolve()
    if not path.is_file():
        raise InputError(f"task file '{file}' does not exist; give a .yaml or .py file")
    if path.suffix.lower() not in (*YAML, PYTHON):
        raise InputError(f"task file '{file}' is neither .yaml nor .py; give one of these")
    if os.pathsep in str(path):
        raise InputError(f"the path of task file '{path}' holds '{os.pathsep}'; rename it")
    return path


def _once(what: str, work: Callable[[], None]) -> None:
    """Do `work` unless it was done before, and note the tasks that it added."""
    if what in _loaded:
        return
    before = set(TASKS)
    work()
    _loaded[what] = None
    _names.update(dict.fromkeys(name for name in TASKS if name not in before))


def _load_file(file: Path) -> None:
    if file.suffix.lower() == PYTHON:
        _run(file)
    else:
        for row in read_rows(file, TASKS):
            register(row)


def _run(file: Path) -> None:
    """Run a Python file as a module of its own."""
    name = f"task_file_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        lines = [
            at.lineno
            for at in traceback.extract_tb(error.__traceback__)
            if at.filename == str(file)
        ]
        if isinstance(error, SyntaxError) and error.lineno:
            lines = [error.lineno]
        where = f"{file.name}, line {lines[-1]}" if lines else file.name
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{where}: {kind}{error}") from error


def _load_point(point: EntryPoint) -> None:
    """Call the function of an entry point, and load the file that it returns, if any."""
    package = point.dist.name if point.dist else "a package"
    try:
        found = point.load()()
        if found is not None:
            _load_file(_existing(Path(found)))
    except Exception as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(
            f"the tasks of the installed package {package} ({point.value}) cannot be loaded: "
            f"{kind}{error}; mend or uninstall it"
        ) from error
