"""Routes of the reading room: exams of mammograms to read, for one reader, and their pictures."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from os.path import commonprefix
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.data.versions import CONSENSUS_READER, UNKNOWN, reader_of
from lib.errors import InputError, NotFoundError, unknown
from lib.files import file_stamp
from lib.mammography.density_labels import BIRADS
from lib.mammography.exam_files import image_id
from lib.mammography.thumbnail import thumbnail
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.studies.reading import ReadExams, agreement_seen_by, answer_doubts, worklist
from monailabel_app.web.parameters import TEXT
from monailabel_app.web.people import person

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_KEPT_PICTURES = 400
_PRIVATE = {"Cache-Control": "private, max-age=600"}


def reading_router(
    app: AppServices, answer: Callable[[Callable[[], Any]], Any], lane: Lane
) -> APIRouter:
    """Return the routes.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        lane: the threads for them.
    """
    router = APIRouter(tags=["Reading room"])
    exams = ReadExams(app.datastore())
    pictures = Pictures()

    @router.get("/reading/exams")
    @lane.wrap
    def listed(reader: str = "", user: User = _USER) -> Any:
        """List the exams as one reader sees them, the most doubtful first, and how readers agree.

        The reader is who logged in; without a login who ``reader`` says. What others answered is
        told of exams that the reader answered too, and of no others.
        """

        def seen() -> dict[str, Any]:
            name = _reader(reader)
            found = exams.all()
            doubts = answer_doubts(app.datastore(), found) | app.active.exam_doubts()
            return {
                "reader": name,
                "login": bool(person().name),
                "classes": list(BIRADS),
                "exams": [_described(app, row) for row in worklist(found, name, doubts)],
                "agreement": agreement_seen_by(found, name),
            }

        return answer(seen)

    @router.get("/reading/exam")
    @lane.wrap
    def views(exam: str, user: User = _USER) -> Any:
        """Name the image of each view of an exam, as readers hang them, and what is odd."""

        def named() -> dict[str, Any]:
            store = app.datastore()
            images = {id: image for image, id in reversed(store.exam_ids().items())}
            if exam not in images:
                raise unknown("exam", exam, images)
            found = store.exam_of(store.files([images[exam]])[images[exam]])
            if found is None:
                raise NotFoundError(f"exam '{exam}' holds no mammogram whose view is known")
            views = {view.name: image_id(file) for view, file in found.views.items()}
            return {"exam": exam, "views": views, "notes": list(found.notes)}

        return answer(named)

    @router.get("/reading/picture", response_class=Response)
    @lane.wrap
    def picture(image: str, side: int = Query(160, ge=32, le=1200), user: User = _USER) -> Any:
        """Return a small picture of a mammogram, a JPEG."""

        def small() -> Response:
            store = app.datastore()
            store.require_image(image)
            content = pictures.of(store.files([image])[image], side)
            return Response(content, media_type="image/jpeg", headers=_PRIVATE)

        return answer(small)

    return router


class Pictures:
    """The small pictures that were asked for last."""

    def __init__(self) -> None:
        self._made: OrderedDict[Any, bytes] = OrderedDict()

    def of(self, file: Path, side: int) -> bytes:
        """Return the small picture of a file, see `thumbnail`."""
        key = file, file_stamp(file), side
        made = self._made.get(key) or thumbnail(file, side)
        self._made[key] = made
        while len(self._made) > _KEPT_PICTURES:
            self._made.popitem(last=False)
        return made


def _reader(asked: str) -> str:
    """Return the name under which labels of who asks are kept; empty if there is none.

    Raises:
        InputError: a name that stands for all readers together.
    """
    name = reader_of({"client_id": person().name or TEXT.read("reader", asked)})
    if name == CONSENSUS_READER:
        raise InputError(f"'{name}' stands for what readers found together; use another name")
    return "" if name == UNKNOWN else name


def _described(app: AppServices, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the worklist with a name to show, its date, and its study for OHIF.

    The name is that of the patient, else what the names of the images have in common.
    """
    store, images = app.datastore(), row["images"]
    info = store.get_image_info(images[0])
    common = commonprefix(images).rstrip("_-. ") if len(images) > 1 else images[0]
    return {
        **row,
        "name": str(info.get("PatientID") or common or row["exam"]),
        "date": str(info.get("StudyDate") or ""),
        "StudyInstanceUID": store.uids_of(images[0]).get("StudyInstanceUID", ""),
    }
