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
from lib.data.readable import unfit
from lib.errors import BusyError, InputError, choose
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import Informativeness
from lib.weights.store import ModelStore
from monailabel_app.active.background import Background, ScoringSettings
from monailabel_app.active.leases import FILE, Leases
from monailabel_app.active.ranking import Rankings
from monailabel_app.active.reopening import REOPENING, Reopened
from monailabel_app.active.samples import Groups, Samples
from monailabel_app.studies.protocol import StudiesProtocol

logger = logging.getLogger(__name__)

Ranked = Callable[[str], tuple[str, ...]]
_UNMEASURED = Informativeness(0.0, 0.0, 0.0, 1.0, np.zeros(0, dtype=np.float32))


class FreeSamples:
    """What a strategy chooses from: the unlabelled samples that nobody else works on.

    Attributes:
        task: the task of these samples.
        offered: ids of the images of each sample.
        ranked: returns the ids of measured samples by a strategy, the best first.
    """

    def __init__(self, task: TaskSpec, offered: Groups, ranked: Ranked):
        self.task, self.offered, self.ranked = task, offered, ranked


class ActiveStrategy(Strategy):
    """One entry of `STRATEGIES`.

    A strategy that uses scores takes the best of the measured samples. If none of them is free, it
    takes a random one that is not measured yet: no request waits for scores.

    Args:
        models: returns the names of the models that clients can choose from.
    """

    def __init__(self, name: str, models: Callable[[], list[str]]) -> None:
        super().__init__(STRATEGIES[name].description)
        self.name, self.models = name, models

    def info(self) -> dict[str, Any]:
        """Return what clients show: what it does, and the models to choose from."""
        models = self.models()
        return {**super().info(), **({"config": {"model": models}} if models else {})}

    def __call__(self, request: dict[str, Any], datastore: FreeSamples) -> dict[str, Any] | None:
        """Return the ``sample`` to label; None if every sample has a label.

        Args:
            request: parameters of the client.
            datastore: the samples to choose from.
        """
        offered = datastore.offered
        if STRATEGIES[self.name].measures:
            best = (id for id in datastore.ranked(self.name) if id in offered)
            if (found := next(best, None)) is not None:
                return {"sample": found}
        strategy = "random" if STRATEGIES[self.name].measures else self.name
        unmeasured = dict.fromkeys(sorted(offered), _UNMEASURED)
        found = next(iter(choose_next(strategy, unmeasured, {}, 1, np.random.default_rng())), None)
        return None if found is None else {"sample": found}


class ReopeningStrategy(ActiveStrategy):
    """One entry of `REOPENING`.

    The request may name the image: ``id``, which must be finished.
    """

    def __init__(self, name: str, models: Callable[[], list[str]]) -> None:
        Strategy.__init__(self, REOPENING[name].description)
        self.name, self.models = name, models

    def info(self) -> dict[str, Any]:
        """Return what clients show; in 3D Slicer ``id`` is a line to fill in."""
        info = super().info()
        return {**info, "config": {**info.get("config", {}), "id": ""}}

    def __call__(self, request: dict[str, Any], datastore: FreeSamples) -> dict[str, Any] | None:
        """Return the finished ``sample`` to open again; None if there is none."""
        best = next((id for id in datastore.ranked(self.name) if id in datastore.offered), None)
        return None if best is None else {"sample": best}


