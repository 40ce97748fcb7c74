"""Routes that replace those of MONAI Label's web server (0.8.5), all in one place.

* Its endpoints are coroutines that block the event loop: while one request infers, no other is
  answered. Here each runs in a thread of a pool for its kind (`monailabel_app.web.lanes`).
* A wrong name or input is answered with 500 and no reason. Here it is 4xx with the reason.
* Ids, tags and parameters reach file paths unchecked. Here they are checked first.
* Uploaded weights overwrite the published file in place, unread. Here they are read, then
  published.
* Each next sample rewrites the whole index and starts a process that scores. Here neither happens.
* OHIF is served without its files in folders. Here it has them, and this app's mode and panel.

These routes come before MONAI Label's own; `install` is called when the app is loaded.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import datastore, infer, session
from monailabel.endpoints.user.auth import RBAC
from monailabel.utils.async_tasks.task import AsyncTask

from infer.exam_views import RESULTS
from lib.data.versions import CLIENT
from lib.errors import NotFoundError
from lib.isolation.pool import remove_left_folders_soon
from monailabel_app.services import AppServices
from monailabel_app.viewers import ohif as viewer
from monailabel_app.viewers.pages import pages_router
from monailabel_app.web import slicer
from monailabel_app.web.blindness import blind_reader, shown_listing
from monailabel_app.web.changes import Change, make_changes, model_change
from monailabel_app.web.checks import Check, make_checks
from monailabel_app.web.export_routes import exports_router
from monailabel_app.web.exports import MADE_HERE, answer_as_file, with_outputs
from monailabel_app.web.image_names import name_images
from monailabel_app.web.interpolation import interpolation_router
from monailabel_app.web.lanes import Lanes
from monailabel_app.web.log_lines import shorten_lines
from monailabel_app.web.login import install_login
from monailabel_app.web.middleware import install_middleware
from monailabel_app.web.models import delete_model, restore_model, update_model
from monailabel_app.web.objects import check_json
from monailabel_app.web.ownership import own_session
from monailabel_app.web.parameters import TASK, read_task
from monailabel_app.web.readers import readers_router
from monailabel_app.web.reading import reading_router
from monailabel_app.web.reasons import answer_invalid, answered, explain
from monailabel_app.web.request_files import PassingFile, keep_files_in_requests, request_files
from monailabel_app.web.saved import saved_router
from monailabel_app.web.slides import ANY_TYPE, SLIDES, answer_slide
from monailabel_app.web.training import training_router
from monailabel_app.web.users_file import UsersFile
from monailabel_app.web.viewer import viewer_router

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
_REQUEST = inspect.Parameter("http_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)


def install(app: AppServices, users: UsersFile | None) -> None:
    """Put this app's routes in front of MONAI Label's in the running web server."""
    from monailabel.app import app as web

    router = APIRouter()
    checks = make_checks(app)
    replacements, changes = _replacements(app), make_changes(app)
    lanes = Lanes(app)
    for module in _ENDPOINTS:
        for route in import_module(f"monailabel.endpoints.{module}").router.routes:
            if isinstance(route, APIRoute) and inspect.iscoroutinefunction(route.endpoint):
                name = f"{module}.{route.endpoint.__name__}"
                router.routes.append(
                    _replaced(
                        route,
                        name,
                        checks.get(name),
                        replacements.get(name),
                        changes.get(name, lambda arguments: nullcontext()),
                        lanes,
                    )
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
        answered(lambda: app.model_file(model, validate=False))  # refuses unknown models
        with model_change(app, "model restored", model, version=version):
            answered(lambda: restore_model(app, model, version))
        return {"model": model, "version": version}

    keep_files_in_requests()
    shorten_lines(f"monailabel.endpoints.{module}" for module in _ENDPOINTS)
    authenticate = install_login(web, router, users, app.audit.refused)
    router.include_router(pages_router())
    router.include_router(app.datastore().router(blind_reader))
    local = app.datastore().is_local
    asking = lanes.cheap if local else lanes.archive
    router.include_router(readers_router(app, answered, asking))
    router.include_router(viewer_router(app, answered, asking))
    router.include_router(reading_router(app, answered, asking))
    router.include_router(interpolation_router(answered, lanes.changes))
    router.include_router(exports_router(app, answered, lanes.cheap, lanes.changes))
    router.include_router(saved_router(app, answered, asking))
    router.include_router(training_router(app, answered, lanes.cheap, asking))
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    router.add_api_route("/reload", reload, methods=["POST"], include_in_schema=False)
    router.add_api_route(f"{RESULTS}/{{key}}/{{name}}", result, dependencies=[user], tags=["Infer"])
    router.add_api_route(
        "/model/restore/{model}", restore, methods=["POST"], dependencies=[admin], tags=["Model"]
    )
    web.add_exception_handler(RequestValidationError, answer_invalid)
    web.include_router(router)
    web.router.routes.insert(0, web.router.routes.pop())
    install_middleware(web, app.config, authenticate, app.audit)


def _replaced(
    route: APIRoute,
    endpoint_name: str,
    check: Check | None,
    replacement: Replacement | None,
    change: Change,
    lanes: Lanes,
) -> APIRoute:
    """Return `route` with an endpoint that runs in a thread and answers errors with the reason."""
    original = route.endpoint
    signature = with_outputs(inspect.signature(original))
    extra = [_CLIENT, _REQUEST] if original is datastore.api_save_label else [_REQUEST]
    signature = signature.replace(parameters=[*signature.parameters.values(), *extra])

    async def endpoint(**arguments: Any) -> Any:
        request = arguments.pop(_REQUEST.name)

        def check_all() -> None:
            for name, value in arguments.items():
                if isinstance(value, dict):
                    check_json(name, value)
            try:
                name_images(lanes.app.datastore(), endpoint_name, arguments)
            except NotFoundError:
                if check is not None:  # says it first of a name that no image can have
                    check(arguments)
                raise
            if check is not None:
                check(arguments)

        def work() -> Any:
            with request_files(arguments), change(arguments):
                if replacement is not None:
                    return replacement(arguments)
                return _finish(original(**arguments))

        try:
            with lanes.app.quiet.request():
                return await lanes.run(endpoint_name, request, arguments, check_all, work)
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
        **(ANY_TYPE if endpoint_name in SLIDES else {}),
    )


def _finish(coroutine: Any) -> Any:
    """Run a coroutine that never waits, and return its value."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("an endpoint of MONAI Label now waits; it must not be run in a thread")


