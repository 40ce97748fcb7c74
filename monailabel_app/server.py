"""What MONAI Label's web server (0.8.5) needs mended, in one place.

* Its endpoints are coroutines that block the event loop: while one request infers, no other is
  answered. Here each runs in a worker thread.
* Wrong names and inputs come back as an opaque 500. Here they are 4xx with the reason.
* Ids, tags and parameters reach file paths unchecked. Here they are checked first.
* Uploaded weights overwrite the live file in place, unread. Here they are read, then published.

The mended routes are put before upstream's; `install` is called once the app is loaded.
"""

from __future__ import annotations

import errno
import inspect
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fastapi import APIRouter, HTTPException
from fastapi.routing import APIRoute
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    infer,
    info,
    logs,
    model,
    scoring,
    session,
    train,
)
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.utils.async_tasks.task import AsyncTask

from lib.checkpoints import load_checkpoint, load_network
from lib.errors import InputError, NotFoundError, UnpublishedError, choose
from lib.files import sha256
from lib.tasks import get_task
from monailabel_app.datastore import check_id, check_tag

if TYPE_CHECKING:
    from monailabel_app.app import App

logger = logging.getLogger(__name__)

_MODULES = (
    activelearning,
    batch_infer,
    datastore,
    infer,
    info,
    logs,
    model,
    scoring,
    session,
    train,
)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RESERVED_PARAMS = ("image", "model", "label", "session", "file")


def install(app: App) -> None:
    """Put the mended routes in front of upstream's in the running web server."""
    from monailabel.app import app as web

    router = APIRouter()
    guards = _guards(app)
    replacements = _replacements(app)
    for module in _MODULES:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and inspect.iscoroutinefunction(route.endpoint):
                name = f"{module.__name__.rsplit('.', 1)[-1]}.{route.endpoint.__name__}"
                router.routes.append(_mended(route, guards.get(name), replacements.get(name)))
    web.include_router(router)
    web.router.routes.insert(0, web.router.routes.pop())


def _mended(route: APIRoute, guard: Guard | None, replacement: Guard | None) -> APIRoute:
    """Return `route` with an endpoint that runs in a thread and answers errors with a reason."""
    upstream = route.endpoint
    signature = inspect.signature(upstream)

    def endpoint(**arguments: Any) -> Any:
        try:
            if guard is not None:
                guard(arguments)
            if replacement is not None:
                return replacement(arguments)
            return _finish(upstream(**arguments))
        except HTTPException:
            raise
        except Exception as error:
            status, reason = explain(error)
            if status >= 500:
                logger.exception(f"{route.path}: {reason}")
            raise HTTPException(status, reason) from None

    endpoint.__name__ = upstream.__name__
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    return APIRoute(
        route.path,
        endpoint,
        methods=route.methods,
        include_in_schema=False,  # upstream's route documents it
    )


