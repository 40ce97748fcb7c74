"""The pages about `lib`: one for each room, with all of its modules."""

from __future__ import annotations

from pathlib import Path
from pkgutil import iter_modules, walk_packages

import lib

_HEAD = "{title}\n{line}\n\n"
_MODULE = ".. automodule:: {name}\n   :members:\n   :show-inheritance:\n\n"


def pages() -> dict[str, str]:
    """Return the pages, by file name."""
    rooms = {
        module.name: [f"lib.{module.name}", *_inner(f"lib.{module.name}", module.ispkg)]
        for module in iter_modules(lib.__path__)
    }
    made = {f"{room}.rst": _page(names) for room, names in rooms.items()}
    listed = "\n".join(f"   {room}" for room in rooms)
    head = _HEAD.format(title="lib", line="===")
    return {"index.rst": f"{head}.. toctree::\n\n{listed}\n", **made}


def _inner(name: str, is_package: bool) -> list[str]:
    if not is_package:
        return []
    folder = str(Path(lib.__path__[0]).joinpath(*name.split(".")[1:]))
    return [module.name for module in walk_packages([folder], f"{name}.")]


def _page(names: list[str]) -> str:
    """Return the page of a room: itself, and then each of its modules under its name."""
    parts = []
    for level, name in enumerate(names):
        line = ("=" if level == 0 else "-") * len(name)
        parts.append(_HEAD.format(title=name, line=line) + _MODULE.format(name=name))
    return "".join(parts)
