"""Who is next by each strategy, worked out beside the requests, so that none waits for it."""

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
REST = 5  # a ranking is kept for this many times what it took


@dataclass(frozen=True)
class _Ranking:
    ids: tuple[str, ...]
    state: tuple[str, int, int]
    until: float


class Rankings:
    """The rankings of the strategies that are asked for.

    A request for one gets the last that there is, and has it made anew in the background where
    scores or labels changed. Only where there is none does it wait, for a moment.

    Args:
        records: returns the records of the live weights of a task.
        patience: seconds of that moment.
    """

    def __init__(
        self,
        samples: Samples,
        records: Callable[[TaskSpec], Records],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.samples, self.records, self.patience = samples, records, patience
        self._known: dict[tuple[str, str], _Ranking] = {}
        self._pending: dict[tuple[str, str], Future[None]] = {}
        self._guard = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ranking")

    def get(self, task: TaskSpec, strategy: str, unlabelled: int) -> tuple[str, ...]:
        """Return ids of samples, the best first, of those that were measured; none is as it may be.

        Some may have been labelled or given out meanwhile.

        Args:
            unlabelled: how many samples have no label, which tells that labels came or went.
        """
        key = task.name, strategy
        records = self.records(task)
        state = records.version, records.changes, unlabelled
        known = self._known.get(key)
        fits = known is not None and known.state[0] == records.version
        if known is None or not fits or (known.state != state and time.monotonic() > known.until):
            pending = self._renew(task, strategy, state)
            if not fits:
                wait([pending], self.patience)
                known = self._known.get(key)
        fits = known is not None and known.state[0] == records.version
        return known.ids if known is not None and fits else ()

    def _renew(self, task: TaskSpec, strategy: str, state: tuple[str, int, int]) -> Future[None]:
        """Have a ranking made, once however many ask."""
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
        self._known[task.name, strategy] = _Ranking(tuple(ids), state, end + REST * (end - start))
