"""Checks of names, paths and parameters of a request, before MONAI Label's endpoints run.

MONAI Label (0.8.5) itself checks none of them. A check gets the arguments of the endpoint, may
correct some, and raises an `InputError` for values that cannot be right.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from monailabel.interfaces.tasks.infer_v2 import InferType

from infer.scribbles import UntrainedInfer
from lib.active_learning.review import METHODS
from lib.data.label_names import read_label_info
from lib.data.versions import CLIENT, RESTORED_BY, RESTORED_FROM
from lib.errors import InputError, NotFoundError, choose, parse_switch, shown
from lib.io.masks import MASK_EXTENSIONS
from lib.io.read import extension, stem
from monailabel_app.services import AppServices
from monailabel_app.studies.names import check_new_id, check_tag, is_plain
from monailabel_app.web.access import Access
from monailabel_app.web.blindness import require_all_seen, require_sight
from monailabel_app.web.exports import check_exports
from monailabel_app.web.objects import read_object
from monailabel_app.web.ownership import check_session
from monailabel_app.web.parameters import (
    BATCH,
    INFER,
    NEVER,
    RECORD,
    SAMPLE,
    SCORING,
    TASK,
    clicked,
    number_within,
    read_parameters,
    read_task,
    require_same,
)
from monailabel_app.web.people import person
from monailabel_app.web.slides import SLIDES, check_slide
from monailabel_app.web.uploads import (
    check_session_files,
    require_one_image,
    require_source,
    take_name,
)

Check = Callable[[dict[str, Any]], Any]

_RESERVED_PARAMS = ("image", "model", "label", "session", "file")
_FOLLOW_CLICKS = (InferType.DEEPGROW, InferType.DEEPEDIT)
_IMAGE_CHOICES = ("all", "labeled", "unlabeled")
_OF_AN_IMAGE = ("get_image_info", "download_image")
_OF_A_LABEL = ("download_label", "check_label", "get_label_info")
# what the server itself writes into the record of a label
_OWN_FIELDS = (CLIENT, RESTORED_BY, RESTORED_FROM, "ts", "name")
_CLIENT_LENGTH = 200
_MOST_LINES = 10**6  # of the log
_CHECKSUM = re.compile(r"(SHA256|SHA512|MD5):[0-9A-Fa-f]{1,128}")


def make_checks(app: AppServices) -> dict[str, Check]:
    """Return the checks by module and function of the endpoint, such as "model.api_model_info"."""

    def before_sample(arguments: dict[str, Any]) -> None:
        app.require_strategy(arguments["strategy"])
        params = read_parameters(arguments.get("params") or {}, SAMPLE)
        app.require_strategy(params.get("strategy", arguments["strategy"]))
        require_same("strategy", params, arguments["strategy"])
        if name := person().name:
            params["client_id"] = name
        arguments["params"] = params

    def before_scoring(arguments: dict[str, Any]) -> None:
        method = arguments["method"]
        app.require_scoring_method(method)
        arguments["params"] = read_task(arguments.get("params"), SCORING, method=method)

    def before_all_scoring(arguments: dict[str, Any]) -> None:
        params = read_task(arguments.get("params"), {**SCORING, "method": NEVER})
        for method in params.keys() & METHODS.keys():
            if not isinstance(params[method], dict):
                raise InputError(f"{method}: expected an object, found '{shown(params[method])}'")
            params[method] = read_task(params[method], SCORING, method=method)
        arguments["params"] = params

    return {
        **_model_checks(app),
        **_datastore_checks(app),
        **_session_checks(app),
        "scoring.api_run_method": before_scoring,
        "scoring.api_run": before_all_scoring,
        "activelearning.api_sample": before_sample,
        "logs.gpu_info": _before_gpu,
        "logs.api_get_logs": _before_logs,
    }


def _model_checks(app: AppServices) -> dict[str, Check]:
    def before_infer(arguments: dict[str, Any]) -> None:
        task = app.require_model(arguments["model"])
        params = read_object("params", arguments.get("params"))
        clicks = task.type in _FOLLOW_CLICKS
        params = read_parameters(params, clicked([*task.labels]) if clicks else INFER)
        if clicks and isinstance(params.get("label"), str):
            # viewers send the name of the segment, which would replace the path of a label file
            params["label_name"] = params.pop("label")
        reserved = [name for name in _RESERVED_PARAMS if name in params]
        if reserved:
            raise InputError(
                f"params may not hold '{reserved[0]}'; give it as an argument of the request"
            )
        for name in ("user", "exporter"):
            params.pop(name, None)
        if params.get("label_tag") or parse_switch(params.get("save_label"), "save_label"):
            person().require(Access.ANNOTATOR, "to store an answer as a label")
            params["user"] = person().name
        arguments["params"] = json.dumps(params)
        if task.type == InferType.SCRIBBLES:
            _check_drawing(arguments.get("label"))
        else:
            arguments["label"] = None  # no other model reads one, and MONAI Label would decode it
        require_source(app, arguments)

    def before_train(arguments: dict[str, Any]) -> None:
        trainer = app.require_trainer(arguments["model"])
        params = read_task(arguments.get("params"), TASK, model=arguments["model"])
        trainer.check(params, app.datastore())
        arguments["params"] = params

    def before_batch(arguments: dict[str, Any]) -> None:
        params = read_task(arguments.get("params"), BATCH)
        model = app.require_model(params.get("model", arguments["model"]))
        if isinstance(model, UntrainedInfer):
            raise InputError(
                f"'{arguments['model']}' answers on what is marked in one image; choose a trained "
                f"model for many, or ask with POST /infer/{arguments['model']} for each image"
            )
        check_exports(model, arguments["model"], params)
        images = params.get("images", "all")
        if isinstance(images, str):
            choose("choice of images", images, dict.fromkeys(_IMAGE_CHOICES))
        else:
            for image in images or ():
                app.datastore().require_image(image)
        if not torch.cuda.is_available():
            params["multi_gpu"] = False  # MONAI Label would divide by the number of GPUs
        arguments["params"] = {**params, "user": person().name}

    return {
        "infer.api_run_inference": before_infer,
        **dict.fromkeys(SLIDES, partial(check_slide, app)),
        "train.api_run_model": before_train,
        "batch_infer.api_run": before_batch,
    }


def _datastore_checks(app: AppServices) -> dict[str, Check]:
    def image_exists(arguments: dict[str, Any]) -> None:
        app.datastore().require_image(arguments["image"])

    def before_label(arguments: dict[str, Any]) -> None:
        image_exists(arguments)
        check_tag(arguments.get("tag") or "final")
        params = _record("params", arguments.get("params"))
        params[CLIENT] = _client(arguments.pop(CLIENT))
        take_name(arguments["label"], "label")
        if user := person().name:  # MONAI Label does not store who it was
            params["user"] = user
        arguments["params"] = json.dumps(params)

    def before_upload(arguments: dict[str, Any]) -> None:
        # MONAI Label would take the name up to its first dot
        sent = take_name(arguments["file"], "image")
        arguments["image"] = check_new_id(arguments.get("image") or stem(sent))
        read_object("params", arguments.get("params"))

    def before_image_info(arguments: dict[str, Any]) -> None:
        image_exists(arguments)
        arguments["info"] = json.dumps(_record("info", arguments.get("info")))

    def tag_is_plain(arguments: dict[str, Any]) -> None:
        check_tag(arguments["tag"])

    def label_is_seen(arguments: dict[str, Any]) -> None:
        tag_is_plain(arguments)
        image = arguments["label"] if "label" in arguments else arguments["image"]
        require_sight(app, image, arguments["tag"])

    def before_label_info(arguments: dict[str, Any]) -> None:
        tag_is_plain(arguments)
        field = "info" if "info" in arguments else "params"
        record = _record(field, arguments.get(field))
        if person().name:
            record.pop("user", None)
        arguments[field] = json.dumps(record)
        # MONAI Label would name who asks as the one who drew the label
        arguments["user"] = arguments["user"].model_copy(update={"username": None})

    def before_image_check(arguments: dict[str, Any]) -> None:
        image_exists(arguments)
        checksum = arguments.get("check_sum")
        if checksum and not _CHECKSUM.fullmatch(checksum):
            raise InputError(
                f"check_sum '{shown(checksum)}': expected SHA256, SHA512 or MD5, a colon and digits"
            )

    def before_dataset(arguments: dict[str, Any]) -> None:
        number_within("limit_cases", arguments.get("limit_cases"), 1, 10**9)
        if not app.datastore().get_labeled_images():
            raise NotFoundError("no image has a final label yet, so there is nothing to download")
        require_all_seen(app.datastore())

    return {
        "datastore.api_add_image": before_upload,
        "datastore.api_save_label": before_label,
        "datastore.api_put_image_info": before_image_info,
        "datastore.api_put_label_info": before_label_info,
        "datastore.api_update_label_info": before_label_info,
        "datastore.api_download_dataset": before_dataset,
        "datastore.api_check_image": before_image_check,
        **{f"datastore.api_{name}": image_exists for name in _OF_AN_IMAGE},
        **{f"datastore.api_{name}": label_is_seen for name in _OF_A_LABEL},
        "datastore.api_remove_label": tag_is_plain,
    }


def _session_checks(app: AppServices) -> dict[str, Check]:
    def before_new_session(arguments: dict[str, Any]) -> None:
        if arguments.get("uncompress"):
            raise InputError("archives are not unpacked here; send the image itself")
        check_session_files(arguments["files"])

    def session_exists(arguments: dict[str, Any]) -> None:
        check_session(app.sessions(), arguments["session_id"])
        if arguments.get("image"):
            require_one_image(app.sessions(), arguments["session_id"])

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
    sent = take_name(label, "label")
    if extension(label.filename) not in MASK_EXTENSIONS:
        raise InputError(
            f"label '{shown(sent)}' is no label image; expected one of {', '.join(MASK_EXTENSIONS)}"
        )


def _record(name: str, text: Any) -> dict[str, Any]:
    """Return what a client says of an image or a label, without what the server itself writes.

    Raises:
        InputError: no object of JSON, or a field of another type.
    """
    record = read_object(name, text)
    record = read_parameters(record, RECORD)
    read_label_info(record.get("label_info"))
    return {key: value for key, value in record.items() if key not in _OWN_FIELDS}


def _client(agent: str) -> str:
    """Return the name of a program as far as it can be printed."""
    return "".join(sign for sign in agent if is_plain(sign))[:_CLIENT_LENGTH].strip()


def _before_gpu(arguments: dict[str, Any]) -> None:
    if shutil.which("nvidia-smi") is None:
        raise NotFoundError("no NVIDIA driver on this server (nvidia-smi not found)")


def _before_logs(arguments: dict[str, Any]) -> None:
    number_within("lines", arguments.get("lines"), 0, _MOST_LINES)
    if not arguments.get("lines"):  # MONAI Label would send a file that grows meanwhile
        arguments.update(lines=_MOST_LINES, text=True)
    number_within("refresh", arguments.get("refresh"), 0, 10**6)
