"""Scores of all images, measured in the background while nobody waits for the server."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.active_learning.strategies import STRATEGIES
from lib.errors import InputError
from lib.kinds import kind_of
from lib.mammography.exams import Exam
from lib.shared_lock import SharedLock
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import PASSES
from lib.weights.store import ModelStore
from monailabel_app.active.quiet import Quiet
from monailabel_app.active.records import Record, Records
from monailabel_app.active.samples import Groups, Samples
from monailabel_app.active.worker import Answer, Job, Setup

logger = logging.getLogger(__name__)

LOWEST_PRIORITY = 19
REPOSITORY = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 20.0  # between looks for new images, labels and weights
SETTLE_SECONDS = 2.0  # after a change, as more may follow
CLAIMS = 64  # locks on samples; two servers rarely want the same for different ones


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """How images are scored.

    Attributes:
        enabled: ``on``, ``off``, or ``auto``, which is on for a folder and off for an archive: all
            its images would have to be fetched. Records that are there are used in any case.
        niceness: Unix niceness of the process that measures, 0 (that of the server) to 19.
    """

    device: str = "auto"
    precision: str = "auto"
    enabled: str = "auto"
    niceness: int = LOWEST_PRIORITY


class Background:
    """Measures the samples of the tasks that are asked for, with the served weights.

    A sample is measured if it is new, if its files changed, or if it was measured with other
    weights. Unlabelled samples come first, in an order that is random but always the same: those
    that are measured already are a random part of all. Servers on the same studies share the work
    and what came of it: each takes a sample that no other one measures.

    Args:
        tasks: the served tasks that have scores, by name.
    """

    def __init__(
        self,
        samples: Samples,
        tasks: Mapping[str, TaskSpec],
        store: ModelStore,
        settings: ScoringSettings,
    ) -> None:
        self.samples, self.store, self.settings = samples, store, settings
        self.quiet = Quiet()
        self._tasks = dict(tasks)
        self._setup = Setup(
            models=store.folder,
            shipped=store.shipped,
            device=settings.device,
            precision=settings.precision,
        )
        self._records: dict[str, Records] = {}
        self._requested: dict[str, tuple[TaskSpec, int]] = {}  # tasks, and passes with dropout
        self._guard = threading.Lock()
        self._changed = threading.Event()
        self._worker: subprocess.Popen[bytes] | None = None
        self._refused: dict[str, str] = {}  # versions that cannot be used, by task
        self._claims: dict[int, SharedLock] = {}

    def start(self) -> None:
        """Begin to measure, for the first task that has weights and for those asked for."""
        enabled = self.settings.enabled
        if enabled == "on" or (enabled == "auto" and self.samples.store.is_local):
            atexit.register(self._end_worker)
            threading.Thread(target=self._run, name="scores", daemon=True).start()

    def look(self) -> None:
        """Look for changes soon."""
        self._changed.set()

    def records(self, task: TaskSpec) -> Records:
        """Return the records of the served weights of a task."""
        with self._guard:
            if task.name not in self._records:
                self._records[task.name] = Records(
                    self.samples.store.shared_folder / f"{task.name}.jsonl"
                )
            records = self._records[task.name]
            records.open(self.store.served_version(task.name))
        return records

    def request(self, task: TaskSpec, strategy: str) -> None:
        """Measure the samples of `task` from now on, with the figures that a strategy needs."""
        passes = PASSES if STRATEGIES[strategy].dropout else 0
        with self._guard:
            _, before = self._requested.get(task.name, (task, -1))
            self._requested[task.name] = (task, max(passes, before))
        if passes > before:
            self.look()

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                finished = self._measure_all()
            except Exception:  # an archive that does not answer, a full disk: try again later
                logger.exception("Scores in the background stopped; trying again soon")
                finished = True
            if finished:
                self._stop_worker()
                if self._changed.wait(LOOK_SECONDS):
                    time.sleep(SETTLE_SECONDS)
                self._changed.clear()

    def _measure_all(self) -> bool:
        """Measure for a while; return whether nothing is left."""
        with self._guard:
            requested = dict(self._requested)
        for task in self._tasks.values():
            if self.store.served_version(task.name):
                requested.setdefault(task.name, (task, 0))
                break
        finished = [
            self._measure_task(task, passes)
            for task, passes in requested.values()
            if self.store.served_version(task.name)
        ]
        return all(finished)

    def _measure_task(self, task: TaskSpec, passes: int) -> bool:
        """Measure what is missing, for a while; return whether nothing is left."""
        until = time.monotonic() + LOOK_SECONDS
        records = self.records(task)
        if self._refused.get(task.name) == records.version:
            return True
        samples = self.samples.fitting(task)
        records.keep(samples.keys())
        missing = self._missing(task, samples, records, passes)
        measured = elsewhere = 0
        for id, stamp in missing:
            self.quiet.wait()
            if time.monotonic() > until or self.store.served_version(task.name) != records.version:
                return False
            with self._claim(id).tried() as mine:
                if not mine:
                    elsewhere += 1
                elif _lacks(records.get(id), stamp, passes):
                    answer = self._ask(task, samples[id], passes)
                    if not answer.version:
                        logger.error(f"Scores of '{task.name}': {answer.error}")
                        self._refused[task.name] = records.version
                        return True
                    measured += 1
                    # other weights may be served meanwhile, by another server too
                    if answer.version == records.version == self.store.served_version(task.name):
                        records.add(id, Record(stamp, passes, answer.measured, answer.error))
        if measured and not elsewhere:
            logger.info(f"Scores of '{task.name}': all {len(samples)} measured")
        return not (measured and elsewhere)

    def _claim(self, id: str) -> SharedLock:
        """Return the lock that a server holds while it measures a sample, and some others."""
        number = _random_order(id)[0] % CLAIMS
        if number not in self._claims:
            file = self.samples.store.shared_folder / f".measuring-{number:02}.lock"
            self._claims[number] = SharedLock(file)
        return self._claims[number]

    def _missing(
        self, task: TaskSpec, samples: Groups, records: Records, passes: int
    ) -> list[tuple[str, str]]:
        """Return the samples to measure, in order, with the stamps of their files."""
        unlabelled = self.samples.unlabelled(task)
        missing = []
        for id, images in samples.items():
            stamp, record = self.samples.store.stamp(images), records.get(id)
            if _lacks(record, stamp, passes):
                missing.append((id not in unlabelled, _random_order(id), id, stamp))
        return [(id, stamp) for _, _, id, stamp in sorted(missing)]

    def _ask(self, task: TaskSpec, images: tuple[str, ...], passes: int) -> Answer:
        version = self.store.served_version(task.name)
        label: Path | None = None
        case: Path | Exam | None
        try:
            if kind_of(task).by_exam:
                case = self.samples.exam(images)
            else:
                case = self.samples.store.files(images)[images[0]]
                label = self.samples.store.accepted_label(images)
        except (InputError, KeyError) as error:
            return Answer(version, error=str(error))
        if case is None:
            return Answer(version, error="no view of a mammography exam")
        worker = self._start_worker()
        assert worker.stdin is not None and worker.stdout is not None
        try:
            pickle.dump(Job(task.name, case, label, passes), worker.stdin)
            worker.stdin.flush()
            answer: Answer = pickle.load(worker.stdout)
            return answer
        except (EOFError, OSError, pickle.UnpicklingError):
            status = worker.wait()
            self._worker = None
            return Answer(version, error=f"measuring it ended the process (status {status})")

    def _start_worker(self) -> subprocess.Popen[bytes]:
        if self._worker is None:
            paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "monailabel_app.active", str(self.settings.niceness)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    "OMP_NUM_THREADS": "1",
                },
            )
            assert self._worker.stdin is not None
            pickle.dump(self._setup, self._worker.stdin)
        return self._worker

    def _end_worker(self) -> None:
        """End the process with the server, whatever it measures."""
        if (worker := self._worker) is not None:
            worker.kill()

    def _stop_worker(self) -> None:
        if self._worker is not None:
            assert self._worker.stdin is not None
            self._worker.stdin.close()
            self._worker.wait()
            self._worker = None


def _lacks(record: Record | None, stamp: str, passes: int) -> bool:
    """Tell whether a sample is to be measured: it was not, or before it changed, or too little."""
    return record is None or record.stamp != stamp or record.passes < passes


def _random_order(id: str) -> bytes:
    return hashlib.blake2b(id.encode(), digest_size=8).digest()
