"""Checks that run before MONAI Label's endpoints: the names, paths and parameters of a request.

Upstream (0.8.5) checks none of them. A check gets the endpoint's arguments, may put some right, and
raises an `InputError` for what cannot be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import torch
from monailabel.config import settings
from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.scribbles import UntrainedInfer
from lib.errors import InputError, NotFoundError, choose
from lib.io.masks import MASK_EXTENSIONS
from lib.io.read import extension, stem
from monailabel_app.services import AppServices
from monailabel_app.studies.names import check_id, check_tag

Guard = Callable[[dict[str, Any]], Any]

_RESERVED_PARAMS = ("image", "model", "label", "session", "file")
_FOLLOW_CLICKS = (InferType.DEEPGROW, InferType.DEEPEDIT)
_IMAGE_CHOICES = ("all", "labeled", "unlabeled")


def make_guards(app: AppServices) -> dict[str, Guard]:
    """Return the checks by module and function of the endpoint they run before."""

    def before_sample(arguments: dict[str, Any]) -> None:
        app.require_strategy(arguments["strategy"])
        if name := _logged_in(arguments):
            arguments["params"] = {**(arguments.get("params") or {}), "client_id": name}

    return {
        **_model_guards(app),
        **_datastore_guards(app),
        **_session_guards(app),
        "scoring.api_run_method": lambda arguments: app.require_scoring_method(arguments["method"]),
        "activelearning.api_sample": before_sample,
        "logs.gpu_info": _before_gpu,
    }


def _model_guards(app: AppServices) -> dict[str, Guard]:
    def before_infer(arguments: dict[str, Any]) -> None:
        task = app.require_model(arguments["model"])
        params = read_object("params", arguments.get("params"))
        if task.type in _FOLLOW_CLICKS and isinstance(params.get("label"), str):
            # viewers send the segment's name, which would replace the path of an uploaded label
            params["label_name"] = params.pop("label")
            arguments["params"] = json.dumps(params)
        reserved = [name for name in _RESERVED_PARAMS if name in params]
        if reserved:
            raise InputError(
                f"params may not hold '{reserved[0]}'; give it as an argument of the request"
            )
        if params.get("label_tag"):
            check_tag(str(params["label_tag"]))
        if task.type == InferType.SCRIBBLES:
            _check_drawing(arguments.get("label"))
        else:
            arguments["label"] = None  # no other model reads one, and upstream would decode it
        if arguments.get("file"):
            return
        if arguments.get("session_id"):
            _require_session(app, arguments["session_id"])
        elif arguments.get("image"):
            app.datastore().require_image(arguments["image"])
        else:
            raise InputError("give an image id, a session id or a file to run the model on")

    def before_slide(arguments: dict[str, Any]) -> None:
        raise NotFoundError("no whole-slide models here; use POST /infer/<model> on one image")

    def before_train(arguments: dict[str, Any]) -> None:
        model, params = arguments["model"], arguments.get("params") or {}
        trainer = app.require_trainer(model)
        if params.get("model", model) != model:  # upstream would train that one, unchecked
            raise InputError(f"params name model '{params['model']}', the request '{model}'")
        trainer.check(params, app.datastore())
        _check_finite(params)

    def before_batch(arguments: dict[str, Any]) -> None:
        params = dict(arguments.get("params") or {})
        model = app.require_model(params.get("model", arguments["model"]))
        if isinstance(model, UntrainedInfer):
            raise InputError(
                f"'{arguments['model']}' answers on what is marked in one image; choose a trained "
                f"model for many, or ask with POST /infer/{arguments['model']} for each image"
            )
        check_tag(str(params.get("label_tag") or "original"))
        _check_finite(params)
        images = params.get("images", "all")
        if isinstance(images, str):
            choose("choice of images", images, dict.fromkeys(_IMAGE_CHOICES))
        else:
            for image in images or ():
                app.datastore().require_image(str(image))
        if not torch.cuda.is_available():
            params["multi_gpu"] = False  # upstream would divide by the number of GPUs
        arguments["params"] = params

    return {
        "infer.api_run_inference": before_infer,
        "wsi_infer.api_run_wsi_inference": before_slide,
        "wsi_infer.api_run_wsi_v2_inference": before_slide,
        "train.api_run_model": before_train,
        "batch_infer.api_run": before_batch,
    }


def _datastore_guards(app: AppServices) -> dict[str, Guard]:
    def known_image(arguments: dict[str, Any]) -> None:
        app.datastore().require_image(arguments["image"])

    def before_label(arguments: dict[str, Any]) -> None:
        known_image(arguments)
        check_tag(arguments.get("tag") or "final")
        params = read_object("params", arguments.get("params"))
        if name := _logged_in(arguments):  # upstream forgets who it was
            arguments["params"] = json.dumps({**params, "user": name})

    def before_upload(arguments: dict[str, Any]) -> None:
        # upstream would take the name up to its first dot
        check_id(arguments.get("image") or stem(arguments["file"].filename or ""))
        arguments["image"] = arguments.get("image") or stem(arguments["file"].filename)
        read_object("params", arguments.get("params"))

    def image_record(arguments: dict[str, Any]) -> None:
        known_image(arguments)
        read_object("info", arguments.get("info"))

    def label_tag(arguments: dict[str, Any]) -> None:
        check_tag(arguments["tag"])

    def label_record(arguments: dict[str, Any]) -> None:
        label_tag(arguments)
        read_object("info", arguments.get("info"))

    def before_archive(arguments: dict[str, Any]) -> None:
        if not app.datastore().get_labeled_images():
            raise NotFoundError("no image has a final label yet, so there is nothing to download")

    return {
        "datastore.api_add_image": before_upload,
        "datastore.api_save_label": before_label,
        "datastore.api_get_image_info": known_image,
        "datastore.api_put_image_info": image_record,
        "datastore.api_download_image": known_image,
        "datastore.api_check_image": known_image,
        "datastore.api_download_label": label_tag,
        "datastore.api_check_label": label_tag,
        "datastore.api_get_label_info": label_tag,
        "datastore.api_put_label_info": label_record,
        "datastore.api_remove_label": label_tag,
        "datastore.api_download_dataset": before_archive,
    }


def _session_guards(app: AppServices) -> dict[str, Guard]:
    def before_session(arguments: dict[str, Any]) -> None:
        if arguments.get("uncompress"):
            raise InputError("archives are not unpacked here; send the image itself")

    def known_session(arguments: dict[str, Any]) -> None:
        _require_session(app, arguments["session_id"])

    return {
        "session.api_create_session": before_session,
        "session.api_get_session": known_session,
        "session.api_remove_session": known_session,
    }


def _check_drawing(label: Any) -> None:
    """Refuse scribbles in a file that is no label image, and give it a plain name.

    Raises:
        InputError: a type of file that holds none; upstream would unpack raw bytes itself.
    """
    if label is None:
        return
    kind = extension(label.filename or "")
    if kind not in MASK_EXTENSIONS:
        raise InputError(
            f"label '{label.filename}' is no label image; expected one of "
            f"{', '.join(MASK_EXTENSIONS)}"
        )
    label.filename = f"label{kind}"


def _logged_in(arguments: dict[str, Any]) -> str:
    """Return who asks; empty where nobody logs in."""
    return str(arguments["user"].username) if settings.MONAI_LABEL_AUTH_ENABLE else ""


def read_object(name: str, text: Any) -> dict[str, Any]:
    """Return the JSON object of a form field; an absent one is empty.

    Raises:
        InputError: not JSON, or JSON of another kind.
    """
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(f"{name} is not valid JSON ({error}); expected an object") from None
    _check_finite(value)
    if not isinstance(value, dict):
        raise InputError(f"{name} must be a JSON object, found {type(value).__name__}")
    return value


def _check_finite(value: Any) -> None:
    """Refuse NaN and infinity, which Python takes for JSON but no answer can hold.

    Raises:
        InputError: there is one.
    """
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise InputError("NaN and infinity are not valid JSON; give a finite number") from None


def _require_session(app: AppServices, session: str) -> None:
    # a session is a folder of that name: a path would open one made by somebody else
    plain = session.replace("-", "").isalnum()
    if not plain or not app.sessions() or not app.sessions().get_session(session):
        raise NotFoundError(f"unknown session '{session}'; open a new one")


def _before_gpu(arguments: dict[str, Any]) -> None:
    if shutil.which("nvidia-smi") is None:
        raise NotFoundError("no NVIDIA driver on this server (nvidia-smi not found)")
