"""The order of the samples by each strategy, made in the background so that no request waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from lib.active_learning.strategies import STRATEGIES, choose_next
from lib.tasks.spec import TaskSpec
from monailabel_app.active.records import Records
from monailabel_app.active.samples import Samples

RANKED = 64  # samples; more than people label at a time
PATIENCE_SECONDS = 0.1
KEPT_TIMES = 5  # a ranking is kept for this many times the seconds that making it took


@dataclass(frozen=True)
class _Ranking:
    ids: tuple[str, ...]
    state: tuple[str, int, int]
    until: float


class Rankings:
    """The rankings of the strategies that are asked for.

    A request gets the latest ranking. If scores or labels changed since, a new one is made in the
    background. If there is none yet, the request waits for it, but not long.

    Args:
        records: returns the records of the served weights of a task.
        patience: the longest wait, seconds.
    """

    def __init__(
        self,
        samples: Samples,
        records: Callable[[TaskSpec], Records],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.samples, self.records, self.patience = samples, records, patience
        self._latest: dict[tuple[str, str], _Ranking] = {}
        self._pending: dict[tuple[str, str], Future[None]] = {}
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ranking")

    def get(self, task: TaskSpec, strategy: str, unlabelled: int) -> tuple[str, ...]:
        """Return the ids of measured samples, the best first; empty if there is no ranking yet.

        Some of them may have been labelled or given out since.

        Args:
            unlabelled: number of samples without a label; if it changed, labels came or went.
        """
        key = task.name, strategy
        records = self.records(task)
        state = records.version, records.changes, unlabelled
        latest = self._latest.get(key)
        fits = latest is not None and latest.state[0] == records.version
        if (
            latest is None
            or not fits
            or (latest.state != state and time.monotonic() > latest.until)
        ):
            pending = self._renew(task, strategy, state)
            if not fits:
                wait([pending], self.patience)
                latest = self._latest.get(key)
        fits = latest is not None and latest.state[0] == records.version
        return latest.ids if latest is not None and fits else ()

    def _renew(self, task: TaskSpec, strategy: str, state: tuple[str, int, int]) -> Future[None]:
        """Start making a ranking, unless it is being made already."""
        key = task.name, strategy
        with self._guard:
            pending = self._pending.get(key)
            if pending is None or pending.done():
                pending = self._pool.submit(self._make, task, strategy, state)
                self._pending[key] = pending
            return pending

    def _make(self, task: TaskSpec, strategy: str, state: tuple[str, int, int]) -> None:
        start = time.monotonic()
        passes = 1 if STRATEGIES[strategy].dropout else 0
        measured = {
            id: one.measured
            for id, one in self.records(task).all().items()
            if one.measured is not None and one.passes >= passes
        }
        free = self.samples.unlabelled(task)
        pool = {id: each for id, each in measured.items() if id in free}
        labelled = {id: each for id, each in measured.items() if id not in free}
        ids = choose_next(strategy, pool, labelled, RANKED, np.random.default_rng())
        end = time.monotonic()
        self._latest[task.name, strategy] = _Ranking(
            tuple(ids), state, end + KEPT_TIMES * (end - start)
        )
