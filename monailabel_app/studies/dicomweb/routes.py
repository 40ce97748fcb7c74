"""The routes by which viewers reach a studies folder: `/proxy/dicom/...`, to read only.

They are those under which an archive is reached, so a viewer is set up the same way for both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.errors import InputError, NotFoundError, shown
from monailabel_app.lane import Lane
from monailabel_app.studies.dicomweb import objects
from monailabel_app.studies.dicomweb.images import ListedImage
from monailabel_app.studies.dicomweb.service import FolderWeb
from monailabel_app.studies.dicomweb.wado import (
    LARGEST,
    NO_STORE,
    OBJECT,
    OCTETS,
    THUMBNAIL,
    in_parts,
    picture,
)

_READER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_SERVICES = ("wado", "qido", "stow")
_UID = r"[0-9.]{1,64}"
_SEARCH = re.compile(
    rf"(?:studies/(?P<study>{_UID})/)?(?:series/(?P<series>{_UID})/)?"
    r"(?P<level>studies|series|instances)"
)
_OBJECT = re.compile(
    rf"studies/(?P<study>{_UID})(?:/series/(?P<series>{_UID}))?"
    rf"(?:/instances/(?P<instance>{_UID}))?(?:/frames/(?P<frames>\d{{1,6}}(?:,\d{{1,6}})*))?"
    r"(?:/(?P<what>metadata|rendered|thumbnail))?"
)
_READ_ONLY = (
    "a studies folder is read only by DICOMweb; send labels with PUT /datastore/label and images "
    "with PUT /datastore/image"
)


def folder_router(web: Callable[[], FolderWeb]) -> APIRouter:
    """Return the routes of a studies folder.

    Args:
        web: returns the folder as DICOMweb.
    """
    router = APIRouter()
    lane = Lane("viewer", threads=8, waiting=1000, patience=60.0)

    async def read(request: Request, path: str, user: User = _READER) -> Response:
        query = request.query_params.multi_items()
        return await lane.run(partial(_read, web(), path, query))

    def write(path: str, user: User = _READER) -> Response:
        raise HTTPException(405, _READ_ONLY, {"Allow": "GET"})

    router.add_api_route("/proxy/dicom/{path:path}", read, methods=["GET"])
    router.add_api_route("/proxy/dicom/{path:path}", write, methods=["POST"])
    return router


def _read(web: FolderWeb, path: str, query: list[tuple[str, str]]) -> Response:
    """Return the answer to a request.

    Raises:
        HTTPException: 404 or 400, with the reason.
    """
    service, _, rest = path.partition("/")
    rest = (rest if service in _SERVICES else path).strip("/")
    try:
        if found := _SEARCH.fullmatch(rest):
            level, study, series = found["level"], found["study"] or "", found["series"] or ""
            return _json(web.search(level, query, study, series))
        if found := _OBJECT.fullmatch(rest):
            return _object(web, {key: value or "" for key, value in found.groupdict().items()})
        raise NotFoundError(
            f"'{shown(path)}' is no path of DICOMweb that a studies folder answers; ask for "
            f"studies, series, instances, metadata, frames, rendered or thumbnail"
        )
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from None
    except InputError as error:
        raise HTTPException(400, str(error)) from None
    except OSError as error:
        raise HTTPException(
            404, f"an image cannot be read ({error.strerror}); copy it into the folder again"
        ) from None


def _object(web: FolderWeb, asked: dict[str, str]) -> Response:
    study, series, instance = asked["study"], asked["series"], asked["instance"]
    what, images = asked["what"], web.found(study, series, instance)
    if what == "metadata" and not asked["frames"]:
        return _json(web.metadata(study, series, instance))
    chosen = [
        (image, number)
        for image in images
        for number, uid in enumerate(image.instances)
        if instance in ("", uid)
    ]
    if what in ("rendered", "thumbnail"):
        image, number = chosen[len(chosen) // 2]
        (place,) = _places(image, number, asked["frames"].split(",")[0]) or [number]
        longest = THUMBNAIL if what == "thumbnail" else LARGEST
        inverted = image.facts.get("PhotometricInterpretation") == "MONOCHROME1"
        return picture(web.frames(image), place, longest, inverted)
    if asked["frames"]:
        if not instance:
            raise NotFoundError("frames are of an instance; name it by its SOPInstanceUID")
        places = _places(*chosen[0], asked["frames"])
        frames = web.frames(chosen[0][0])
        return in_parts((objects.frame_bytes(frames, place) for place in places), OCTETS)
    whole = (memoryview(web.instance(image, number)) for image, number in chosen)
    return in_parts(whole, OBJECT)


def _places(image: ListedImage, number: int, asked: str) -> list[int]:
    """Return the places in the file of the frames that are asked for of an instance, from 0.

    Raises:
        NotFoundError: it has no such frame.
    """
    frames = [int(one) for one in asked.split(",") if one]
    if wrong := [frame for frame in frames if not 1 <= frame <= image.frames]:
        raise NotFoundError(
            f"frame {wrong[0]} of '{shown(image.id)}': it has frames 1 to {image.frames}"
        )
    return [number if image.slices else frame - 1 for frame in frames]


def _json(value: Any) -> Response:
    return Response(json.dumps(value), 200, NO_STORE, "application/dicom+json")
