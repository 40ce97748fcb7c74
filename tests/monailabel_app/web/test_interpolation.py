"""The route that fills between drawn slices: voxels, values and place of the answer, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from lib.interactive.interpolation import fill_between
from monailabel_app.lane import Lane
from monailabel_app.web.interpolation import interpolation_router
from monailabel_app.web.reasons import answered

Ask = Callable[..., Response]


@pytest.fixture
def drawn() -> np.ndarray:
    """A square that grows, in four of nine slices."""
    label = np.zeros((9, 20, 30), np.uint8)
    for index in (1, 3, 4, 8):
        label[index, 5 : 8 + index, 6 : 9 + index] = 3
    return label


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    web = FastAPI()
    web.include_router(interpolation_router(answered, Lane("test", 1, 1, 60.0)))
    client = TestClient(web, base_url="http://localhost")

    def send(label: np.ndarray, name: str = "label.nrrd", **params: Any) -> Response:
        image = sitk.GetImageFromArray(label)
        image.SetSpacing((0.5, 0.5, 2.0)[: image.GetDimension()])
        image.SetOrigin((1.0, -2.0, 3.0)[: image.GetDimension()])
        sitk.WriteImage(image, str(tmp_path / "sent.nrrd"))
        with open(tmp_path / "sent.nrrd", "rb") as file:
            return client.post(
                "/viewer/interpolate",
                files={"label": (name, file)},
                data={"params": json.dumps(params)},
            )

    return send


def read(answer: Response, tmp_path: Path) -> sitk.Image:
    assert answer.status_code == 200, answer.text
    (tmp_path / "got.nrrd").write_bytes(answer.content)
    return sitk.ReadImage(str(tmp_path / "got.nrrd"))


def test_the_answer_is_the_filled_label_on_the_same_grid(ask, drawn, tmp_path):
    image = read(ask(drawn), tmp_path)
    assert np.array_equal(sitk.GetArrayFromImage(image), fill_between(drawn))
    assert image.GetPixelID() == sitk.sitkUInt8
    assert image.GetSpacing() == (0.5, 0.5, 2.0) and image.GetOrigin() == (1.0, -2.0, 3.0)


def test_values_and_keys_are_taken(ask, drawn, tmp_path):
    drawn[[0, 2], :2, :2] = 1
    image = read(ask(drawn, values=[3], keys=[1, 8]), tmp_path)
    assert np.array_equal(sitk.GetArrayFromImage(image), fill_between(drawn, [3], [1, 8]))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"values": "3"}, "values: expected a list of whole numbers"),
        ({"values": [0]}, "values: expected a list of whole numbers from 1"),
        ({"values": [True]}, "values: expected a list"),
        ({"keys": [-1]}, "keys: expected a list of whole numbers from 0"),
        ({"values": [2]}, "value 2 in none"),
        ({"values": [3], "keys": [5, 8]}, "slice 5 is none"),
        ({"name": "label.png"}, "no NRRD"),
        ({"name": "../../label.nrrd.exe"}, "no NRRD"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(ask, drawn, sent, reason):
    answer = ask(drawn, **sent)
    assert answer.status_code == 400 and reason in answer.json()["detail"]


def test_a_picture_has_nothing_between(ask, drawn):
    answer = ask(drawn[1])
    assert answer.status_code == 400 and "\n" not in answer.json()["detail"]
