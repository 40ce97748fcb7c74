"""Routes that replace those of MONAI Label's web server (0.8.5), all in one place.

* Its endpoints are coroutines that block the event loop: while one request infers, no other is
  answered. Here each runs in a worker thread.
* A wrong name or input is answered with 500 and no reason. Here it is 4xx with the reason.
* Ids, tags and parameters reach file paths unchecked. Here they are checked first.
* Uploaded weights overwrite the published file in place, unread. Here they are read, then
  published.
* Each next sample rewrites the whole index and starts a process that scores. Here neither happens.
* OHIF is served without its files in folders. Here it has them, and this app's mode and panel.

These routes come before MONAI Label's own; `install` is called when the app is loaded.
"""

from __future__ import annotations

import errno
import inspect
import logging
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Header, HTTPException
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import datastore, infer
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.utils.async_tasks.task import AsyncTask

from infer.classification import RESULTS
from lib.data.versions import CLIENT
from lib.errors import BusyError, DivergedError, InputError, NotFoundError, UnpublishedError
from lib.files import sha256
from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint, load_network
from lib.weights.versions import TrainedOn
from monailabel_app.active.quiet import Quiet
from monailabel_app.archive.dicomweb import ArchiveError
from monailabel_app.services import AppServices
from monailabel_app.viewers import ohif as viewer
from monailabel_app.web import slicer
from monailabel_app.web.checks import Check, make_checks
from monailabel_app.web.dicom_seg import DICOM_SEG, answer_as_seg
from monailabel_app.web.login import fix_openid, require_users
from monailabel_app.web.readers import readers_router
from monailabel_app.web.users import Users

logger = logging.getLogger(__name__)

Replacement = Callable[[dict[str, Any]], Any]

_ENDPOINTS = (  # modules of `monailabel.endpoints`
    *("activelearning", "batch_infer", "datastore", "infer", "info", "logs", "model", "ohif"),
    *("scoring", "session", "train", "wsi_infer"),
)
# the program that sends a label, as it names itself
_CLIENT = inspect.Parameter(
    CLIENT, inspect.Parameter.KEYWORD_ONLY, default=Header("", alias="user-agent"), annotation=str
)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def install(app: AppServices, users: Users | None) -> None:
    """Put this app's routes in front of MONAI Label's in the running web server."""
    from monailabel.app import app as web

    router = APIRouter()
    checks = make_checks(app)
    replacements = _replacements(app)
    for module in _ENDPOINTS:
        for route in import_module(f"monailabel.endpoints.{module}").router.routes:
            if isinstance(route, APIRoute) and inspect.iscoroutinefunction(route.endpoint):
                name = f"{module}.{route.endpoint.__name__}"
                router.routes.append(
                    _replaced(route, checks.get(name), replacements.get(name), app.quiet)
                )

    def reload() -> dict[str, Any]:
        """Read the files again; MONAI Label would load a second app beside the one that serves."""
        app.datastore().refresh()
        return {}

    def result(key: str, name: str) -> FileResponse:
        """Return a file that an answer of POST /infer names."""
        try:
            return FileResponse(app.result_files.find(key, name), filename=name)
        except NotFoundError as error:
            raise HTTPException(404, str(error)) from None

    def restore(model: str, version: str) -> dict[str, Any]:
        """Serve a version of a model again; `GET /model/info/<model>` lists them."""
        _answer(lambda: app.model_file(model, validate=False))  # refuses unknown models
        _answer(lambda: app.store.restore(model, version))
        return {"model": model, "version": version}

    fix_openid()
    if users is not None:
        router.include_router(require_users(web, users))
    router.include_router(app.datastore().router())
    router.include_router(readers_router(app, _answer))
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    router.add_api_route("/reload", reload, methods=["POST"], include_in_schema=False)
    router.add_api_route(f"{RESULTS}/{{key}}/{{name}}", result, dependencies=[user], tags=["Infer"])
    router.add_api_route(
        "/model/restore/{model}", restore, methods=["POST"], dependencies=[admin], tags=["Model"]
    )
    web.include_router(router)
    web.router.routes.insert(0, web.router.routes.pop())


