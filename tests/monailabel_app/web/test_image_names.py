"""Names of images in requests become ids of the datastore, in every endpoint that takes one."""

from __future__ import annotations

import inspect
import json
from importlib import import_module

import pytest

from lib.errors import NotFoundError
from monailabel_app.web.image_names import name_images

IDS = {"1.2.3": "still", "still": "still", "1.2.4": "stained", "stained": "stained"}
CHANNELS = {"1.2.4": "DAPI", "stained": "GFP"}


class Store:
    def image_of(self, uid: str) -> str:
        if uid not in IDS:
            raise NotFoundError(f"unknown image '{uid}'")
        return IDS[uid]

    def channel_of(self, name: str) -> str:
        return CHANNELS.get(name, "")


@pytest.mark.parametrize(
    ("endpoint", "arguments"),
    [
        ("infer.api_run_inference", {"image": "1.2.3", "model": "1.2.3"}),
        ("datastore.api_save_label", {"image": "1.2.3", "tag": "final"}),
        ("datastore.api_download_label", {"label": "1.2.3"}),
        ("datastore.api_remove_image", {"id": "1.2.3"}),
    ],
)
def test_what_names_an_image_becomes_its_id_and_nothing_else_does(endpoint, arguments):
    found = dict(arguments)
    name_images(Store(), endpoint, found)
    changed = {key for key in arguments if found[key] != arguments[key]}
    assert {found[key] for key in changed} == {"still"}
    assert changed == {next(iter(arguments))}


def test_parameters_that_name_images_become_ids():
    arguments = {"params": {"images": ["1.2.3", "still"], "model": "1.2.3"}}
    name_images(Store(), "batch_infer.api_run", arguments)
    assert arguments == {"params": {"images": ["still", "still"], "model": "1.2.3"}}
    arguments = {"params": {"images": "unlabeled"}}
    name_images(Store(), "batch_infer.api_run", arguments)
    assert arguments == {"params": {"images": "unlabeled"}}


def test_an_unknown_image_is_refused_but_not_where_the_request_brings_its_own():
    with pytest.raises(NotFoundError, match=r"9\.9"):
        name_images(Store(), "infer.api_run_inference", {"image": "9.9"})
    arguments = {"image": "9.9", "file": object()}
    name_images(Store(), "infer.api_run_inference", arguments)
    assert arguments["image"] == "9.9"


def test_each_endpoint_of_the_datastore_that_takes_an_image_or_a_label_is_resolved():
    """The one that adds an image names a new one."""
    endpoints = import_module("monailabel.endpoints.datastore")
    for name, function in inspect.getmembers(endpoints, inspect.iscoroutinefunction):
        texts = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.name in ("image", "label", "id") and parameter.annotation is str
        ]
        if texts and name.startswith("api_") and name != "api_add_image":
            arguments = {texts[0]: "1.2.3"}
            name_images(Store(), f"datastore.{name}", arguments)
            assert arguments == {texts[0]: "still"}, name


@pytest.mark.parametrize("endpoint", ["infer.api_run_inference", "datastore.api_save_label"])
@pytest.mark.parametrize(
    ("image", "params", "expected"),
    [
        ("1.2.4", "{}", {"channel": "DAPI"}),
        ("1.2.4", '{"channel": "", "model": "m"}', {"channel": "DAPI", "model": "m"}),
        ("1.2.4", '{"channel": "GFP"}', {"channel": "GFP"}),  # what was asked for counts
        ("stained", "{}", {}),  # an id names no channel: there it must be chosen
        ("1.2.3", "{}", {}),
    ],
)
def test_a_uid_names_the_channel_that_it_shows(endpoint, image, params, expected):
    arguments = {"image": image, "params": params}
    name_images(Store(), endpoint, arguments)
    assert json.loads(arguments["params"]) == expected


@pytest.mark.parametrize("params", ["[", "[]", None])
def test_params_that_are_no_object_are_left_to_the_checks(params):
    arguments = {"image": "1.2.4", "params": params}
    name_images(Store(), "infer.api_run_inference", arguments)
    assert arguments["params"] in (params, '{"channel": "DAPI"}')
