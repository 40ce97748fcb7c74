"""Who is next by each strategy, worked out beside the requests, so that none waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lib.acquisition import STRATEGIES, choose_next
from lib.specs import TaskSpec
from monailabel_app.active.records import Records
from monailabel_app.active.samples import Samples

RANKED = 64  # samples; more than people label at a time
REST = 5  # a ranking is kept for this many times what it took


@dataclass(frozen=True)
class _Ranking:
    ids: tuple[str, ...]
    state: tuple[str, int, int]
    until: float


class Rankings:
    """The rankings of the strategies that are asked for.

    The first request for one works it out; later ones get the last, and have it made anew in the
    background where scores or labels changed.

    Args:
        records: returns the records of the live weights of a task.
    """

    def __init__(self, samples: Samples, records: Callable[[TaskSpec], Records]) -> None:
        self.samples, self.records = samples, records
        self._known: dict[tuple[str, str], _Ranking] = {}
        self._guard = threading.Lock()
        self._pending: set[tuple[str, str]] = set()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ranking")

    def get(self, task: TaskSpec, strategy: str, unlabelled: int) -> tuple[str, ...]:
        """Return ids of samples, the best first; of none that was not measured.

        Some may have been labelled or given out meanwhile.

        Args:
            unlabelled: how many samples have no label, which tells that labels came or went.
        """
        key = task.name, strategy
        records = self.records(task)
        state = records.version, records.changes, unlabelled
        with self._guard:
            known = self._known.get(key)
            if known is None or known.state[0] != state[0]:
                known = self._make(task, strategy, state)
            elif known.state != state and time.monotonic() > known.until:
                if key not in self._pending:
                    self._pending.add(key)
                    self._pool.submit(self._renew, task, strategy, state)
            return known.ids

    def _renew(self, task: TaskSpec, strategy: str, state: tuple[str, int, int]) -> None:
        try:
            self._make(task, strategy, state)
        finally:
            self._pending.discard((task.name, strategy))

    def _make(self, task: TaskSpec, strategy: str, state: tuple[str, int, int]) -> _Ranking:
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
        made = _Ranking(tuple(ids), state, end + REST * (end - start))
        self._known[task.name, strategy] = made
        return made
