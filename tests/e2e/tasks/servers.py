"""The real `serve` and `serve-dicom` of a checkout, as `make run` and `make run-dicom` do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from archive import c_store
from pydicom import Dataset

from lib.processes import end, free_port, wait_until_answers

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 300
ARCHIVE_TASKS = "density_a_vs_d,busi_lesion"  # without weights


@contextmanager
def folder_server(checkout: Path, work: Path) -> Iterator[str]:
    """Serve the demo nuclei with the shipped weights, and yield the address."""
    studies = work / "nuclei"
    _command(checkout, "demo-data", studies)
    port = free_port()
    arguments = ("--studies", studies, "--models", _shipped(checkout, work), "--port", port)
    with _running(checkout, work, port, "serve", *arguments) as url:
        yield url


@contextmanager
def archive_server(
    checkout: Path, work: Path, datasets: tuple[Dataset, ...], models: str, weights: bool = False
) -> Iterator[str]:
    """Serve an Orthanc that holds `datasets`, with an empty models folder unless `weights`."""
    port, archive_port, dicom_port = free_port(), free_port(), free_port()
    folder = _shipped(checkout, work) if weights else work / "no_models"
    folder.mkdir(exist_ok=True)
    ports = ("--port", port, "--archive-port", archive_port, "--dicom-port", dicom_port)
    conf = ("--conf", "models", models)
    arguments = (work / f"archive_{port}", "--models", folder, "--count", 0, *ports, *conf)
    with _running(checkout, work, port, "serve-dicom", *arguments) as url:
        c_store(cast(Any, SimpleNamespace(dicom_port=dicom_port)), datasets)
        yield url


def _shipped(checkout: Path, work: Path) -> Path:
    """Copy the shipped weights, so that nothing is written beside them."""
    folder = work / "models"
    if not folder.exists():
        folder.mkdir()
        for file in (checkout / "monailabel_app" / "model").glob("*.pt"):
            shutil.copy(file, folder)
    return folder


def _words(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "monailabel_app", *(str(one) for one in arguments)]


def _command(checkout: Path, *arguments: Any) -> None:
    subprocess.run(_words(*arguments), cwd=checkout, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _running(checkout: Path, work: Path, port: int, *arguments: Any) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    with open(work / f"{arguments[0]}_{port}.log", "wb") as log:
        process = subprocess.Popen(
            _words(*arguments), cwd=checkout, env=environment, stdout=log, stderr=log
        )
    try:
        if not wait_until_answers(process, f"{url}/info/", START_SECONDS):
            raise RuntimeError(f"no answer; the log is {log.name}")
        yield url
    finally:
        end(process)
