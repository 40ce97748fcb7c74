"""Tests of the science compute in one thread, so that results repeat to the last bit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lib.datasets.studies import Item
from lib.fit_options import FitResult
from lib.tasks import TaskSpec

sys.path.insert(0, str(Path(__file__).parent))  # tests import their samples from here


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def timed() -> Callable[[float], AbstractContextManager[None]]:
    """Return a context that fails when what is inside computes for longer than so many seconds."""

    @contextmanager
    def check(seconds: float) -> Iterator[None]:
        start = time.process_time()  # not of the neighbours on this machine
        yield
        assert time.process_time() - start < seconds

    return check


@pytest.fixture(scope="session")
def whole(task: TaskSpec, items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """An uninterrupted run, to compare with."""
    from training_samples import fit_options

    from lib.training import fit

    return fit(task, items, fit_options(tmp_path_factory.mktemp("whole")))
