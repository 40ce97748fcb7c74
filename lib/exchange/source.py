"""The modules of lib that a bundle carries, so that networks and transforms have one definition."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

SCRIPTS = "scripts"  # where a bundle has its own code
_IMPORT = re.compile(r"^(\s*(?:from|import) )lib\.", re.MULTILINE)


def write_scripts(folder: Path, module: str) -> list[str]:
    """Write a module of lib, and all of lib that it imports, as the package ``scripts``.

    Args:
        folder: of the bundle.
        module: such as ``lib.exchange.segmentation_parts``; it becomes
            ``scripts.exchange.segmentation_parts``.

    Returns:
        The modules that were written, in the order of their names.
    """
    sources = _closure(module)
    for name, source in sources.items():
        file = folder / SCRIPTS / Path(*name.split(".")[1:]).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_IMPORT.sub(rf"\1{SCRIPTS}.", source), encoding="utf-8")
        for package in file.relative_to(folder).parents[:-1]:
            (folder / package / "__init__.py").write_text(
                '"""From the app that wrote this bundle; see docs/README.md."""\n', encoding="utf-8"
            )
    return sorted(sources)


def _closure(module: str) -> dict[str, str]:
    """Return the source of a module of lib and of those that it imports, by name."""
    sources: dict[str, str] = {}
    left = [module]
    while left:
        name = left.pop()
        if name in sources:
            continue
        spec = find_spec(name)
        if spec is None or not spec.origin or spec.submodule_search_locations is not None:
            raise ValueError(f"{name} is no module: what a bundle carries imports modules only")
        sources[name] = Path(spec.origin).read_text(encoding="utf-8")
        nodes = ast.walk(ast.parse(sources[name]))
        imported = (node.module for node in nodes if isinstance(node, ast.ImportFrom))
        left += [one for one in imported if one is not None and one.startswith("lib.")]
    return sources
