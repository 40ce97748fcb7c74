"""Routes for the saved work on a study: what there is, and a saved label as OHIF draws it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from infer.base import write_label
from lib.data.label_names import read_label_info
from lib.data.labels import names_in
from lib.errors import InputError, NotFoundError
from lib.io.labels import read_label
from lib.io.read import image_geometry
from lib.segmentation.shown import as_structures
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.studies.density import saved_density
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.names import check_tag
from monailabel_app.studies.protocol import FINAL
from monailabel_app.studies.saved import saved_work
from monailabel_app.web.blindness import blind_reader, require_sight, require_version_sight
from monailabel_app.web.request_files import PassingFile

SHOWN = ".nrrd"
_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))


def saved_router(
    app: AppServices, answer: Callable[[Callable[[], Any]], Any], lane: Lane
) -> APIRouter:
    """Return the routes.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        lane: the threads for them.
    """
    router = APIRouter(prefix="/viewer", tags=["Viewer"])

    @router.get("/saved")
    @lane.wrap
    def saved(image: str, reader: str = "", user: User = _USER) -> Any:
        """List the saved work on an image's study, the newest first.

        `image`, `tag` and `version` of a row open a segmentation again by GET /viewer/label; the
        UIDs are those of its image. Of an exam that the reader has not read, densities of others
        are left out; the reader is who logged in, without a login who ``reader`` says.
        """
        store = app.datastore()

        def listed() -> list[dict[str, Any]]:
            found = saved_work(store, store.image_of(image), blind_reader(reader))
            return [{**work.as_dict(), **store.uids_of(work.image)} for work in found]

        return answer(listed)

    @router.get("/density")
    @lane.wrap
    def density(image: str, reader: str = "", user: User = _USER) -> Any:
        """Tell the density classes that were given to the exam of an image, and by whom.

        ``reader`` as for GET /viewer/saved.
        """

        def found() -> dict[str, Any]:
            store = app.datastore()
            return saved_density(store, store.image_of(image), blind_reader(reader))

        return answer(found)

    @router.get("/label")
    @lane.wrap
    def label(image: str, tag: str = FINAL, version: int | None = None, user: User = _USER) -> Any:
        """Download a saved label as NRRD of 8 bit on the grid of its image.

        Each structure has one value; the fields `Segment<n>_Name` and `Segment<n>_LabelValue` tell
        which, those that are not drawn too.
        """
        file = answer(lambda: label_as_shown(app, image, check_tag(tag), version))
        return PassingFile(file, filename=f"label{SHOWN}")

    return router


def label_as_shown(app: AppServices, image: str, tag: str, version: int | None) -> str:
    """Write a saved label as OHIF draws it into a temporary file, which the caller deletes.

    Args:
        version: of the accepted label; None for the newest one with the tag.

    Raises:
        NotFoundError: no such image or label.
        InputError: the label is a density, or cannot be read.
    """
    store = app.datastore()
    image = store.image_of(image)
    if version is None:
        require_sight(app, image, tag)
        file, info = Path(store.get_label_uri(image, tag)), store.get_label_info(image, tag)
        if not file.name:
            raise NotFoundError(f"image '{image}' has no label with tag '{tag}'")
    else:
        require_version_sight(store, image, version)
        found = store.label_version(image, version)
        file, info = store.version_file(image, found), dict(found.info)
    if file.suffix.lower() == ANSWER:
        raise InputError(f"the label of '{image}' is a density class; there is nothing to draw")
    geometry = image_geometry(store.files([image])[image])
    label = read_label(file, geometry)
    told = read_label_info(info.get("label_info"))
    model = str(info.get("model") or "")
    tasks = sorted(store.tasks, key=lambda task: task.name != model)
    drawn, names = as_structures(label, names_in(file, told, label), [one.labels for one in tasks])
    return write_label(drawn, geometry, SHOWN, names=tuple(names.items()))
