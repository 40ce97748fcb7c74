"""Routes for training from a viewer: what there is to train on, how it goes on, what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.utils.async_tasks.utils import tasks as list_tasks

from lib.tasks.registry import get_task
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.web.access import Access
from monailabel_app.web.people import person, refusal

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_WAITING, _RUNNING, _DONE, _STOPPED = "SUBMITTED", "RUNNING", "DONE", "STOPPED"
_PROGRESS = ("epoch", "total_epochs", "best_metric", "seconds", "seconds_left", "loss", "warning")
METRICS = {  # key metrics, as readers call them
    "mean_iou": "mean IoU",
    "dice_kaggle": "Dice",
    "fg_dice": "Dice",
    "click_dice": "Dice after clicks",
    "exam_likelihood": "likelihood of the right class",
    "exam_accuracy": "accuracy",
}


def training_router(
    app: AppServices, answer: Callable[[Callable[[], Any]], Any], cheap: Lane, studies: Lane
) -> APIRouter:
    """Return the routes.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        cheap: the threads for what is answered at once.
        studies: those for what asks the studies.
    """
    router = APIRouter(prefix="/viewer", tags=["Viewer"])

    @router.get("/training")
    @cheap.wrap
    def training(user: User = _USER) -> Any:
        """Tell which trainings wait or go on, whoever began them, and how the last one ended."""
        return answer(
            lambda: {
                "refusal": _refusal("training"),
                "running": list(running(app)),
                "last": last_ended(app),
            }
        )

    @router.get("/trainable")
    @studies.wrap
    def trainable(model: str, user: User = _USER) -> Any:
        """Tell what there is to train a model on, and how many labels are missing to train it."""

        def found() -> dict[str, Any]:
            trainer = app.require_trainer(model)
            supply = trainer.supply(app.datastore())
            return {
                "model": model,
                "refusal": _refusal("training"),
                "labels": supply.labels,
                "missing": supply.missing,
                "reason": supply.reason,
                "max_epochs": trainer.config()["max_epochs"],
                "live": app.store.served_path(model) is not None,
            }

        return answer(found)

    @router.get("/versions")
    @cheap.wrap
    def versions(model: str, user: User = _USER) -> Any:
        """List the versions of a model's weights, the newest first; "shipped" is the last."""

        def listed() -> dict[str, Any]:
            app.model_file(model, validate=False)  # refuses unknown models
            key = get_task(model).key_metric if model in app.trainers else ""
            rows = [
                {**version.as_dict(), "score": version.metrics.get(key)}
                for version in reversed(app.store.versions(model))
            ]
            refused = _refusal("putting back a version")
            return {"model": model, "metric": in_words(key), "refusal": refused, "versions": rows}

        return answer(listed)

    return router


def in_words(metric: str) -> str:
    """Return a key metric as readers call it."""
    return METRICS.get(metric, metric.replace("_", " "))


def running(app: AppServices) -> Iterator[dict[str, Any]]:
    """Yield the trainings that wait or go on, those of the command line too."""
    waiting = []
    named = set()
    for task in list_tasks("train"):
        model = str(task["request"].get("model", ""))
        if task["status"] == _RUNNING and model not in named:
            named.add(model)
            yield {"model": model, "state": "running", **_progress(app, model)}
        elif task["status"] == _WAITING:
            waiting.append({"model": model, "state": "waiting"})
    for model in app.trainers.keys() - named:
        if progress := _progress(app, model):
            yield {"model": model, "state": "running", **progress}
    yield from waiting


def _progress(app: AppServices, model: str) -> dict[str, Any]:
    """Return how far a training is; empty until its first step."""
    trainer = app.trainers.get(model)
    stats = trainer.stats() if trainer else {}
    if not trainer or not stats.get("active"):
        return {}
    found = {name: stats[name] for name in _PROGRESS if name in stats}
    return {**found, "metric": in_words(trainer.task.key_metric)}


def last_ended(app: AppServices) -> dict[str, Any] | None:
    """Return how the last training of this server ended, in one line; None if there was none."""
    ended = [task for task in list_tasks("train") if task["status"] not in (_WAITING, _RUNNING)]
    if not ended:
        return None
    task = ended[-1]
    model = str(task["request"].get("model", ""))
    told = {"id": task["id"], "model": model, "ended": task.get("end_ts", "")}
    if task["status"] == _STOPPED:
        return {**told, "state": "stopped", "line": "stopped; the live weights stay"}
    trainer = app.trainers.get(model)
    # what the trainer keeps is of the run that goes on, if there is one again
    outcome = _told_outcome(task) or (trainer.stats() if trainer else {}).get("outcome")
    if task["status"] != _DONE or trainer is None or not isinstance(outcome, Mapping):
        return {**told, "state": "failed", "line": f"failed: {_cause(task)}"}
    state = "published" if outcome.get("published") else "kept aside"
    metric = in_words(trainer.task.key_metric)
    return {**told, "state": state, "line": outcome_line(outcome, metric)}


def outcome_line(outcome: Mapping[str, Any], metric: str) -> str:
    """Return what became of the weights of a training, in one line.

    Args:
        outcome: of `lib.weights.store.Decision`.
        metric: the figure that decided, in words.
    """
    if not outcome.get("published"):
        return f"kept aside: {outcome.get('reason', '')}"
    score, before = outcome.get("score"), outcome.get("before")
    if score is None:
        return f"published: {outcome.get('reason', '')}"
    was = "first weights" if before is None else f"before {before:.2f}"
    return f"published: {metric} {score:.2f}, {was}"


def _told_outcome(task: Mapping[str, Any]) -> Any:
    """Return what a training said at its end became of its weights; None if it said nothing."""
    for line in reversed([str(line) for line in task.get("details", ())]):
        _, marked, told = line.partition(" Result: ")
        if marked:
            with suppress(ValueError, KeyError, TypeError):
                return json.loads(told)["train_stats"]["outcome"]
    return None


def _cause(task: Mapping[str, Any]) -> str:
    """Return why a training failed: its own last line."""
    lines = [str(line) for line in task.get("details", ())]
    told = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    return (told or lines or ["see the server's log"])[-1]


def _refusal(what: str) -> str:
    """Return why the person who asks may not do something for administrators; empty if allowed."""
    who = person()
    return "" if who.access >= Access.ADMIN else refusal(who, Access.ADMIN, what)