def _replaced(
    route: APIRoute, check: Check | None, replacement: Replacement | None, quiet: Quiet
) -> APIRoute:
    """Return `route` with an endpoint that runs in a thread and answers errors with the reason."""
    original = route.endpoint
    signature = inspect.signature(original)
    if original is datastore.api_save_label:
        signature = signature.replace(parameters=[*signature.parameters.values(), _CLIENT])

    def endpoint(**arguments: Any) -> Any:
        try:
            with quiet.request():
                if check is not None:
                    check(arguments)
                if replacement is not None:
                    return replacement(arguments)
                return _finish(original(**arguments))
        except HTTPException:
            raise
        except Exception as error:
            status, reason = explain(error)
            if status >= 500:
                logger.exception(f"{route.path}: {reason}")
            raise HTTPException(status, reason) from None

    endpoint.__name__ = original.__name__
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    return APIRoute(
        route.path,
        endpoint,
        methods=route.methods,
        include_in_schema=False,  # the original route documents it
    )


def _answer(work: Callable[[], Any]) -> Any:
    """Call a function; its errors are answered with the reason."""
    try:
        return work()
    except Exception as error:
        status, reason = explain(error)
        if status >= 500:
            logger.exception(reason)
        raise HTTPException(status, reason) from None


def _finish(coroutine: Any) -> Any:
    """Run a coroutine that never waits, and return its value."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("an endpoint of MONAI Label now waits; it must not be run in a thread")


def explain(error: Exception) -> tuple[int, str]:
    """Return the HTTP status and the one-line reason for an error."""
    if isinstance(error, NotFoundError):
        return 404, str(error)
    if isinstance(error, UnpublishedError):
        return 409, str(error)
    if isinstance(error, BusyError):
        return 429, str(error)
    if isinstance(error, (InputError, DivergedError)):
        return 400, str(error)
    if isinstance(error, ArchiveError):
        return 502, str(error)
    if isinstance(error, MONAILabelException):
        missing = error.error in (MONAILabelError.APP_ERROR, MONAILabelError.INVALID_INPUT)
        return (404 if missing else 500), error.msg
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        return 507, "no space left on the server's disk; not finished; free some, then repeat"
    if isinstance(error, MemoryError):
        return 507, "the server ran out of memory for this request; use a smaller image"
    return 500, f"the server failed on this request ({type(error).__name__}); see its log"


def _replacements(app: AppServices) -> dict[str, Replacement]:
    """Return the functions that replace endpoints, by module and function."""

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
                data=TrainedOn(checkpoint.provenance),
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
        app.require_trainer(stopped["request"]["model"]).run_folder.clear()
        return stopped

    def train_all(arguments: dict[str, Any]) -> dict[str, Any]:
        """Train every model with its own parameters; MONAI Label gives each model those of all."""
        params = arguments.get("params") or {}
        sync = bool(arguments.get("run_sync"))
        own = {name: value for name, value in params.items() if isinstance(value, dict)}
        for name in own:
            app.require_trainer(name)
        requests = {name: {"model": name, **own.get(name, {})} for name in app.trainers}
        for name, request in requests.items():
            app.require_trainer(name).check(request, app.datastore())
        result = {}
        for name, request in requests.items():
            answer, detail = AsyncTask.run("train", request, force_sync=sync, enqueue=True)
            result[name] = {"result": answer, "detail": detail}
        return result

    def run_inference(arguments: dict[str, Any]) -> Any:
        if arguments["output"] == DICOM_SEG:
            return answer_as_seg(app, arguments)
        return _finish(infer.api_run_inference(**arguments))

    def next_sample(arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer without asking all models and rewriting the whole index, as MONAI Label does."""
        request = {"strategy": arguments["strategy"], **(arguments.get("params") or {})}
        sample = app.next_sample(request)
        info = app.datastore().get_image_info(sample["id"]) if sample else {}
        return slicer.as_sample({**sample, **info})

    def list_datastore(arguments: dict[str, Any]) -> Any:
        return slicer.as_listed(app, _finish(datastore.api_datastore(**arguments)))

    def download_label(arguments: dict[str, Any]) -> Any:
        reopened = slicer.label_file(app, arguments["label"], arguments["tag"])
        return reopened or _finish(datastore.api_download_label(**arguments))

    return {
        "infer.api_run_inference": run_inference,
        "activelearning.api_sample": next_sample,
        "datastore.api_datastore": list_datastore,
        "datastore.api_download_label": download_label,
        "train.api_run": train_all,
        "model.api_update_model": update_model,
        "model.api_delete_model": delete_model,
        "train.api_stop": stop_training,
        "ohif.api_get_ohif": lambda arguments: viewer.serve(arguments["path"]),
    }
