"""Training by itself: once enough labels were accepted, the ordinary training is begun.

What is new is told by the labels themselves: each version of weights keeps prints of those that it
was trained on, so a restart forgets nothing, and a corrected label is new. The
folder is looked at in a thread of its own; a request that saves a label only counts.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import tasks as begun_tasks

from lib.errors import BusyError, InputError
from lib.training.replay import count_labels, label_fingerprints, new_ids
from monailabel_app.services import AppServices

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5.0  # until a training that is in progress is looked at again


class Retraining:
    """Begins a training of each model that has enough labels its last one did not see.

    Args:
        every: how many new labels are enough.
    """

    def __init__(self, app: AppServices, every: int) -> None:
        self.app, self.every = app, every
        self._saved = 0  # labels, since the start
        self._due = 0  # the count of them at which to look again
        self._look = threading.Event()
        self._lock = threading.Lock()
        self._tried: dict[str, dict[str, str]] = {}  # labels of trainings begun here, by model

    def start(self) -> None:
        """Look at the labels that are there, and from now on at those to come."""
        self._look.set()
        threading.Thread(target=self._run, name="retraining", daemon=True).start()

    def label_saved(self) -> None:
        """Count a label; costs the request that saved it nothing."""
        with self._lock:
            self._saved += 1
            if self._saved >= self._due:
                self._look.set()

    def models(self) -> list[str]:
        """Return the models to train: those asked for, else all with live weights."""
        return list(self.app.config.auto_train_models) or [
            name for name in self.app.trainers if self.app.store.served_path(name) is not None
        ]

    def _run(self) -> None:
        busy = False
        while True:
            self._look.wait(BUSY_SECONDS if busy else None)
            self._look.clear()
            with self._lock:
                before = self._saved
            busy, missing = False, self.every
            for name in self.models():
                try:
                    lacking = self._consider(name)
                except Exception:  # the thread must see the next label, whatever this one was
                    logger.exception(f"'{name}' is not trained by itself this time")
                    continue
                busy |= not lacking
                missing = min(missing, lacking or self.every)
            with self._lock:
                self._due = before + missing
                if self._saved >= self._due:  # more came meanwhile
                    self._look.set()

    def _consider(self, name: str) -> int:
        """Begin a training of `name` if it is due.

        Returns:
            How many labels it lacks; 0 where a training is in progress, by this call or before.
        """
        trainer = self.app.require_trainer(name)
        if _in_progress(name):
            return 0
        store = self.app.datastore()
        try:
            items = trainer.items(store, trainer.task)
        except InputError as error:  # no label of its kind, say
            logger.info(f"'{name}' is not trained by itself: {error}")
            return self.every
        prints = label_fingerprints(items)
        new = new_ids(prints, self.app.store.last_labels(name))
        count = count_labels(items, new & new_ids(prints, self._tried.get(name, {})))
        if count < self.every:
            return self.every - count
        request: dict[str, Any] = {"model": name}
        if epochs := self.app.config.auto_train_epochs:
            request["max_epochs"] = epochs
        try:
            trainer.check(request, store)
        except BusyError:
            return 0
        except InputError as error:
            logger.warning(f"'{name}' is not trained by itself: {error}")
            return self.every
        logger.info(f"{count} new labels: '{name}' is trained by itself")
        self._tried[name] = prints
        AsyncTask.run("train", request, enqueue=True)
        return 0


def _in_progress(name: str) -> bool:
    """Tell whether a training of a model waits or runs."""
    return any(
        task["status"] in ("SUBMITTED", "RUNNING") and task["request"].get("model") == name
        for task in begun_tasks("train")
    )
