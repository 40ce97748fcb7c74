"""Checks of names, paths and parameters of a request, before MONAI Label's endpoints run.

MONAI Label (0.8.5) itself checks none of them. A check gets the arguments of the endpoint, may
correct some, and raises an `InputError` for values that cannot be right.
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
from lib.data.versions import CLIENT, RESTORED_BY, RESTORED_FROM
from lib.errors import InputError, NotFoundError, choose
from lib.io.masks import MASK_EXTENSIONS
from lib.io.read import extension, stem
from monailabel_app.services import AppServices
from monailabel_app.studies.names import check_id, check_tag

Check = Callable[[dict[str, Any]], Any]

_RESERVED_PARAMS = ("image", "model", "label", "session", "file")
_FOLLOW_CLICKS = (InferType.DEEPGROW, InferType.DEEPEDIT)
_IMAGE_CHOICES = ("all", "labeled", "unlabeled")
_OF_AN_IMAGE = ("get_image_info", "download_image", "check_image")
_OF_A_LABEL = ("download_label", "check_label", "get_label_info", "remove_label")


def make_checks(app: AppServices) -> dict[str, Check]:
    """Return the checks by module and function of the endpoint, such as "model.api_model_info"."""

    def before_sample(arguments: dict[str, Any]) -> None:
        app.require_strategy(arguments["strategy"])
        if name := _user_name(arguments):
            arguments["params"] = {**(arguments.get("params") or {}), "client_id": name}

    return {
        **_model_checks(app),
        **_datastore_checks(app),
        **_session_checks(app),
        "scoring.api_run_method": lambda arguments: app.require_scoring_method(arguments["method"]),
        "activelearning.api_sample": before_sample,
        "logs.gpu_info": _before_gpu,
    }


def _model_checks(app: AppServices) -> dict[str, Check]:
    def before_infer(arguments: dict[str, Any]) -> None:
        task = app.require_model(arguments["model"])
        params = read_object("params", arguments.get("params"))
        if task.type in _FOLLOW_CLICKS and isinstance(params.get("label"), str):
            # viewers send the name of the segment, which would replace the path of a label file
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
            arguments["label"] = None  # no other model reads one, and MONAI Label would decode it
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
        if params.get("model", model) != model:  # MONAI Label would train that one, unchecked
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
            params["multi_gpu"] = False  # MONAI Label would divide by the number of GPUs
        arguments["params"] = params

    return {
        "infer.api_run_inference": before_infer,
        "wsi_infer.api_run_wsi_inference": before_slide,
        "wsi_infer.api_run_wsi_v2_inference": before_slide,
        "train.api_run_model": before_train,
        "batch_infer.api_run": before_batch,
    }


def _datastore_checks(app: AppServices) -> dict[str, Check]:
    def image_exists(arguments: dict[str, Any]) -> None:
        app.datastore().require_image(arguments["image"])

    def before_label(arguments: dict[str, Any]) -> None:
        image_exists(arguments)
        check_tag(arguments.get("tag") or "final")
        params = read_object("params", arguments.get("params"))
        for name in (RESTORED_BY, RESTORED_FROM):
            params.pop(name, None)
        params[CLIENT] = arguments.pop(CLIENT)
        if user := _user_name(arguments):  # MONAI Label does not store who it was
            params["user"] = user
        arguments["params"] = json.dumps(params)

    def before_upload(arguments: dict[str, Any]) -> None:
        # MONAI Label would take the name up to its first dot
        check_id(arguments.get("image") or stem(arguments["file"].filename or ""))
        arguments["image"] = arguments.get("image") or stem(arguments["file"].filename)
        read_object("params", arguments.get("params"))

    def before_image_info(arguments: dict[str, Any]) -> None:
        image_exists(arguments)
        read_object("info", arguments.get("info"))

    def tag_is_plain(arguments: dict[str, Any]) -> None:
        check_tag(arguments["tag"])

    def before_label_info(arguments: dict[str, Any]) -> None:
        tag_is_plain(arguments)
        read_object("info", arguments.get("info"))

    def before_dataset(arguments: dict[str, Any]) -> None:
        if not app.datastore().get_labeled_images():
            raise NotFoundError("no image has a final label yet, so there is nothing to download")

    return {
        "datastore.api_add_image": before_upload,
        "datastore.api_save_label": before_label,
        "datastore.api_put_image_info": before_image_info,
        "datastore.api_put_label_info": before_label_info,
        "datastore.api_download_dataset": before_dataset,
        **{f"datastore.api_{name}": image_exists for name in _OF_AN_IMAGE},
        **{f"datastore.api_{name}": tag_is_plain for name in _OF_A_LABEL},
    }


def _session_checks(app: AppServices) -> dict[str, Check]:
    def before_new_session(arguments: dict[str, Any]) -> None:
        if arguments.get("uncompress"):
            raise InputError("archives are not unpacked here; send the image itself")

    def session_exists(arguments: dict[str, Any]) -> None:
        _require_session(app, arguments["session_id"])

    return {
        "session.api_create_session": before_new_session,
        "session.api_get_session": session_exists,
        "session.api_remove_session": session_exists,
    }


def _check_drawing(label: Any) -> None:
    """Refuse scribbles in a file that is no label image, and give the file a plain name.

    Raises:
        InputError: another type of file; MONAI Label would unpack raw bytes itself.
    """
    if label is None:
        return
    suffix = extension(label.filename or "")
    if suffix not in MASK_EXTENSIONS:
        raise InputError(
            f"label '{label.filename}' is no label image; expected one of "
            f"{', '.join(MASK_EXTENSIONS)}"
        )
    label.filename = f"label{suffix}"


def _user_name(arguments: dict[str, Any]) -> str:
    """Return the name of the user; empty if the server has no login."""
    return str(arguments["user"].username) if settings.MONAI_LABEL_AUTH_ENABLE else ""


def read_object(name: str, text: Any) -> dict[str, Any]:
    """Return the JSON object in a form field; an absent field is an empty object.

    Raises:
        InputError: the text is not JSON, or not an object.
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
    """Refuse NaN, infinity and halves of signs: Python reads them, but no answer can hold them.

    Raises:
        InputError: a number is not finite, or a text is not Unicode.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError("half a surrogate pair is no text; send whole signs as UTF-8") from None
    except ValueError:
        raise InputError("NaN and infinity are not valid JSON; give a finite number") from None


def _require_session(app: AppServices, session: str) -> None:
    # a session is a folder with this name: a path would open a folder of somebody else
    is_name = session.replace("-", "").isalnum()
    if not is_name or not app.sessions() or not app.sessions().get_session(session):
        raise NotFoundError(f"unknown session '{session}'; open a new one")


def _before_gpu(arguments: dict[str, Any]) -> None:
    if shutil.which("nvidia-smi") is None:
        raise NotFoundError("no NVIDIA driver on this server (nvidia-smi not found)")
