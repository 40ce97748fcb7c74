"""Images that requests name by an id, a SOPInstanceUID or a SeriesInstanceUID: all become ids here.

Viewers know an image by its UIDs, and name it by the instance that is on the screen.
"""

from __future__ import annotations

import json
from typing import Any

from monailabel_app.studies.protocol import StudiesProtocol

# by module and function of the endpoint, the argument that names an image; labels have the ids of
# their images
_ARGUMENTS = {
    "infer.api_run_inference": "image",
    "wsi_infer.api_run_wsi_inference": "image",
    "wsi_infer.api_run_wsi_v2_inference": "image",
    "datastore.api_check_image": "image",
    "datastore.api_download_image": "image",
    "datastore.api_get_image_info": "image",
    "datastore.api_put_image_info": "image",
    "datastore.api_remove_image": "id",
    "datastore.api_save_label": "image",
    "datastore.api_remove_label": "id",
    "datastore.api_check_label": "image",
    "datastore.api_download_label": "label",
    "datastore.api_get_label_info": "label",
    "datastore.api_put_label_info": "label",
    "datastore.api_update_label_info": "label",
}
# by endpoint, the entries of its `params` that name an image, or a list of several
_PARAMETERS = {
    "activelearning.api_sample": ("id", "like"),
    "batch_infer.api_run": ("images",),
}
# endpoints with a JSON text `params`, in which the channel is told that a UID shows
_IN_CHANNEL = ("infer.api_run_inference", "datastore.api_save_label")
_WORDS = ("all", "labeled", "unlabeled")  # choices of images, not their names


def name_images(store: StudiesProtocol, endpoint: str, arguments: dict[str, Any]) -> None:
    """Replace what the arguments of an endpoint name images by with the ids of the datastore.

    Args:
        endpoint: module and function, such as "infer.api_run_inference".
        arguments: changed in place; names of other types are left to the checks.

    Raises:
        NotFoundError: no such image, or a series of several; the message names what was asked.
    """
    if (argument := _ARGUMENTS.get(endpoint)) and not _sends_image(arguments):
        asked = arguments.get(argument)
        arguments[argument] = _named(store, asked)
        by_uid = endpoint in _IN_CHANNEL and asked != arguments[argument]
        if by_uid and (channel := store.channel_of(str(asked))):
            arguments["params"] = _in_channel(arguments.get("params"), channel)
    params = arguments.get("params")
    for parameter in _PARAMETERS.get(endpoint, ()):
        if isinstance(params, dict) and parameter in params:
            params = {**params, parameter: _named(store, params[parameter])}
            arguments["params"] = params


def _in_channel(params: Any, channel: str) -> Any:
    """Return the text of `params` with the channel that is shown, unless they name one."""
    try:
        found = json.loads(params or "{}")
    except (RecursionError, TypeError, ValueError):  # the checks say what is wrong
        return params
    if not isinstance(found, dict) or found.get("channel"):
        return params
    return json.dumps({**found, "channel": channel})


def _sends_image(arguments: dict[str, Any]) -> bool:
    """Tell whether an image comes with the request, which then needs none of the studies."""
    return bool(arguments.get("file") or arguments.get("session_id"))


def _named(store: StudiesProtocol, name: Any) -> Any:
    if isinstance(name, list):
        return [_named(store, one) for one in name]
    if isinstance(name, str) and name and name not in _WORDS:
        return store.image_of(name)
    return name