def _finish(coroutine: Any) -> Any:
    """Run a coroutine that never waits to its end, and return its value."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("an upstream endpoint now waits; it must not be run in a thread")


def explain(error: Exception) -> tuple[int, str]:
    """Return the HTTP status and the one-line reason for an error."""
    if isinstance(error, NotFoundError):
        return 404, str(error)
    if isinstance(error, UnpublishedError):
        return 409, str(error)
    if isinstance(error, InputError):
        return 400, str(error)
    if isinstance(error, MONAILabelException):
        missing = error.error in (MONAILabelError.APP_ERROR, MONAILabelError.INVALID_INPUT)
        return (404 if missing else 500), error.msg
    if isinstance(error, json.JSONDecodeError):
        return 400, f"params is not valid JSON ({error}); expected an object"
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        return 507, "no space left on the server's disk; nothing was changed; free some and repeat"
    if isinstance(error, MemoryError):
        return 507, "the server ran out of memory for this request; use a smaller image"
    return 500, f"the server failed on this request ({type(error).__name__}); see its log"


Guard = Callable[[dict[str, Any]], Any]


def _guards(app: App) -> dict[str, Guard]:
    """Return the checks that run before an upstream endpoint, by module and function."""

    def before_infer(arguments: dict[str, Any]) -> None:
        app.require_model(arguments["model"])
        params = json.loads(arguments.get("params") or "{}")
        if not isinstance(params, dict):
            raise InputError(f"params must be a JSON object, found {type(params).__name__}")
        reserved = [name for name in _RESERVED_PARAMS if name in params]
        if reserved:
            raise InputError(
                f"params may not hold '{reserved[0]}'; give it as an argument of the request"
            )
        if params.get("label_tag"):
            check_tag(str(params["label_tag"]))
        if arguments.get("file"):
            return
        if arguments.get("session_id"):
            if not app.sessions() or not app.sessions().get_session(arguments["session_id"]):
                raise NotFoundError(f"unknown session '{arguments['session_id']}'; open a new one")
            return
        if not arguments.get("image"):
            raise InputError("give an image id, a session id or a file to run the model on")
        require_image(arguments["image"])

    def require_image(image: str) -> None:
        if not app.is_dicom_archive():
            check_id(image)
        if not app.datastore().get_image_uri(image):
            raise NotFoundError(
                f"unknown image '{image}': not among the {len(app.datastore().list_images())} "
                f"images of the studies; GET /datastore/?output=all lists them"
            )

    def before_train(arguments: dict[str, Any]) -> None:
        trainer = app.require_trainer(arguments["model"])
        trainer.check(arguments.get("params") or {}, app.datastore())

    def before_batch(arguments: dict[str, Any]) -> None:
        app.require_model(arguments["model"])
        if (
            not torch.cuda.is_available()
        ):  # upstream shares the images among no GPUs and divides by 0
            arguments["params"] = {**(arguments.get("params") or {}), "multi_gpu": False}

    def before_scoring(arguments: dict[str, Any]) -> None:
        choose("scoring method", arguments["method"], app._scoring_methods)

    def before_gpu(arguments: dict[str, Any]) -> None:
        if shutil.which("nvidia-smi") is None:
            raise NotFoundError("no NVIDIA driver on this server (nvidia-smi not found)")

    def before_sample(arguments: dict[str, Any]) -> None:
        choose("strategy", arguments["strategy"], app._strategies)

    def known_image(arguments: dict[str, Any]) -> None:
        require_image(arguments["image"])

    def before_label(arguments: dict[str, Any]) -> None:
        require_image(arguments["image"])
        check_tag(arguments.get("tag") or "final")

    def label_tag(arguments: dict[str, Any]) -> None:
        check_tag(arguments["tag"])

    def before_upload(arguments: dict[str, Any]) -> None:
        if arguments.get("image"):
            check_id(arguments["image"])

    return {
        "infer.api_run_inference": before_infer,
        "train.api_run_model": before_train,
        "batch_infer.api_run": before_batch,
        "scoring.api_run_method": before_scoring,
        "logs.gpu_info": before_gpu,
        "activelearning.api_sample": before_sample,
        "datastore.api_add_image": before_upload,
        "datastore.api_save_label": before_label,
        "datastore.api_get_image_info": known_image,
        "datastore.api_put_image_info": known_image,
        "datastore.api_download_image": known_image,
        "datastore.api_check_image": known_image,
        "datastore.api_download_label": label_tag,
        "datastore.api_check_label": label_tag,
        "datastore.api_get_label_info": label_tag,
        "datastore.api_put_label_info": label_tag,
        "datastore.api_remove_label": label_tag,
    }


def _replacements(app: App) -> dict[str, Guard]:
    """Return what is done instead of an upstream endpoint, by module and function."""

    def update_model(arguments: dict[str, Any]) -> dict[str, Any]:
        name = arguments["model"]
        app.model_file(name, validate=False)  # refuses unknown models
        with app.store.candidate_folder() as folder:
            file = Path(folder) / "upload.pt"
            with open(file, "wb") as target:
                shutil.copyfileobj(arguments["file"].file, target)
            checkpoint = load_checkpoint(file)
            load_network(get_task(name), checkpoint)
            version = app.store.add(
                name,
                file,
                checkpoint.metrics,
                published=True,
                reason="uploaded by an administrator",
            )
        path = app.store.restore(name, version)
        assert path is not None
        return {"checksum": f"SHA256:{sha256(path)}", "modified_time": int(path.stat().st_mtime)}

    def delete_model(arguments: dict[str, Any]) -> dict[str, Any]:
        app.model_file(arguments["model"], validate=False)
        app.store.withdraw(arguments["model"])
        return {}

    def stop_training(arguments: dict[str, Any]) -> Any:
        stopped = AsyncTask.stop("train")
        if stopped is None:
            return None
        trainer = app.require_trainer(stopped["request"]["model"])
        trainer.forget()
        return stopped

    return {
        "model.api_update_model": update_model,
        "model.api_delete_model": delete_model,
        "train.api_stop": stop_training,
    }
