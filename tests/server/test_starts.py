"""Starts that cannot be end with one line and the status 2; two at once both come up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_support import ROOT, Server, write_png

from lib.phantoms.nuclei import nuclei_phantom


def _file(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("a file")


def _no_index(path: Path) -> None:
    (path / "datastore_v2.json").mkdir()


REFUSED: dict[str, tuple[Callable[[Server], None], str]] = {
    "studies are a file": (lambda server: _file(server.studies), "is a file"),
    "model_dir is a file": (lambda server: _file(server.model_dir), "is a file"),
    "model_dir is in a file": (
        lambda server: server.conf.update(model_dir=f"{__file__}/models"),
        "cannot be made",
    ),
    "index is a folder": (lambda server: _no_index(server.studies), "Is a directory"),
    "no users": (lambda server: server.conf.update(users="/nowhere/users.json"), "does not exist"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_start_that_cannot_be_says_why_in_one_line(case: str, tmp_path: Path) -> None:
    spoil, words = REFUSED[case]
    server = Server(tmp_path)
    spoil(server)
    with pytest.raises(AssertionError, match="or ended"):
        server.start()
    assert server.process is not None
    assert server.process.returncode == 2
    (line,) = [line for line in server.log.splitlines() if line.startswith("Error: ")]
    assert words in line
    assert "Traceback" not in server.log
    assert not list(server.temporary.glob("monailabel-app-*"))


def test_two_first_starts_on_the_same_folders_both_come_up(tmp_path: Path) -> None:
    servers = [Server(tmp_path) for _ in range(2)]
    servers[0].cold = servers[1].cold = True
    servers[1].log_file = tmp_path / "second.log"
    write_png(tmp_path / "studies" / "a.png", nuclei_phantom(0)[0])
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Server.start, servers))
        label = write_png(tmp_path / "label.png", nuclei_phantom(0)[1])
        for tag, server in zip(("one", "two"), servers, strict=True):
            assert server.save_label("a", label, tag).ok
        for server in servers:
            server.wait_for(
                lambda server=server: {"one", "two"} <= set(server.images()["a"]["labels"]),
                "the label of the other server",
            )
            assert "Traceback" not in server.log
    finally:
        for server in servers:
            server.stop()


def test_demo_data_made_by_two_at_once_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monailabel_app", "demo-data", str(tmp_path / "demo")]
    made = [subprocess.Popen([*command, "--count", "4"], cwd=ROOT) for _ in range(2)]
    assert [process.wait(300) for process in made] == [0, 0]
    names = sorted(path.name for path in (tmp_path / "demo").rglob("*.*"))
    assert len(names) == 8
    assert not [name for name in names if "partial" in name]


@pytest.mark.parametrize("studies", ["none", "file"])
def test_serve_refuses_studies_that_are_no_folder_before_it_starts(
    studies: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    command = [
        sys.executable,
        "-m",
        "monailabel_app",
        "serve",
        "--studies",
        str(tmp_path / studies),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert studies in ended.stderr
    assert not (tmp_path / "none").exists()
