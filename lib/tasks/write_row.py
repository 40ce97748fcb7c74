"""Writing a row into a YAML file of own tasks, as `lib.tasks.yaml_rows` reads it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.files import write_atomically
from lib.tasks.spec import TaskSpec
from lib.tasks.yaml_rows import EXTENDS, read_rows, row_names

_HEAD = "# Own tasks; see docs/own_tasks.md\ntasks:\n"


def add_row(file: Path, row: TaskSpec, base: TaskSpec, known: Mapping[str, TaskSpec]) -> str:
    """Write the file with the row added at its end; what stands in it stays as it is.

    Args:
        file: made if it does not exist.
        base: the row that it extends, of which it states what differs.
        known: the rows that there are; those of the file may be among them.

    Returns:
        What was added.

    Raises:
        InputError: the file is no such file, or a row cannot be added to it.
    """
    text = file.read_text(encoding="utf-8") if file.is_file() else _HEAD
    before = set(row_names(file)) if file.is_file() else set()
    added = as_yaml(row, base, _indent(text))
    whole = f"{text.rstrip()}\n{added}"
    others = {name: one for name, one in known.items() if name not in before | {row.name}}
    with tempfile.TemporaryDirectory(prefix="row-") as folder:
        tried = Path(folder) / file.name
        tried.write_text(whole, encoding="utf-8")
        found = read_rows(tried, others)[-1]
    if found.as_dict() != row.as_dict():
        raise InputError(f"{file.name}: a row cannot be added to it; name a new file")
    write_atomically(file, lambda stream: stream.write(whole.encode()))
    return added


def as_yaml(row: TaskSpec, base: TaskSpec, indent: str = "  ") -> str:
    """Return the entry of a row: what of it differs from the row that it extends."""
    import yaml

    entry = {"name": row.name, EXTENDS: base.name, "description": row.description}
    entry |= _differing(row, base)
    entry.pop("weights_licence", None)  # empty, as that of each new row
    lines = yaml.safe_dump(
        [json.loads(json.dumps(entry, default=dict))],
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    ).splitlines()
    return "".join(f"{indent}{line}\n" for line in lines)


def _differing(spec: Any, base: Any) -> dict[str, Any]:
    """Return the fields of a spec that differ from another of its type."""
    found: dict[str, Any] = {}
    for item in fields(spec):
        value, other = getattr(spec, item.name), getattr(base, item.name)
        if value == other:
            continue
        if is_dataclass(value) and not isinstance(value, type):
            same = type(value) is type(other)
            found[item.name] = _differing(value, other) if same else asdict(value)
        else:
            found[item.name] = value
    return found


def _indent(text: str) -> str:
    """Return what stands before the dash of the entries of a file."""
    found = re.search(r"^(\s*)- ", text[text.find("tasks:") :], re.MULTILINE)
    return found.group(1).strip("\n") if found else "  "
