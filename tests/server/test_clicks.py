"""A model that follows clicks, through the real server and 3D Slicer's client library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from server_support import Server, assert_refused, discs, threshold_weights, write_dicom, write_png
from test_clients import slicer_library

CLICKED = "busi_click"
ON, OFF = (36, 60), (48, 48)  # row and column of a disc's middle, and of a point between discs


@pytest.fixture(scope="module")
def clicking(launch) -> Server:
    def prepare(server: Server) -> None:
        server.conf["models"] = CLICKED
        threshold_weights(server.model_dir / f"{CLICKED}.pt", task=CLICKED)
        write_png(server.studies / "discs.png", discs(128, 128))
        loop = np.stack([discs(128, 128)] * 3)
        write_dicom(server.studies / "loop.dcm", loop, FrameTime="40")

    return launch(prepare)


@pytest.fixture
def client(clicking: Server, tmp_path: Path) -> Any:
    return slicer_library().MONAILabelClient(clicking.url, str(tmp_path), "tester")


def _answer(client: Any, image: str, **params: Any) -> np.ndarray:
    file, _ = client.infer(CLICKED, image, {"result_extension": ".nrrd", **params})
    return sitk.GetArrayFromImage(sitk.ReadImage(file))


def _point(position: tuple[int, int], frame: int = 0) -> list[int]:
    return [position[1], position[0], frame]  # x, y, z as the viewers count


def test_viewers_see_a_model_that_takes_positive_and_negative_clicks(client: Any) -> None:
    model = client.info()["models"][CLICKED]
    assert model["type"] == "deepgrow"
    assert model["dimension"] == 3
    assert model["labels"] == {"lesion": 1}


def test_without_clicks_it_answers_by_itself(client: Any) -> None:
    answer = _answer(client, "discs")
    assert answer[ON] == 1
    assert answer[OFF] == 0


def test_a_positive_click_adds_and_a_negative_one_takes_away(client: Any) -> None:
    before = _answer(client, "discs")
    added = _answer(client, "discs", foreground=[_point(OFF)], background=[])
    assert added[OFF] == 1
    assert (added >= before).all()
    both = _answer(client, "discs", foreground=[_point(OFF)], background=[_point(ON)])
    assert both[OFF] == 1
    assert both[ON] == 0
    away = np.hypot(*(np.ogrid[:128, :128][axis] - ON[axis] for axis in (0, 1)))
    np.testing.assert_array_equal(both[away > 6], added[away > 6])


def test_a_click_in_a_loop_changes_its_frame(client: Any) -> None:
    before = _answer(client, "loop")
    after = _answer(client, "loop", foreground=[_point(OFF, 1)])
    assert [bool((after[frame] != before[frame]).any()) for frame in range(3)] == [0, 1, 0]
    assert after[1][OFF] == 1


def test_an_image_that_changed_is_read_anew(client: Any, clicking: Server) -> None:
    file = write_png(clicking.studies / "changing.png", discs(96, 96))
    clicking.wait_for_image("changing")
    before = _answer(client, "changing")
    write_png(file, np.ascontiguousarray(255 - discs(96, 96)))
    after = _answer(client, "changing")
    assert (before != after).mean() > 0.5


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ('{"foreground": [[500, 10, 0]]}', ["outside", "128 x 128"]),
        ('{"foreground": [[1, 2, 0]], "background": [[1, 2, 0]]}', ["both"]),
        ('{"foreground": "here"}', ["foreground"]),
        ('{"background": [["a", "b"]]}', ["no point"]),
    ],
)
def test_points_that_are_none_are_refused(clicking: Server, params: str, words: list[str]) -> None:
    query = {"image": "discs", "output": "image"}
    reply = clicking.post(f"/infer/{CLICKED}", params=query, data={"params": params})
    assert_refused(reply, 400, *words)
