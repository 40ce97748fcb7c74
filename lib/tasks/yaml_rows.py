"""Rows in a YAML file. It is read as plain data: nothing in it is run or imported."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from lib.errors import InputError, choose, shown
from lib.tasks.changes import changed
from lib.tasks.spec import TaskSpec

EXTENDS = "extends"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # part of addresses and of names of files
_NEEDED = ("name", EXTENDS, "description")
_MOST_BYTES = 1 << 20


def read_rows(file: Path, known: Mapping[str, TaskSpec]) -> list[TaskSpec]:
    """Return the rows of a file, each made from another that it extends.

    Args:
        file: YAML with a list ``tasks``. Each entry has a ``name``, a ``description``, the name of
            the row that it ``extends``, which may stand above it, and the fields of `TaskSpec` that
            differ; of a part such as ``training`` those of its fields that differ.
        known: the rows that there are.

    Raises:
        InputError: it is no such file; the message names file, task and field.
    """
    content = _parse(file)
    if not isinstance(content, dict) or set(content) != {"tasks"} or not content["tasks"]:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else shown(content)
        raise InputError(f"{file.name}: expected a list under 'tasks' and no more, found {found}")
    if not isinstance(content["tasks"], list):
        raise InputError(f"{file.name}: tasks: expected a list, found {shown(content['tasks'])}")
    rows: dict[str, TaskSpec] = {}
    for number, values in enumerate(content["tasks"], start=1):
        name = values.get("name") if isinstance(values, dict) else None
        try:
            row = _row(values, {**known, **rows})
        except InputError as error:
            which = f"task '{shown(name)}'" if name else f"task {number}"
            raise InputError(f"{file.name}, {which}: {error}") from None
        rows[row.name] = row
    return list(rows.values())


def row_names(file: Path) -> list[str]:
    """Return the names of the rows of a file that `read_rows` may read."""
    content = _parse(file)
    rows = content.get("tasks") if isinstance(content, dict) else None
    named = (row.get("name") for row in rows or () if isinstance(row, dict))
    return [name for name in named if isinstance(name, str)]


def _row(values: object, known: Mapping[str, TaskSpec]) -> TaskSpec:
    """Return the row that one entry describes."""
    if not isinstance(values, dict):
        raise InputError(f"expected fields and values, found {shown(values)}")
    for field in _NEEDED:
        if not isinstance(values.get(field), str) or not values[field].strip():
            raise InputError(f"{field}: expected a text, found {shown(values.get(field))}")
    name = values["name"]
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name: expected up to 64 of a to z, 0 to 9 and _, a letter first, found {shown(name)}"
        )
    if name in known:
        raise InputError("name: there is such a task already; give the new one its own name")
    base = choose(EXTENDS, values[EXTENDS], known)
    fields = {field: value for field, value in values.items() if field != EXTENDS}
    row = changed(base, {"weights_licence": "", **fields})  # the new row has no weights
    taken = list(row.labels.values())
    if not taken or min(taken) < 1 or len(set(taken)) < len(taken):
        raise InputError(
            f"labels: expected names, each with a number of its own from 1 on, found "
            f"{shown(dict(row.labels))}"
        )
    return row


def _parse(file: Path) -> Any:
    """Return what a YAML file holds."""
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader; reads 1e-3 as a number, as YAML 1.2 does, and refuses doubles."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key in keys:
                where = f"line {node.start_mark.line + 1}"
                if not isinstance(key, str):
                    raise InputError(f"{where}: write the name {key!r} in quotes")
                if keys.count(key) > 1:
                    raise InputError(f"{where}: '{shown(key)}' is there twice")
            found: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return found

    number = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise InputError(f"longer than {_MOST_BYTES} bytes; expected a list of tasks")
        return yaml.load(text, Loader)
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from None
    except OSError as error:
        raise InputError(f"{file.name} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        cause = " ".join(str(error).split())[:300]
        raise InputError(f"{file.name}: not YAML as it is read here ({cause})") from None
