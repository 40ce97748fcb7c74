"""Weights over HTTP: what is sent is read, checked and tried before it is served."""

from __future__ import annotations

import shutil
from typing import Any, BinaryIO

from lib.files import sha256
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.training.acceptance import accept_weights, check_size, check_version
from lib.weights.store import ModelStore
from lib.weights.versions import TrainedOn
from monailabel_app.services import AppServices


def update_model(app: AppServices, arguments: dict[str, Any]) -> dict[str, Any]:
    """Serve the weights of an upload; they become a version.

    Raises:
        InputError: no such model, or weights that cannot be accepted; nothing is changed then.
    """
    name, upload = arguments["model"], arguments["file"]
    app.model_file(name, validate=False)  # refuses unknown models
    task = get_task(name)
    check_size("the upload", upload.size or 0, task)
    publish_upload(app.store, task, upload.file)
    path = app.store.served_path(name)
    assert path is not None
    return {"checksum": f"SHA256:{sha256(path)}", "modified_time": int(path.stat().st_mtime)}


def publish_upload(store: ModelStore, task: TaskSpec, content: BinaryIO) -> str:
    """Serve weights from now on, if they can be accepted, and return their version.

    Args:
        content: of a file of weights.

    Raises:
        InputError: they cannot; nothing is changed then.
    """
    with store.candidate_folder() as folder:
        file = folder / "upload.pt"
        with open(file, "wb") as target:
            shutil.copyfileobj(content, target)
        checkpoint = accept_weights(file, task)
        version = store.add(
            task.name,
            file,
            checkpoint.metrics,
            published=True,
            reason="uploaded by an administrator",
            data=TrainedOn(checkpoint.provenance),
        )
    store.restore(task.name, version)
    return version


def delete_model(app: AppServices, arguments: dict[str, Any]) -> dict[str, Any]:
    """Stop serving published weights; see `ModelStore.withdraw`."""
    app.model_file(arguments["model"], validate=False)
    app.store.withdraw(arguments["model"])
    return {}


def restore_model(app: AppServices, model: str, version: str) -> None:
    """Serve a version of a model again.

    Raises:
        InputError: no such model or version, or its file was damaged.
    """
    app.model_file(model, validate=False)
    check_version(app.store, get_task(model), version)
    app.store.restore(model, version)
