"""The wheel: what it holds, that it runs from any folder, and that it declares what it imports."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib import metadata
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from monailabel_app import __version__
from monailabel_app.config import APP_FOLDER, app_folder

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("lib", "infer", "trainers", "benchmarks", "monailabel_app")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without writing into the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["egg_info", "--egg-base", folder, "build", "--build-base", folder / "build"]
    words += ["bdist_wheel", "--bdist-dir", folder / "bdist", "--dist-dir", folder / "dist"]
    ended = subprocess.run(
        [sys.executable, "setup.py", "-q", *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    [file] = (folder / "dist").iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder as pip makes it of the wheel, which holds nothing but files to unpack."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the installed package, and without the repository."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    environment |= {"HOME": str(cwd), "XDG_DATA_HOME": str(cwd / "data")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_it_adds_one_name_to_site_packages(installed):
    assert {path.name for path in installed.iterdir()} == {
        "unetvnet",
        f"unetvnet-{__version__}.dist-info",
    }


def test_it_holds_every_file_of_the_app(installed):
    tracked = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a clone of git")
    missing = [name for name in tracked if not (installed / "unetvnet" / name).is_file()]
    assert missing == [] and len(tracked) > 300


def test_it_holds_no_weights_but_those_that_ship(installed):
    weights = {file.name for file in installed.rglob("*.pt")}
    assert weights == {file.name for file in APP_FOLDER.glob("model/pretrained_*.pt")} != set()


def test_its_command_runs_from_any_folder_and_finds_the_weights(installed, tmp_path):
    for words in (["-m", "unetvnet"], ["-c", "import unetvnet; unetvnet.main()"]):
        ended = run(installed, tmp_path, *words, "list")
        assert ended.returncode == 0, ended.stderr
        assert re.search(r"^nuclei +segmentation +shipped ", ended.stdout, re.MULTILINE)
    assert run(installed, tmp_path, "-m", "unetvnet", "--version").stdout == (
        f"unetvnet {__version__}\n"
    )
    assert (
        "Usage: unetvnet train"
        in run(installed, tmp_path, "-m", "unetvnet", "train", "--help").stdout
    )
    assert run(installed, tmp_path, "-c", "import lib").returncode == 1


def test_monai_label_finds_the_app_in_a_folder_of_the_user_s(installed, tmp_path):
    folder = run(installed, tmp_path, "-m", "unetvnet", "app-path").stdout.strip()
    assert folder == str(tmp_path / "data" / "unetvnet" / "app")
    program = (
        "from monailabel.utils.others.class_utils import get_class_of_subclass_from_file as get\n"
        f"app = get('main', {folder + '/main.py'!r}, 'MONAILabelApp')\n"
        "import lib, monailabel_app.config as config\n"
        "print(app.__name__, lib.__file__, config.AppConfig().model_dir, sep='\\n')\n"
    )
    ended = run(installed, tmp_path, "-c", program)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-3:] == [
        "App",
        str(installed / "unetvnet" / "lib" / "__init__.py"),
        str(tmp_path / "data" / "unetvnet" / "models"),
    ]


def test_in_a_clone_the_app_is_where_it_was():
    assert app_folder() == APP_FOLDER == REPOSITORY / "monailabel_app"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_entry_point_and_the_requirements_are_declared(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [about] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        told = message_from_bytes(archive.read(about))
        points = archive.read(about.replace("METADATA", "entry_points.txt")).decode()
    assert "unetvnet = unetvnet:main" in points
    needed = [line for line in told.get_all("Requires-Dist") if "extra ==" not in line]
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    stated = [line for line in lines if line.strip() and line[0] not in "#-."]
    assert len(needed) == len(stated) > 20
    assert any(line.startswith("torch") for line in needed)


def test_nothing_is_imported_that_is_not_declared():
    files = REPOSITORY.glob("requirements*.txt")  # those of extras too
    lines = [line for file in files for line in file.read_text().splitlines()]
    declared = {_plain(re.split(r"[<>=;\[ ]", line)[0]) for line in lines if line[:1] not in "#-."}
    known = packages_distributions()
    undeclared = {}
    for room in (*ROOMS, "unetvnet"):
        for file in (REPOSITORY / room).rglob("*.py"):
            for name in _imported(file) - {*ROOMS, "unetvnet"} - set(sys.stdlib_module_names):
                if not {_plain(one) for one in known.get(name, [name])} & declared:
                    undeclared[name] = str(file.relative_to(REPOSITORY))
    assert undeclared == {}


STAND_INS = sorted(path.name for path in (REPOSITORY / "stand_ins").iterdir())


@pytest.fixture(scope="module", params=STAND_INS)
def stand_in(request, tmp_path_factory) -> Path:
    """The wheel of a stand-in, built without writing into the repository."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "source"
    shutil.copytree(REPOSITORY / "stand_ins" / request.param, source)
    program = f"from setuptools.build_meta import build_wheel as b; b({str(folder)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, check=True)
    [file] = folder.glob("*.whl")
    return file


def test_a_stand_in_is_what_monai_label_and_the_wheel_ask_for(stand_in, wheel):
    name, version = (_plain(stand_in.name.split("-")[0]), stand_in.name.split("-")[1])
    assert name in {_plain(folder) for folder in STAND_INS}
    upstream = [Requirement(line) for line in metadata.requires("monailabel") or []]
    with zipfile.ZipFile(wheel) as archive:
        [about] = [file for file in archive.namelist() if file.endswith("/METADATA")]
        ours = message_from_bytes(archive.read(about)).get_all("Requires-Dist")
    asked = [one for one in (*upstream, *map(Requirement, ours)) if _plain(one.name) == name]
    assert len(asked) == 2 and all(version in one.specifier for one in asked)
    assert f"=={version}" in str(asked[1].specifier), "no other one will do"
    assert metadata.version(name) == version, "and it is what is installed"
    with zipfile.ZipFile(stand_in) as archive:
        [about] = [file for file in archive.namelist() if file.endswith("/METADATA")]
        assert message_from_bytes(archive.read(about)).get_all("Requires-Dist") is None


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_says_what_it_is(name):
    module = importlib.import_module(name)
    assert "Stands in for" in (module.__doc__ or "")
    with pytest.raises(AttributeError, match=rf"^{name}\.reader: this is a stand-in"):
        _ = module.reader


def test_requirements_name_the_folder_of_each_stand_in():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    folders = [line.split()[0] for line in lines if line.startswith("./")]
    assert sorted(folders) == [f"./stand_ins/{name}" for name in STAND_INS]


def test_the_libraries_are_the_current_ones():
    for name, least in (("numpy", 2), ("pydicom", 3), ("jsonschema", 4)):
        assert int(metadata.version(name).split(".")[0]) >= least, "install the requirements"


def _imported(file: Path) -> set[str]:
    """Return the first parts of the names of modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
