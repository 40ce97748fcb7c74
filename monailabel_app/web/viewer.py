"""What can be done with the image that a viewer shows: which models fit it, and a hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from infer.base import ModelInfer
from infer.percent_density import PercentDensityInfer
from lib.io.read import begins_as_dicom
from lib.kinds import kind_of
from lib.tasks.fits import misfit, preference
from lib.tasks.image_kind import ImageKind
from lib.tasks.registry import TASKS
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.studies.protocol import FINAL, StudiesProtocol
from monailabel_app.web.access import Access
from monailabel_app.web.hints import Situation, hint
from monailabel_app.web.people import person

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def viewer_router(
    app: AppServices, answer: Callable[[Callable[[], Any]], Any], lane: Lane
) -> APIRouter:
    """Return the route.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        lane: the threads for it.
    """
    router = APIRouter(tags=["Viewer"])

    @router.get("/viewer/image")
    @lane.wrap
    def about(image: str, user: User = _USER) -> Any:
        """Tell of an image which models and trainers fit it, its label, and what to do now."""

        def tell() -> dict[str, Any]:
            store = app.datastore()
            return {**about_image(app, store.image_of(image)), "channel": store.channel_of(image)}

        return answer(tell)

    return router


def about_image(app: AppServices, image: str) -> dict[str, Any]:
    """Return what a viewer is told of an image.

    Returns:
        ``id``, ``modality`` and ``dimensions``, both in words as ``kind``, its UIDs, ``models``
        (names of those that can answer, what fits best first, those without weights last),
        ``trainers`` (tasks that it can teach, as far as the person may train), ``structures`` (what
        can be drawn on it for each task that fits: names and values, the best task first, with or
        without weights), ``channels`` (the SeriesInstanceUID that shows each channel, by its name
        or number, where there are several), ``unfit`` (why other models are not offered, by name),
        ``dicom`` (whether DICOM SEG can refer to it),
        ``label`` (of the
        accepted one ``by``, ``when`` and ``source``, the program that sent it; null without one)
        and ``hint``.

    Args:
        image: an id of the datastore.
    """
    store = app.datastore()
    kind = app.samples.kind(image)
    trained, others, unfit = _models(app, kind)
    trainers = _trainers(app, kind)
    label, uids = _label(store, image), store.uids_of(image)
    situation = Situation(
        kind=kind,
        error=store.looks()[image].error if image in store.looks() else "",
        label=label,
        trained=trained,
        trainers=trainers,
        servable=_servable(kind),
        labelled=len(app.samples.labelled(app.trainers[trainers[0]].task)) if trainers else 0,
        access=person().access,
    )
    return {
        "id": image,
        "modality": kind.modality,
        "dimensions": kind.dimensions,
        "kind": str(kind),
        **{name: uids.get(name, "") for name in _UIDS},
        "models": [*trained, *others],
        "trainers": trainers,
        "structures": _structures(app, kind),
        "channels": store.channels(image),
        "unfit": unfit,
        "dicom": _is_dicom(store, image),
        "label": label,
        "hint": hint(situation),
    }


def _is_dicom(store: StudiesProtocol, image: str) -> bool:
    """Tell whether an image is DICOM, as those of an archive all are."""
    try:
        return not store.is_local or begins_as_dicom(Path(store.get_image_uri(image)))
    except OSError:  # removed meanwhile
        return False


def _models(app: AppServices, kind: ImageKind) -> tuple[list[str], list[str], dict[str, str]]:
    """Return models with weights that fit, the best first; those without any; why others do not."""
    trained: dict[str, int] = {}
    others, unfit = [], {}
    for name, model in app.models.items():
        if isinstance(model, PercentDensityInfer) and kind.dimensions != "mammogram":
            unfit[name] = "answers on mammograms"
        elif not isinstance(model, ModelInfer):
            others.append(name)
        elif reason := misfit(model.task, kind):
            unfit[name] = reason
        elif model.is_valid():
            trained[name] = preference(model.task, kind)
    return sorted(trained, key=trained.__getitem__), others, unfit


def _trainers(app: AppServices, kind: ImageKind) -> list[str]:
    """Return the names of the trainers that fit, the best first; none for who may not train."""
    return _fitting(app, kind) if person().access >= Access.ADMIN else []


def _structures(app: AppServices, kind: ImageKind) -> dict[str, dict[str, int]]:
    """Return what label images of an image may hold, by task: names and values."""
    tasks = {name: app.trainers[name].task for name in _fitting(app, kind)}
    return {name: dict(task.labels) for name, task in tasks.items() if kind_of(task).painted}


def _fitting(app: AppServices, kind: ImageKind) -> list[str]:
    """Return the names of the tasks that fit, the best first."""
    ranks = {
        name: preference(trainer.task, kind)
        for name, trainer in app.trainers.items()
        if not misfit(trainer.task, kind)
    }
    return sorted(ranks, key=ranks.__getitem__)


def _servable(kind: ImageKind) -> str:
    """Return the first task of the table that fits best, "" if there is none."""
    fitting = [task for task in TASKS.values() if not misfit(task, kind)]
    return min(fitting, key=lambda task: preference(task, kind)).name if fitting else ""


def _label(store: StudiesProtocol, image: str) -> dict[str, str] | None:
    """Return who accepted the label of an image, when, and by which program; None without one."""
    if not store.get_label_by_image_id(image, FINAL):
        return None
    versions = [one for one in store.label_versions(image) if one.file is not None]
    if not versions:
        return {"by": "unknown", "when": "", "source": "unknown"}
    newest = versions[-1]
    return {"by": newest.reader, "when": newest.time.isoformat(), "source": newest.client}
