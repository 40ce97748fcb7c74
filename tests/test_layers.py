"""The plan of the code holds: imports run one way, there are no circles, files stay readable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("fuzz", "monailabel_app", "benchmarks", "infer", "trainers", "lib")
LONGEST_FILE = 300
MODULES_AT_THE_TOP_OF_LIB = 12


def check_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml on the packages in `folder`."""
    program = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", program, "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def copied(tmp_path):
    """A copy of the source files, for planting faults."""
    for package in PACKAGES:
        only_source = shutil.ignore_patterns("__pycache__", "*.pt", "*.js", "*.md", "logs", "bin")
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=only_source)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def plant(file: Path, lines: str) -> None:
    file.write_text(file.read_text() + lines)


def test_imports_run_downward_and_in_no_circle():
    ended = check_imports(REPOSITORY)
    assert ended.returncode == 0, ended.stdout


def test_a_planted_upward_import_is_found(copied):
    plant(copied / "lib" / "image.py", "\nfrom lib.training.loop import fit\n")
    ended = check_imports(copied)
    assert ended.returncode != 0
    assert "lib.image -> lib.training.loop" in ended.stdout


def test_a_planted_import_of_the_server_is_found(copied):
    plant(copied / "lib" / "files.py", "\ndef late():\n    import monailabel_app.config\n")
    ended = check_imports(copied)
    assert ended.returncode != 0
    assert "lib.files -> monailabel_app.config" in ended.stdout


def test_a_planted_circle_of_types_alone_is_found(copied):
    lines = "\nif TYPE_CHECKING:\n    from monailabel_app.app import App\n"
    plant(copied / "monailabel_app" / "web" / "users.py", lines)
    ended = check_imports(copied)
    assert ended.returncode != 0
    assert "No cycles are allowed in monailabel_app" in ended.stdout


def test_no_file_is_too_long_to_read():
    lengths = {
        str(file.relative_to(REPOSITORY)): len(file.read_text().splitlines())
        for package in PACKAGES
        for file in (REPOSITORY / package).rglob("*.py")
    }
    assert len(lengths) > 200
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_the_top_of_lib_holds_few_modules():
    modules = [file for file in (REPOSITORY / "lib").glob("*.py") if file.name != "__init__.py"]
    assert len(modules) <= MODULES_AT_THE_TOP_OF_LIB
