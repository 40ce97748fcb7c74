"""Routes for several readers: versions of a label, putting one back, and how far readers agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.data.versions import UNKNOWN, LabelVersion
from lib.tasks.registry import get_task
from monailabel_app.lane import Lane
from monailabel_app.services import AppServices
from monailabel_app.studies.agreement import agreement
from monailabel_app.studies.blindness import hidden_exams, hidden_images
from monailabel_app.studies.protocol import FINAL
from monailabel_app.web.blindness import blind_reader, require_version_sight, shown_version
from monailabel_app.web.changes import label_change
from monailabel_app.web.people import person

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))


def readers_router(
    app: AppServices, answer: Callable[[Callable[[], Any]], Any], lane: Lane
) -> APIRouter:
    """Return the routes.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
        lane: the threads for them.
    """
    router = APIRouter(tags=["Readers"])

    @router.get("/datastore/label/versions")
    @lane.wrap
    def versions(image: str, user: User = _USER) -> Any:
        """List the versions of an image's accepted label, the oldest first."""

        def listed() -> dict[str, Any]:
            store = app.datastore()
            id = store.image_of(image)
            hidden = bool(hidden_images(store, id, blind_reader()))
            found = [shown_version(version, hidden) for version in store.label_versions(id)]
            return {"image": id, "versions": found}

        return answer(listed)

    @router.get("/datastore/label/version")
    @lane.wrap
    def download(image: str, version: int, user: User = _USER) -> Any:
        """Download one version of an image's accepted label."""
        store = app.datastore()

        def found() -> Path:
            id = store.image_of(image)
            require_version_sight(store, id, version)
            return store.version_file(id, store.label_version(id, version))

        file = answer(found)
        return FileResponse(file, filename=file.name)

    @router.post("/datastore/label/restore")
    @lane.wrap
    def restore(image: str, version: int, client_id: str = "", user: User = _ANNOTATOR) -> Any:
        """Make an earlier version the accepted label again; nothing is erased."""
        by = person().name or client_id or UNKNOWN

        def restored() -> LabelVersion:
            id = app.datastore().image_of(image)
            require_version_sight(app.datastore(), id, version)
            with label_change(app, "label restored", id, FINAL, version=version):
                return app.datastore().restore_label(id, version, by)

        return answer(restored).as_dict()

    @router.get("/agreement")
    @lane.wrap
    def agree(image: str | None = None, task: str | None = None, user: User = _USER) -> Any:
        """Compare the readers of all images, or of one, two by two."""

        def compare() -> dict[str, Any]:
            store = app.datastore()
            id = store.image_of(image) if image else None
            spec = get_task(task) if task else None
            masks, densities = map(store.readers_folder, ("mask", "density"))
            hidden = hidden_exams(store, blind_reader())
            return agreement(masks, densities, spec, id, hidden)

        return answer(compare)

    return router
