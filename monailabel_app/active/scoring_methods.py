"""MONAI Label's scoring methods: a thin skin over `lib.active_learning.review`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.active_learning.review import METHODS, Row, informativeness, ranked, review, scorer_for
from lib.errors import InputError, UnpublishedError, choose
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.active.strategies import ActiveLearning
from monailabel_app.studies.protocol import FINAL, StudiesProtocol
from trainers.base import ModelTrain

REPORTED = 100  # rows in an answer: one that is made in the background is logged whole


class ReviewMethod(ScoringMethod):
    """One entry of `lib.active_learning.review.METHODS`.

    Request parameters: ``model`` (by default the first with weights that the method is for) and
    ``device``. The figures are stored in the record of the label, those of ``uncertainty`` in the
    record of the image, with the name and version of the model; GET /datastore/?output=all shows
    them.
    """

    def __init__(
        self, name: str, trainers: Mapping[str, ModelTrain], active: ActiveLearning
    ) -> None:
        super().__init__(METHODS[name].description)
        self.name, self.trainers, self.active = name, trainers, active

    def info(self) -> dict[str, Any]:
        """Return what clients show: what it does, and the models to choose from."""
        models = self._models()
        return {**super().info(), **({"config": {"model": models}} if models else {})}

    def __call__(self, request: dict[str, Any], datastore: StudiesProtocol) -> dict[str, Any]:
        """Score, and store the figures.

        Returns:
            ``method``, ``model``, ``model_version``, the numbers ``scored``, ``failed`` and
            ``passed_over`` (images that the model is not for, or cannot answer), and the
            `REPORTED` ``images`` to look at first.
        """
        task = self._task(str(request.get("model") or ""))
        version = self.active.store.served_version(task.name)
        if METHODS[self.name].labelled:
            rows = self._review(task, str(request.get("device") or "auto"), datastore)
        else:
            rows = self._measured(task)
        about = {"model": task.name, "model_version": version}
        scored = [row for row in rows if "error" not in row]
        self._store({row["id"]: row for row in scored}, about, datastore)
        over = len(self.active.samples.all(task)) - len(self.active.samples.fitting(task))
        counts = {"scored": len(scored), "failed": len(rows) - len(scored), "passed_over": over}
        return {"method": self.name, **about, **counts, "images": rows[:REPORTED]}

    def _models(self) -> list[str]:
        return [
            name
            for name, task in self.active.tasks.items()
            if self.name in kind_of(task).reviews
            and self.active.store.served_path(name) is not None
        ]

    def _task(self, model: str) -> TaskSpec:
        """Return the task that scores.

        Raises:
            NotFoundError: no such model.
            InputError: the method is not for it.
            UnpublishedError: it has no weights.
        """
        models = self._models()
        if not model and not models:
            raise UnpublishedError(
                f"'{self.name}' needs a model with weights and there is none; train one first"
            )
        task = choose("model", model or models[0], self.active.tasks)
        scorer_for(self.name, kind_of(task).reviews, task)
        if task.name not in models:
            raise UnpublishedError(f"'{model}' has no weights yet; train it first")
        return task

    def _review(self, task: TaskSpec, device: str, datastore: StudiesProtocol) -> list[Row]:
        path = self.active.store.served_path(task.name)
        assert path is not None
        kind = kind_of(task)
        predictor = kind.predictor.from_checkpoint(
            task, load_checkpoint(path), device, self.active.settings.precision
        )
        items = choose("model", task.name, self.trainers).items(datastore, task)
        return review(self.name, kind.reviews, predictor, items)

    def _measured(self, task: TaskSpec) -> list[Row]:
        """Return the figures that were measured in the background."""
        samples = self.active.samples.all(task)
        rows: list[Row] = []
        for id, record in self.active.background.records(task).all().items():
            row: Row = {"id": id, "images": list(samples.get(id, ()))}
            if record.measured is None:
                rows.append({**row, "error": record.error})
            else:
                rows.append({**row, **informativeness(record.measured)})
        if not rows:
            raise InputError(
                f"no image was measured with '{task.name}' yet: that is done in the background, "
                f"unless --conf scoring is off; ask again in a while"
            )
        return ranked(self.name, rows)

    def _store(
        self, rows: dict[str, Row], about: dict[str, Any], datastore: StudiesProtocol
    ) -> None:
        labelled = METHODS[self.name].labelled
        infos: dict[str, dict[str, Any]] = {}
        for row in rows.values():
            figures = {name: value for name, value in row.items() if name not in ("id", "images")}
            for image in row["images"]:
                if not labelled or datastore.get_label_by_image_id(image, FINAL):
                    infos[image] = {self.name: {**figures, **about}}
        datastore.update_infos(infos, FINAL if labelled else None)


def make_methods(
    trainers: Mapping[str, ModelTrain], active: ActiveLearning
) -> dict[str, ReviewMethod]:
    """Return the methods for the kinds of tasks that are served."""
    return {
        name: ReviewMethod(name, trainers, active)
        for name in METHODS
        if any(name in kind_of(task).reviews for task in active.tasks.values())
    }
