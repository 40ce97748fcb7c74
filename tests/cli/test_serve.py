"""`serve`: the address of OHIF is printed, and opened where there is a display."""

from __future__ import annotations

import os
import socket
import subprocess
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner

from lib.tasks.fits import misfit
from lib.tasks.image_kind import ImageKind
from lib.tasks.registry import get_task
from monailabel_app.cli import serve as verb
from monailabel_app.cli.serve import Server, has_display, serve
from monailabel_app.config import APP_FOLDER, parse_models


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the browser is sent to; the server is only said to be ready."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    monkeypatch.setattr(Server, "run", lambda self, ready: ready())
    return addresses


def _serve(studies: Path, *words: str) -> str:
    result = CliRunner().invoke(serve, ["--studies", str(studies), *words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("words", "display", "expected"),
    [
        ((), True, ["http://127.0.0.1:8000/ohif/"]),
        ((), False, []),
        (("--no-browser",), True, []),
        (
            ("--browser", "--port", "8010", "--host", "0.0.0.0"),
            False,
            ["http://127.0.0.1:8010/ohif/"],
        ),
    ],
)
def test_ohif_is_opened_where_there_is_a_display(
    opened, monkeypatch, tmp_path, words, display, expected
):
    monkeypatch.setattr(verb, "has_display", lambda: display)
    text = _serve(tmp_path, *words)
    assert opened == expected
    assert "/ohif/" in text


@pytest.mark.parametrize(
    ("modality", "dimensions"),
    [
        ("", "2d"),
        ("US", "2d"),
        ("US", "loop"),
        ("US", "3d"),
        ("MR", "3d"),
        ("CT", "3d"),
        ("", "mammogram"),
        ("MG", "mammogram"),
    ],
)
def test_a_model_of_ones_own_can_be_trained_on_each_kind_of_study(
    monkeypatch, tmp_path, modality, dimensions
):
    started: list[Server] = []
    monkeypatch.setattr(Server, "run", lambda self, ready: started.append(self))
    _serve(tmp_path)
    tasks = [get_task(name) for name in parse_models(started[0].conf["models"])]
    kind = ImageKind(modality, dimensions)
    assert [task.name for task in tasks if not misfit(task, kind)]
    _serve(tmp_path, "--conf", "models", "nuclei_vcr")
    assert started[1].conf["models"] == "nuclei_vcr"


def test_a_machine_without_a_browser_serves_all_the_same(opened, monkeypatch, tmp_path):
    def fail(address: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", fail)
    assert "MONAI Label is ready" in _serve(tmp_path, "--browser")


def test_a_display_is_told_by_the_environment(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_display()


def test_a_missing_folder_is_what_is_said_first(cli, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--studies", tmp_path / "absent", "--models", tmp_path / "models"]
        ended = cli("serve", *words, "--port", port, "--conf", "flips", "perhaps")
    ended.assert_refused("studies folder", "absent' does not exist")


def test_it_starts_without_the_list_of_settings_unless_asked(monkeypatch, tmp_path):
    started: list[Server] = []
    monkeypatch.setattr(Server, "run", lambda self, ready: started.append(self))
    _serve(tmp_path)
    _serve(tmp_path, "--verbose")
    quiet, verbose = (server._command() for server in started)
    environment = {**os.environ, "PYTHONPATH": str(APP_FOLDER.parent)}
    for command, shown in ((quiet, False), (verbose, True)):
        ended = subprocess.run(
            [*command, "--dryrun"], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        assert ("USING:: studies" in ended.stderr) is shown, ended.stderr


def test_it_says_where_weights_are_listed(opened, tmp_path):
    assert "monailabel_app models\n" in _serve(tmp_path, "--no-browser")
    other = _serve(tmp_path, "--no-browser", "--models", str(tmp_path / "my models"))
    assert f"models --models '{tmp_path / 'my models'}'" in other
