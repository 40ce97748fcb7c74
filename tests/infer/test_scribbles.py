"""Scribbles and clicks as the viewers send them, through the infer tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PillowImage

from infer.scribbles import RegionInfer, ScribblesInfer
from lib.errors import InputError

SHAPE = (64, 80)
DISC = np.hypot(*(np.indices(SHAPE) - np.array([30, 44])[:, None, None])) <= 14
SEGMENTS = ["cyst", "nuclei", "background_scribbles", "foreground_scribbles"]
INFO = [{"name": name, "id": value} for value, name in enumerate(SEGMENTS, start=1)]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    pixels = (rng.normal(60, 6, SHAPE) + 90 * DISC).clip(0, 255).astype(np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """Segments as Slicer exports them: a cyst, present nuclei, and scribbles over them."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[2:6, 2:6] = 1
    drawn[DISC] = 2
    drawn[:, 44:][DISC[:, 44:]] = 0  # half of the disc is missing
    drawn[50:60, 10:30] = 2  # and something false present
    drawn[55, 12:28] = 3
    drawn[26:34, 50:52] = 4
    image = sitk.GetImageFromArray(drawn[np.newaxis])
    sitk.WriteImage(image, str(tmp_path / "drawing.nii.gz"))
    return tmp_path / "drawing.nii.gz"


def answer(task: Any, request: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    file, summary = task({"result_extension": ".nrrd", "result_dtype": "uint8", **request})
    try:
        return sitk.GetArrayFromImage(sitk.ReadImage(file)), summary
    finally:
        Path(file).unlink()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_scribbles_correct_the_chosen_segment_and_no_other(picture: Path, drawing: Path) -> None:
    mask, summary = answer(
        ScribblesInfer(["nuclei", "cyst"]),
        {
            "image": str(picture),
            "label": str(drawing),
            "label_info": INFO,
            "selected_label_name": "nuclei",
            "roi": [],
        },
    )
    assert dice(mask == 1, DISC) > 0.93
    assert set(np.unique(mask)) == {0, 1}
    assert summary["label_names"] == {"nuclei": 1}
    assert summary["foreground"] == pytest.approx((mask == 1).mean(), abs=1e-6)


def test_scribbles_make_a_new_segment_without_what_is_drawn_for_others(
    picture: Path, drawing: Path
) -> None:
    request = {"image": str(picture), "label": str(drawing), "label_info": INFO}
    mask, summary = answer(ScribblesInfer([]), {**request, "selected_label_name": "new"})
    assert dice(mask == 1, DISC) > 0.93
    assert summary["label_names"] == {"new": 1}


def test_a_box_alone_is_enough_as_slicer_sends_it_with_ends_in_any_order(picture: Path) -> None:
    request = {"image": str(picture), "roi": [62, 26, 12, 48, 0, 0]}
    assert dice(answer(ScribblesInfer(["nuclei"]), request)[0] == 1, DISC) > 0.93


def test_clicks_name_the_segment_that_the_viewer_draws(picture: Path) -> None:
    request = {"image": str(picture), "foreground": [[44, 30, 0]], "background": [], "roi": []}
    mask, summary = answer(RegionInfer(["nuclei", "cyst"]), {**request, "label_name": "cyst"})
    assert dice(mask == 1, DISC) > 0.93
    assert summary["label_names"] == {"cyst": 1}
    assert answer(RegionInfer(["nuclei", "cyst"]), request)[1]["label_names"] == {"nuclei": 1}


def test_a_click_in_a_volume_is_answered_on_its_grid(tmp_path: Path) -> None:
    shape = (20, 32, 36)
    away = np.indices(shape) - np.array([9, 15, 20])[:, None, None, None]
    solid = np.sqrt((away**2).sum(axis=0)) <= 7
    image = sitk.GetImageFromArray((50 + 100 * solid).astype(np.int16))
    image.SetOrigin((5.0, 6.0, 7.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "ball.nii.gz"))
    file, _ = RegionInfer(["gland"])(
        {"image": str(tmp_path / "ball.nii.gz"), "foreground": [[20, 15, 9]]}
    )
    label = sitk.ReadImage(file)
    Path(file).unlink()
    assert label.GetOrigin() == pytest.approx(image.GetOrigin())
    assert label.GetDirection() == pytest.approx(image.GetDirection())
    assert dice(sitk.GetArrayFromImage(label) == 1, solid) > 0.93


def test_both_are_offered_without_weights_for_images_and_volumes() -> None:
    scribbles, region = ScribblesInfer(["a", "b"]).info(), RegionInfer(["a", "b"]).info()
    assert (scribbles["type"], region["type"]) == ("scribbles", "deepgrow")
    for info in (scribbles, region):
        assert info["labels"] == {"a": 1, "b": 2}
        assert info["dimension"] == 3  # of 2 viewers would ask slice by slice
    assert ScribblesInfer([]).is_valid()
    assert ScribblesInfer([]).get_path() is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "foreground scribble"),
        ({"label_info": "x"}, "label_info holds x"),
        ({"label_info": [{"name": "a"}]}, "label_info"),
        ({"label_info": [{"name": "a", "id": True}]}, "label_info"),
        ({"label_info": [[1]]}, "label_info"),
        ({"roi": [900, 901, 0, 1, 0, 0]}, "roi"),
        ({"result_extension": ".jpg"}, "result_extension"),
    ],
)
def test_wrong_scribbles_are_refused_with_what_to_do(
    picture: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        ScribblesInfer(["nuclei"])({"image": str(picture), **more})


def test_scribbles_of_another_size_are_refused(picture: Path, tmp_path: Path) -> None:
    PillowImage.fromarray(np.ones((9, 9), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="9 rows.*64 and 80"):
        ScribblesInfer(["nuclei"])({"image": str(picture), "label": str(tmp_path / "small.png")})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "no positive click"),
        ({"background": [[1, 1, 0]]}, "no positive click"),
        ({"foreground": [[80, 0, 0]]}, "outside"),
        ({"foreground": "x"}, "JSON"),
    ],
)
def test_wrong_clicks_are_refused_with_what_to_do(
    picture: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        RegionInfer(["nuclei"])({"image": str(picture), **more})
