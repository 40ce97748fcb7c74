"""Tiny seeded fixtures that the tests share: phantoms, a small task and weights trained briefly."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nuclei_samples import write_nuclei

from lib.data.studies import Item, list_items
from lib.isolation import calls
from lib.segmentation.losses import LOSSES
from lib.tasks import outside
from lib.tasks.density import VIEWS
from lib.tasks.network_spec import ENCODERS
from lib.tasks.registry import TASKS
from lib.tasks.spec import TaskSpec
from lib.weights.backend_names import TORCH, VARIABLE

# converting networks takes seconds, and servers do it beside their answers: only tests of it ask
os.environ.setdefault(VARIABLE, TORCH)

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # tests count what is left behind in these folders: each process of the suite has its own
    for place in ("TMPDIR", "XDG_CACHE_HOME", "MONAI_LABEL_SESSION_PATH"):
        if place in os.environ:
            own = Path(os.environ[place]) / worker
            own.mkdir(parents=True, exist_ok=True)
            os.environ[place] = str(own)
    tempfile.tempdir = None

REPOSITORY = Path(__file__).resolve().parents[1]
SIDE = 64
ARCHIVES = "test_archive_"  # begins the names of end-to-end tests without a browser


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run each file in one process, and all browsers in the same: two at once take both cores."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            inside = Path(file).parent.name == "e2e" and not Path(file).name.startswith(ARCHIVES)
            return "browsers" if inside else file

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Begin each fixture with the same random numbers, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Begin each test with the same random numbers, alone and after any others."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def read_in_this_process() -> Iterator[None]:
    """Apps and verbs run inside the tests start no workers: these would not see what is patched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "read_in_workers", lambda: None)
        yield


@pytest.fixture
def own_tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test may load tasks from outside; the tables are then as they were."""
    tasks, losses = dict(TASKS), dict(LOSSES)
    monkeypatch.setattr(outside, "_loaded", {})
    monkeypatch.setattr(outside, "_names", {})
    monkeypatch.setenv(outside.VARIABLE, "")
    yield
    for table, before in ((TASKS, tasks), (LOSSES, losses)):
        table.clear()
        table.update(before)


def write_studies(folder: Path, count: int = 8, side: int = SIDE) -> Path:
    """Write `count` fluorescence phantoms with labels in MONAI Label's layout."""
    return write_nuclei(folder, count, side)


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labelled 64 x 64 phantoms; read only, copy before changing."""
    return write_studies(tmp_path_factory.mktemp("data") / "studies")


@pytest.fixture(scope="session")
def items(studies: Path) -> list[Item]:
    """The labelled items of `studies`."""
    return list_items(studies, labelled=True)


@pytest.fixture(scope="session")
def task() -> TaskSpec:
    """A row with a small network and a short recipe, for tests that train."""
    row = TASKS["nuclei_vhllrhe"]
    return replace(
        row,
        network=replace(row.network, kernel_size=3, channels=(6, 12, 24), convolutions=(1, 2, 2)),
        training=replace(
            row.training,
            steps=12,
            batch_size=4,
            patch_size=32,
            val_interval=4,
            learning_rate=3e-3,
            val_split=0.3,
        ),
    )


@pytest.fixture(scope="session")
def weights(studies: Path, items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the whole `nuclei_vhllrhe`, trained for a few steps on `studies`."""
    from lib.training.loop import fit
    from lib.training.options import FitOptions

    row = TASKS["nuclei_vhllrhe"]
    recipe = replace(row.training, steps=40, batch_size=4, patch_size=48, val_interval=40)
    options = FitOptions(
        out=tmp_path_factory.mktemp("weights"),
        device="cpu",
        precision="fp32",
        progress=False,
        tensorboard=False,
    )
    return fit(replace(row, training=recipe), items, options).weights


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of numbers, the same for each test."""
    return np.random.default_rng(20180416)


@pytest.fixture(scope="session")
def light() -> Callable[[TaskSpec], TaskSpec]:
    """Return a function that narrows a row's network to 8, 16, 32 .. maps, with all its layers.

    The thesis's rows are that narrow already and stay as they are.
    """

    def narrow(task: TaskSpec) -> TaskSpec:
        if getattr(task.network, "architecture", "") in ENCODERS:
            return task  # its maps are given
        known = getattr(task.network, "encoder", "stages") != "stages"
        channels = (
            width if known and n else min(width, 8 * 2**n)
            for n, width in enumerate(task.network.channels)
        )
        return replace(task, network=replace(task.network, channels=tuple(channels)))

    return narrow


def write_volumes(folder: Path, count: int = 4, shape: tuple[int, ...] = (12, 24, 20)) -> Path:
    """Write `count` noisy volumes with one bright ball each, and their labels, as NRRD."""
    import SimpleITK as sitk

    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        away = [
            places - side * rng.uniform(0.4, 0.6)
            for places, side in zip(np.indices(shape), shape, strict=True)
        ]
        ball = np.sqrt(sum(part**2 for part in away)) < min(shape) * rng.uniform(0.3, 0.45)
        voxels = rng.normal(60, 10, shape) + 110 * ball
        for place, pixels in ((folder, voxels.clip(0, 255)), (labels, ball)):
            image = sitk.GetImageFromArray(pixels.astype(np.uint8))
            image.SetSpacing((0.5, 0.5, 1.0))
            sitk.WriteImage(image, str(place / f"ball_{index}.nrrd"), useCompression=True)
    return folder


@pytest.fixture(scope="session")
def volume_items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Four labelled volumes of 12 x 24 x 20 voxels; read only."""
    return list_items(write_volumes(tmp_path_factory.mktemp("data") / "volumes"), labelled=True)


