"""Automatic training: it starts when enough new labels were accepted.

A label is new if the served version of the weights was not trained on it: each version keeps
fingerprints of its labels. So a restart forgets nothing, and a corrected label is new. A thread
reads the labels; a request that saves one only counts.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import tasks as list_tasks

from lib.errors import BusyError, InputError
from lib.training.replay import count_labels, label_fingerprints, new_ids
from monailabel_app.services import AppServices

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5.0  # between looks at a training in progress


class Retraining:
    """Starts a training of each model that has enough new labels.

    Args:
        every: number of new labels that starts a training.
    """

    def __init__(self, app: AppServices, every: int) -> None:
        self.app, self.every = app, every
        self._saved = 0  # labels saved since the start
        self._due = 0  # number of saved labels at which to look again
        self._look = threading.Event()
        self._lock = threading.Lock()
        self._tried: dict[
            str, dict[str, str]
        ] = {}  # fingerprints of the labels of trainings started here, by model

    def start(self) -> None:
        """Look at the labels that are there, then at those that are saved from now on."""
        self._look.set()
        threading.Thread(target=self._run, name="retraining", daemon=True).start()

    def label_saved(self) -> None:
        """Count a label; the request that saved it does not wait for more."""
        with self._lock:
            self._saved += 1
            if self._saved >= self._due:
                self._look.set()

    def models(self) -> list[str]:
        """Return the models to train: those of the options, else all with weights."""
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
                    lacking = self._train_if_due(name)
                except Exception:  # the thread must go on with the next label
                    logger.exception(f"'{name}' is not trained automatically this time")
                    continue
                busy |= not lacking
                missing = min(missing, lacking or self.every)
            with self._lock:
                self._due = before + missing
                if self._saved >= self._due:  # others were saved meanwhile
                    self._look.set()

    def _train_if_due(self, name: str) -> int:
        """Start a training of `name` if it has enough new labels.

        Returns:
            The number of labels that are missing; 0 if a training is in progress now.
        """
        trainer = self.app.require_trainer(name)
        if _in_progress(name):
            return 0
        store = self.app.datastore()
        try:
            items = trainer.items(store, trainer.task)
        except InputError as error:  # for instance no label for this task
            logger.info(f"'{name}' is not trained automatically: {error}")
            return self.every
        fingerprints = label_fingerprints(items)
        new = new_ids(fingerprints, self.app.store.last_labels(name))
        count = count_labels(items, new & new_ids(fingerprints, self._tried.get(name, {})))
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
            logger.warning(f"'{name}' is not trained automatically: {error}")
            return self.every
        logger.info(f"{count} new labels: '{name}' is trained automatically")
        self._tried[name] = fingerprints
        AsyncTask.run("train", request, enqueue=True)
        self.app.audit.write("training started", name, by="auto_train", labels=count)
        return 0


def _in_progress(name: str) -> bool:
    """Tell whether a training of a model is waiting or running."""
    return any(
        task["status"] in ("SUBMITTED", "RUNNING") and task["request"].get("model") == name
        for task in list_tasks("train")
    )
