"""What pyproject.toml cannot say: the rooms of the app lie inside one package when installed.

See docs/decisions/0020-package.md.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "unetvnet"
ROOMS = ("lib", "infer", "trainers", "benchmarks", "monailabel_app")
MADE = {("monailabel_app", name) for name in ("bin", "lib", "logs", "model")}  # by MONAI Label


def requirements(name: str) -> list[str]:
    """Return the requirements of a file, without options of pip, folders and comments."""
    lines = (Path(__file__).resolve().parent / name).read_text().splitlines()
    found = (line.partition("#")[0].strip() for line in lines)
    return [line for line in found if line and line[0] not in "-."]


def packages() -> list[str]:
    """Return the packages as they are installed."""
    inner = [f"{room}.{name}" for room in ROOMS for name in find_packages(room)]
    return [PACKAGE, *(f"{PACKAGE}.{name}" for name in (*ROOMS, *inner))]


def other_files() -> dict[str, list[str]]:
    """Return what else lies in the rooms, by package; not what is made by running the app."""
    found: dict[str, list[str]] = {}
    for file in (file for room in ROOMS for file in sorted(Path(room).rglob("*"))):
        made = file.parts[:2] in MADE and not file.match("model/pretrained_*.pt")
        if not file.is_file() or made or "__pycache__" in file.parts:
            continue
        package = next(parent for parent in file.parents if (parent / "__init__.py").is_file())
        if package != file.parent or file.suffix != ".py":
            names = ".".join((PACKAGE, *package.parts))
            found.setdefault(names, []).append(file.relative_to(package).as_posix())
    return found


setup(
    packages=packages(),
    package_dir={PACKAGE: PACKAGE, **{f"{PACKAGE}.{room}": room for room in ROOMS}},
    package_data=other_files(),
    install_requires=requirements("requirements.txt"),
    extras_require={
        "openvino": requirements("requirements-openvino.txt"),
        "docs": requirements("requirements-docs.txt"),
        "exchange": requirements("requirements-exchange.txt"),
        "microscopy": requirements("requirements-microscopy.txt"),
        "dev": requirements("requirements-dev.txt"),
    },
)
