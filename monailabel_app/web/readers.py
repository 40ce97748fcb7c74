"""Routes for several readers: versions of a label, putting one back, and how far readers agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.data.versions import UNKNOWN
from lib.tasks.registry import get_task
from monailabel_app.services import AppServices
from monailabel_app.studies.agreement import agreement

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))


def readers_router(app: AppServices, answer: Callable[[Callable[[], Any]], Any]) -> APIRouter:
    """Return the routes.

    Args:
        answer: calls a function, and turns its errors into answers with the reason.
    """
    router = APIRouter(tags=["Readers"])

    @router.get("/datastore/label/versions")
    def versions(image: str, user: User = _USER) -> Any:
        """List the versions of an image's accepted label, the oldest first."""
        listed = answer(lambda: app.datastore().label_versions(image))
        return {"image": image, "versions": [version.as_dict() for version in listed]}

    @router.get("/datastore/label/version")
    def download(image: str, version: int, user: User = _USER) -> Any:
        """Download one version of an image's accepted label."""
        store = app.datastore()
        file = answer(lambda: store.version_file(image, store.label_version(image, version)))
        return FileResponse(file, filename=file.name)

    @router.post("/datastore/label/restore")
    def restore(image: str, version: int, client_id: str = "", user: User = _ANNOTATOR) -> Any:
        """Make an earlier version the accepted label again; nothing is erased."""
        by = user.username if settings.MONAI_LABEL_AUTH_ENABLE else client_id or UNKNOWN
        return answer(lambda: app.datastore().restore_label(image, version, by)).as_dict()

    @router.get("/agreement")
    def agree(image: str | None = None, task: str | None = None, user: User = _USER) -> Any:
        """Compare the readers of all images, or of one, two by two."""

        def compare() -> dict[str, Any]:
            store = app.datastore()
            if image:
                store.require_image(image)
            spec = get_task(task) if task else None
            masks, densities = map(store.readers_folder, ("mask", "density"))
            return agreement(masks, densities, spec, image)

        return answer(compare)

    return router