def _replacements(app: AppServices) -> dict[str, Replacement]:
    """Return the functions that replace endpoints, by module and function."""

    def stop_task(method: str) -> Any:
        stopped = AsyncTask.stop(method)
        remove_left_folders_soon()  # of what it had begun, which was killed with it
        return stopped

    def stop_training(arguments: dict[str, Any]) -> Any:
        stopped = stop_task("train")
        if stopped is None:
            return None
        model = stopped["request"]["model"]
        app.require_trainer(model).run_folder.clear()
        app.audit.write("training stopped", model)
        return stopped

    def train_all(arguments: dict[str, Any]) -> dict[str, Any]:
        """Train every model with its own parameters; MONAI Label gives each model those of all."""
        params = arguments.get("params") or {}
        sync = bool(arguments.get("run_sync"))
        own = {name: value for name, value in params.items() if isinstance(value, dict)}
        for name, values in own.items():
            app.require_trainer(name)
            own[name] = read_task(values, TASK, model=name)
        requests = {name: {**own.get(name, {}), "model": name} for name in app.trainers}
        for name, request in requests.items():
            app.require_trainer(name).check(request, app.datastore())
        result = {}
        for name, request in requests.items():
            answer, detail = AsyncTask.run("train", request, force_sync=sync, enqueue=True)
            result[name] = {"result": answer, "detail": detail}
        return result

    def run_inference(arguments: dict[str, Any]) -> Any:
        if arguments["output"] in MADE_HERE:
            return answer_as_file(app, arguments)
        return _finish(infer.api_run_inference(**arguments))

    def next_sample(arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer without asking all models and rewriting the whole index, as MONAI Label does."""
        request = {"strategy": arguments["strategy"], **(arguments.get("params") or {})}
        sample = app.next_sample(request)
        store, id = app.datastore(), sample.get("id", "")
        info = {**store.get_image_info(id), **store.uids_of(id)} if id else {}
        return slicer.as_sample({**sample, **info})

    def list_datastore(arguments: dict[str, Any]) -> Any:
        listing = shown_listing(app.datastore(), _finish(datastore.api_datastore(**arguments)))
        return slicer.as_listed(app, listing)

    def create_session(arguments: dict[str, Any]) -> Any:
        created = _finish(session.api_create_session(**arguments))
        own_session(app.sessions(), created["session_id"])
        return created

    def download_label(arguments: dict[str, Any]) -> Any:
        reopened = slicer.label_file(app, arguments["label"], arguments["tag"])
        return reopened or _finish(datastore.api_download_label(**arguments))

    def download_dataset(arguments: dict[str, Any]) -> PassingFile:
        file = app.datastore().get_dataset_archive(arguments.get("limit_cases"))
        return PassingFile(file, media_type="application/zip", filename="dataset.zip")

    return {
        "infer.api_run_inference": run_inference,
        **dict.fromkeys(SLIDES, partial(answer_slide, app)),
        "activelearning.api_sample": next_sample,
        "datastore.api_datastore": list_datastore,
        "datastore.api_download_label": download_label,
        "session.api_create_session": create_session,
        "train.api_run": train_all,
        "model.api_update_model": partial(update_model, app),
        "model.api_delete_model": partial(delete_model, app),
        "datastore.api_download_dataset": download_dataset,
        "train.api_stop": stop_training,
        "batch_infer.api_stop": lambda arguments: stop_task("batch_infer"),
        "scoring.api_stop": lambda arguments: stop_task("scoring"),
        "ohif.api_get_ohif": lambda arguments: viewer.serve(
            arguments["path"], uploads=not app.datastore().is_local
        ),
    }