class ActiveLearning:
    """The strategies of a server, the scores that they use, and who works on which image.

    Args:
        tasks: the served tasks, by name.
    """

    def __init__(
        self,
        datastore: StudiesProtocol,
        tasks: Mapping[str, TaskSpec],
        store: ModelStore,
        settings: ScoringSettings,
    ) -> None:
        self.datastore, self.tasks, self.store = datastore, dict(tasks), store
        self.settings = settings
        self.leases = Leases(datastore.shared_folder / FILE)
        self.samples = Samples(datastore)
        self.reopened = Reopened(self.samples, self.leases)
        measured = {name: task for name, task in self.tasks.items() if kind_of(task).strategies}
        self.background = Background(self.samples, measured, store, settings)
        self.rankings = Rankings(self.samples, self.background.records)

    def strategies(self) -> dict[str, ActiveStrategy]:
        """Return the strategies for the kinds of tasks that are served."""
        names = [n for n in STRATEGIES if any(fits(n, task) for task in self.tasks.values())]
        found = {name: ActiveStrategy(name, partial(self._models, name)) for name in names}
        again = {name: ReopeningStrategy(name, partial(self._models, name)) for name in REOPENING}
        return {**found, **again} if self.tasks else {}

    def _models(self, strategy: str) -> list[str]:
        """Return the models with weights that a strategy can use, in their order."""
        return [
            name
            for name, task in self.tasks.items()
            if fits(strategy, task) and self.store.served_path(name) is not None
        ]

    def task(self, strategy: str, model: str, like: str = "") -> TaskSpec:
        """Return the task whose samples and scores a request is about.

        That is `model`. Without one, it is the first task that the strategy is for and that fits
        `like`, or some image, one with weights if there is any; if none fits, one that takes all
        images as they come.

        Args:
            like: an image of the kind that is asked for; "" for any.

        Raises:
            NotFoundError: no such model.
            InputError: the strategy is not for this model.
        """
        if not model:
            return self._task_for(strategy, like)
        task = choose("model", model, self.tasks)
        if not fits(strategy, task):
            raise InputError(
                f"strategy '{strategy}' is not for '{model}' ({task.kind}); choose one of "
                f"{', '.join(name for name in STRATEGIES if fits(name, task))}, or another model"
            )
        return task

    def _task_for(self, strategy: str, like: str) -> TaskSpec:
        fitting = [name for name, task in self.tasks.items() if fits(strategy, task)]
        tasks = [self.tasks[name] for name in dict.fromkeys([*self._models(strategy), *fitting])]
        for task in tasks:
            if self.samples.fitting_with(task, like):
                return task
        by_image = [task for task in tasks if not (kind_of(task).by_exam or task.image_dims)]
        return (*by_image, *tasks)[0].for_any_image()

    def next(self, strategy: ActiveStrategy, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next image to label, one that nobody else works on; empty if there is none.

        With a ``model`` all are images that it is for; with the id of an image as ``like``, all are
        of the kind of that one, unless it is none that the model is for.

        The answer has ``id``, ``path`` and ``model``, empty where none fits; for a mammogram
        ``exam``, its id; and if the sample was measured, its ``scores`` and the ``model_version``
        that they were measured with. A finished image comes with ``label``, the file of its
        accepted label, and ``label_tag``.

        Raises:
            NotFoundError: an ``id``, or ``like``, that is no image.
            InputError: one that is not finished, or cannot be read.
            BusyError: one that somebody else works on.
        """
        reopens = strategy.name in REOPENING
        asked = str(request.get("id") or "") if reopens else ""
        model, like = str(request.get("model") or ""), str(request.get("like") or "")
        of_label = self.reopened.model_of(
            asked,
            {n: task for n, task in self.tasks.items() if self.samples.fitting_with(task, asked)},
        )
        task = self.task(strategy.name, model or of_label, like or asked)
        who = str(request.get("client_id") or "")
        if not reopens and STRATEGIES[strategy.name].measures:
            self.background.request(task, strategy.name)
        unreadable: set[str] = set()
        while True:
            samples, ranked = self._candidates(task, reopens, asked)
            if like and (not model or self.samples.fitting_with(task, like)):
                samples = self.samples.like(samples, like)
            readable = {id: own for id, own in samples.items() if unreadable.isdisjoint(own)}
            offered = self.leases.free(readable, who)
            chosen = strategy(request, FreeSamples(task, offered, ranked))
            if chosen is None:
                return {}
            id = chosen["sample"]
            if asked and self.leases.is_held(offered[id], who):
                raise BusyError(
                    f"image '{asked}' is being labelled by somebody else; ask again later, or "
                    f"for another image"
                )
            if not self.leases.take(readable, id, who, task.name if reopens else ""):
                continue
            if not reopens and not self.samples.is_unlabelled(task, id):
                self.leases.drop(offered[id])  # somebody labelled it a moment ago
                continue
            image = offered[id][0]
            if reason := unfit(self.datastore.look(image), image, task):
                self.leases.drop(offered[id])
                if asked:
                    raise InputError(reason)
                logger.warning(f"Image '{image}' is skipped: {reason}")
                unreadable.add(image)
                continue
            answer = self._answer(task, id, offered[id])
            return {**answer, **self.reopened.label_of(offered[id])} if reopens else answer

    def _candidates(self, task: TaskSpec, reopens: bool, asked: str) -> tuple[Groups, Ranked]:
        """Return the samples to choose from, and what ranks them by a strategy."""
        if reopens:
            finished = self.reopened.finished(task, asked)
            return finished, partial(self.reopened.ranked, samples=finished)
        unlabelled = self.samples.unlabelled(task)
        return unlabelled, partial(self.rankings.get, task, unlabelled=len(unlabelled))

    def _answer(self, task: TaskSpec, id: str, images: tuple[str, ...]) -> dict[str, Any]:
        answer: dict[str, Any] = {"id": images[0], "path": self.datastore.get_image_uri(images[0])}
        answer["model"] = task.name if self.tasks[task.name] is task else ""
        if kind_of(task).by_exam:
            answer["exam"] = id
        records = self.background.records(task)
        record = records.get(id)
        if record is not None and record.measured is not None:
            answer["scores"] = informativeness(record.measured)
            answer["model_version"] = records.version
        return answer

    def exam_doubts(self) -> dict[str, float]:
        """Return how doubtful a model's answers on exams are, 0..1, as far as they are measured.

        It is `Informativeness.margin` of the first served model for exams that has weights; the
        others are measured in the background from now on.
        """
        for name in self._models("margin"):
            if kind_of(self.tasks[name]).by_exam:
                self.background.request(self.tasks[name], "margin")
                records = self.background.records(self.tasks[name]).all()
                return {id: one.measured.margin for id, one in records.items() if one.measured}
        return {}

    def reopened_for(self, image: str) -> TaskSpec | None:
        """Return the task for which somebody works on a finished image again; else None."""
        return self.tasks.get(self.leases.reopened_for(image))

    def saved(self, image: str) -> None:
        """End the lease of an image, and look at its new label."""
        self.leases.drop([image])
        self.background.look()


def fits(strategy: str, task: TaskSpec) -> bool:
    """Tell whether a strategy is for a task: one that uses no scores is for any."""
    if strategy in REOPENING:
        return True
    return not STRATEGIES[strategy].measures or strategy in kind_of(task).strategies
