"""The science runs on a bare machine: no MONAI Label anywhere, no torch for the table."""

from __future__ import annotations

import json
from pathlib import Path

import lib

BLOCKED = """
import importlib, json, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
for module in {modules!r}:
    importlib.import_module(module)
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
LIGHT = ["lib.tasks.registry", "lib.errors", "lib.files", "lib.weights.store"]


def _modules() -> list[str]:
    root = Path(lib.__file__).parent
    files = (file.relative_to(root.parent) for file in root.rglob("*.py"))
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)


def test_every_module_of_lib_imports_without_monailabel(run_python):
    modules = _modules()
    assert len(modules) > 20
    blocked = ("monailabel", "infer", "trainers", "monailabel_app")
    ended = run_python("-c", BLOCKED.format(blocked=blocked, modules=modules))
    assert ended.returncode == 0, ended.stderr
    assert "torch" in json.loads(ended.stdout)
    assert "monailabel" not in json.loads(ended.stdout)


def test_the_light_modules_import_without_torch(run_python):
    blocked = ("torch", "monai", "ignite", "numpy", "monailabel")
    ended = run_python("-c", BLOCKED.format(blocked=blocked, modules=LIGHT))
    assert ended.returncode == 0, ended.stderr
