"""Runs the command line inside the test's process, as a shell would see it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from monailabel_app.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def assert_refused(self, *words: str) -> None:
        """Wrong input ends with one clear line on standard error, no traceback, not with 0."""
        assert self.status == 2, self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("Error: ")
        for word in words:
            assert word in lines[0]


Cli = Callable[..., Ended]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return a function that runs `python -m monailabel_app` with the given words."""

    def run(*words: object) -> Ended:
        args = [str(word) for word in words]
        monkeypatch.setattr(sys, "argv", ["monailabel_app", *args])
        status = 0
        try:
            main(args)
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty folder of models."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the weights that ship with the app, which change with every release."""
    empty = tmp_path / "nothing_shipped"
    empty.mkdir()
    for module in ("cli.predictors", "cli.models", "cli.train", "batch"):
        monkeypatch.setattr(f"monailabel_app.{module}.SHIPPED_MODELS", empty)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
