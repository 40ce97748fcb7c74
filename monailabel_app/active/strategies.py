"""Which image to label next: MONAI Label's strategies over `lib.active_learning`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy

from lib.active_learning.review import informativeness
from lib.active_learning.strategies import STRATEGIES, choose_next
from lib.errors import InputError, choose
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import Informativeness
from lib.weights.store import ModelStore
from monailabel_app.active.background import Background
from monailabel_app.active.leases import Leases
from monailabel_app.active.ranking import Rankings
from monailabel_app.active.samples import Groups, Samples
from monailabel_app.studies.protocol import StudiesProtocol

logger = logging.getLogger(__name__)

_UNMEASURED = Informativeness(0.0, 0.0, 0.0, 1.0, np.zeros(0, dtype=np.float32))


class FreeSamples:
    """What a strategy chooses from: the unlabelled samples that nobody else works on.

    Attributes:
        task: whose samples and scores they are.
        offered: images of each sample.
    """

    def __init__(self, task: TaskSpec, offered: Groups, ranked: Callable[[str], tuple[str, ...]]):
        self.task, self.offered, self.ranked = task, offered, ranked


class ActiveStrategy(Strategy):
    """One entry of `STRATEGIES`.

    Strategies that look at scores take the best of those that were measured. Where none of these is
    free they take any: one that is not measured yet, so that no request waits for scores.

    Args:
        models: returns the names of the models whose scores can be used.
    """

    def __init__(self, name: str, models: Callable[[], list[str]]) -> None:
        super().__init__(STRATEGIES[name].description)
        self.name, self.models = name, models

    def info(self) -> dict[str, Any]:
        """Return what clients show: what it does, and the models to choose from."""
        models = self.models()
        return {**super().info(), **({"config": {"model": models}} if models else {})}

    def __call__(self, request: dict[str, Any], datastore: FreeSamples) -> dict[str, Any] | None:
        """Return the ``sample`` to label, or None where every one has a label.

        Args:
            request: of the client.
            datastore: what can be chosen.
        """
        offered = datastore.offered
        if STRATEGIES[self.name].measures:
            best = (id for id in datastore.ranked(self.name) if id in offered)
            if (found := next(best, None)) is not None:
                return {"sample": found}
        way = "random" if STRATEGIES[self.name].measures else self.name
        unmeasured = dict.fromkeys(sorted(offered), _UNMEASURED)
        found = next(iter(choose_next(way, unmeasured, {}, 1, np.random.default_rng())), None)
        return None if found is None else {"sample": found}


class ActiveLearning:
    """The strategies of a server, with the scores that they look at and who has which image.

    Args:
        tasks: served ones, by name.
        scoring: whether to measure in the background: ``on``, ``off``, or ``auto``, which is on for
            a folder and off for an archive, whose images would all have to be fetched.
    """

    def __init__(
        self,
        datastore: StudiesProtocol,
        tasks: Mapping[str, TaskSpec],
        store: ModelStore,
        device: str,
        precision: str,
        scoring: str,
    ) -> None:
        self.datastore, self.tasks, self.store = datastore, dict(tasks), store
        self.leases = Leases()
        self.samples = Samples(datastore)
        enabled = scoring == "on" or (scoring == "auto" and datastore.is_local)
        measured = {name: task for name, task in self.tasks.items() if kind_of(task).strategies}
        self.background = Background(
            datastore.scores_folder, self.samples, measured, store, device, precision, enabled
        )
        self.rankings = Rankings(self.samples, self.background.records)

    def strategies(self) -> dict[str, ActiveStrategy]:
        """Return the strategies for the kinds of tasks that are served."""
        names = [n for n in STRATEGIES if any(fits(n, task) for task in self.tasks.values())]
        return {name: ActiveStrategy(name, partial(self._models, name)) for name in names}

    def _models(self, strategy: str) -> list[str]:
        """Return the models that a strategy can go by, those with weights, in their order."""
        return [
            name
            for name, task in self.tasks.items()
            if fits(strategy, task) and self.store.served_path(name) is not None
        ]

    def task(self, strategy: str, model: str) -> TaskSpec:
        """Return the task whose samples and scores are meant.

        That is `model`, else the first with weights that the strategy is for, else the first.

        Raises:
            NotFoundError: no such model.
            InputError: a strategy that is not for it.
        """
        if not model:
            fitting = [name for name, task in self.tasks.items() if fits(strategy, task)]
            model = next(iter([*self._models(strategy), *fitting]))
        task = choose("model", model, self.tasks)
        if not fits(strategy, task):
            raise InputError(
                f"strategy '{strategy}' is not for '{model}' ({task.kind}); choose one of "
                f"{', '.join(name for name in STRATEGIES if fits(name, task))}, or another model"
            )
        return task

    def next(self, strategy: ActiveStrategy, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next image to label, which nobody else was given; nothing if there is none.

        Beside ``id`` and ``path`` there are ``exam`` (of an exam, its id), ``model``, and where the
        sample was measured ``scores`` and the ``model_version`` that they are of.
        """
        task = self.task(strategy.name, str(request.get("model") or ""))
        who = str(request.get("client_id") or "")
        if STRATEGIES[strategy.name].measures:
            self.background.want(task, strategy.name)
        unreadable: set[str] = set()
        while True:
            unlabelled = self.samples.unlabelled(task)
            readable = {id: own for id, own in unlabelled.items() if id not in unreadable}
            offered = self.leases.free(readable, who)
            ranked = partial(self.rankings.get, task, unlabelled=len(unlabelled))
            chosen = strategy(request, FreeSamples(task, offered, ranked))
            if chosen is None:
                return {}
            id = chosen["sample"]
            if not self.leases.take(offered, id, who):
                continue
            try:
                return self._answer(task, id, offered[id])
            except InputError as error:  # an archive lists what turns out to be no volume
                logger.warning(f"Image '{id}' is passed over: {error}")
                unreadable.add(id)
                self.leases.drop(offered[id])

    def _answer(self, task: TaskSpec, id: str, images: tuple[str, ...]) -> dict[str, Any]:
        answer: dict[str, Any] = {"id": images[0], "path": self.datastore.get_image_uri(images[0])}
        answer["model"] = task.name
        if kind_of(task).by_exam:
            answer["exam"] = id
        records = self.background.records(task)
        record = records.get(id)
        if record is not None and record.measured is not None:
            answer["scores"] = informativeness(record.measured)
            answer["model_version"] = records.version
        return answer

    def saved(self, image: str) -> None:
        """Let others have an image again, and look at its new label."""
        self.leases.drop([image])
        self.background.look()


def fits(strategy: str, task: TaskSpec) -> bool:
    """Tell whether a strategy is for a task: one that looks at no scores is for any."""
    return not STRATEGIES[strategy].measures or strategy in kind_of(task).strategies
