"""Tests of the science compute in one thread, so that results repeat to the last bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from lib.data.studies import Item
from lib.tasks.spec import TaskSpec
from lib.training.options import FitResult


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

    from lib.training.loop import fit

    return fit(task, items, fit_options(tmp_path_factory.mktemp("whole")))
