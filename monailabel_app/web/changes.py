"""What the audit log says of requests that change something."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from lib.files import removed_on_error, sha256
from monailabel_app.audit import FILE, AuditLog
from monailabel_app.config import AppConfig
from monailabel_app.services import AppServices
from monailabel_app.studies.protocol import FINAL
from monailabel_app.web.people import person

ALL = "all"  # in place of a model
# a context in which the endpoint runs, from its arguments
Change = Callable[[dict[str, Any]], AbstractContextManager[None]]


def open_audit_log(config: AppConfig) -> AuditLog:
    """Return the log that the options name; it knows who sends a request."""
    file = config.audit_log or config.model_dir / FILE
    return AuditLog(file, lambda: (person().name, person().address))


def make_changes(app: AppServices) -> dict[str, Change]:
    """Return what is written down, by module and function of the endpoint, see `make_checks`."""

    def of_label(what: str, image: str) -> Change:
        def change(arguments: dict[str, Any]) -> AbstractContextManager[None]:
            tag = arguments.get("tag") or FINAL
            sent = _sent(arguments["label"]) if what == "label saved" else ""
            return label_change(app, what, arguments[image], tag, sent=sent)

        return change

    def of_image(what: str, image: str) -> Change:
        return lambda arguments: app.audit.change(what, arguments[image], lambda: "")

    def image_added(arguments: dict[str, Any]) -> AbstractContextManager[None]:
        sent = _sent(arguments["file"])
        return app.audit.change("image added", arguments["image"], lambda: "", sent=sent)

    def of_model(what: str) -> Change:
        return lambda arguments: model_change(app, what, arguments["model"])

    def of_task(what: str) -> Change:
        return lambda arguments: app.audit.change(what, arguments.get("model", ALL), lambda: "")

    return {
        "datastore.api_save_label": of_label("label saved", "image"),
        "datastore.api_remove_label": of_label("label removed", "id"),
        "datastore.api_put_label_info": of_label("label information changed", "label"),
        "datastore.api_update_label_info": of_label("label information changed", "label"),
        "datastore.api_add_image": image_added,
        "datastore.api_remove_image": of_image("image removed", "id"),
        "datastore.api_put_image_info": of_image("image information changed", "image"),
        "model.api_update_model": of_model("model uploaded"),
        "model.api_delete_model": of_model("model withdrawn"),
        "train.api_run_model": of_task("training started"),
        "train.api_run": of_task("training started"),
        "batch_infer.api_run": of_task("batch started"),
        "batch_infer.api_stop": of_task("batch stopped"),
    }


def label_change(
    app: AppServices, what: str, image: str, tag: str, **facts: Any
) -> AbstractContextManager[None]:
    """Return a context in which a label changes; it becomes a line of the audit log."""
    return app.audit.change(
        what, image, lambda: app.datastore().label_checksum(image, tag), tag=tag, **facts
    )


def model_change(
    app: AppServices, what: str, model: str, **facts: Any
) -> AbstractContextManager[None]:
    """Return a context in which the served weights change; it becomes a line of the audit log.

    Raises:
        NotFoundError: there is no such model, so no file of it either.
    """
    app.model_file(model, validate=False)

    def checksum() -> str:
        path = app.store.served_path(model)
        return sha256(path) if path is not None else ""

    return app.audit.change(what, model, checksum, **facts)


def _sent(upload: Any) -> str:
    """Return the SHA-256 of an uploaded file."""
    upload.file.seek(0)
    digest = hashlib.sha256()
    while block := upload.file.read(1 << 20):
        digest.update(block)
    upload.file.seek(0)
    return digest.hexdigest()


def save_answer(
    app: AppServices,
    store: Datastore,
    image: str,
    file: str,
    tag: str,
    request: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> str:
    """Save a model's answer as a label, with the user of the request; return the label's id.

    Args:
        file: of the answer; it is deleted if it cannot be saved.
    """
    user, model = str(request.get("user") or ""), str(request["model"])
    info = {"model": model, "params": summary, **({"user": user} if user else {})}
    change = label_change(app, "label saved by a model", image, tag, by=user, model=model)
    with removed_on_error(Path(file)), change:
        return str(store.save_label(image, file, tag, info))


def note_training(app: AppServices, model: str, result: Mapping[str, Any], by: str) -> None:
    """Write down what a training published, if anything."""
    if not result.get("published"):
        return
    path = app.store.served_path(model)
    after = sha256(path) if path is not None else ""
    app.audit.write("model published", model, by=by, version=result["version"], after=after)