@pytest.fixture(scope="session")
def volume_task() -> TaskSpec:
    """The row for volumes with a small network and a short recipe."""
    row = TASKS["ultrasound3d_vnet2016"]
    return replace(
        row,
        network=replace(row.network, kernel_size=3, channels=(4, 8, 16), convolutions=(1, 1, 1)),
        training=replace(
            row.training,
            steps=12,
            patch_size=(8, 16, 16),
            val_interval=6,
            learning_rate=1e-2,
            val_split=0.3,
        ),
    )


@pytest.fixture(scope="session")
def exam_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve labelled exams of four small views as DICOM; read only."""
    from lib.phantoms.mammograms.exams import write_exams

    folder = tmp_path_factory.mktemp("data") / "exams"
    write_exams(folder, seed=1, exams=12, scale=0.04)
    return folder


@pytest.fixture(scope="session")
def exam_task() -> TaskSpec:
    """The row for BI-RADS classes, small: a network for each view, input and recipe short."""
    row = TASKS["density_birads"]
    return replace(
        row,
        network=replace(row.network, channels=(4, 8), depths=(1, 1), dropout=0.0, views=VIEWS),
        input=replace(row.input, size=48),
        training=replace(row.training, epochs=2, batch_size=4, val_split=0.4, averaging=0.0),
    )


@pytest.fixture(scope="session")
def exam_weights(
    exam_studies: Path, exam_task: TaskSpec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint of `exam_task`, trained for two passes over `exam_studies`."""
    from lib.classification.cases import list_views
    from lib.training.loop import fit
    from lib.training.options import FitOptions

    options = FitOptions(
        out=tmp_path_factory.mktemp("exam_weights"),
        device="cpu",
        precision="fp32",
        progress=False,
        tensorboard=False,
    )
    return fit(exam_task, list_views(exam_studies, exam_task, True), options).weights


RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment in which a child process finds the repository and computes in one thread."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def run_python(environment: dict[str, str]) -> RunPython:
    """Run Python with the given arguments in a process of its own and return how it ended."""

    def run(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, args)],
            env=environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run
