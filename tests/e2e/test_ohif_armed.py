"""One click where it was two: tools that are on by themselves, and what they must never do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage
from server_support import Server, discs, write_dicom
from viewer import Viewer

from lib.phantoms.mammograms.exams import write_exams
from lib.phantoms.nuclei import nuclei_phantom

TRAINED, CLICKED = "nuclei", "nuclei_click"  # shipped
CELLS, STILL, EXAM = "cells", "still", "Phantom^1-0"
ROWS, COLUMNS = 48, 72
DISC, BESIDE = (36, 36), (48, 24)  # column, row: the middle of a disc, and between discs
_WINDOW = "() => window.shownElements()[0].viewport.getProperties().voiRange"


@pytest.fixture(scope="module")
def profile(new_profile: Any) -> Any:
    return new_profile(viewport={"width": 1280, "height": 720})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Nuclei with weights, lesions without any."""
    server = Server(tmp_path_factory.mktemp("armed"), f"{TRAINED},{CLICKED},busi_lesion")
    cells = nuclei_phantom(5, rows=128, columns=160)[0]
    Image.fromarray(cells).save(server.studies / f"{CELLS}.png")
    write_dicom(server.studies / f"{STILL}.dcm", discs(ROWS, COLUMNS), PatientName=STILL)
    write_exams(server.studies, seed=1, exams=1, scale=0.06, labelled=0)
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: Server, profile) -> Viewer:
    return new_viewer(profile, server.url)


def _open(viewer: Viewer, server: Server, image: str) -> tuple[str, int]:
    """Open an image of one frame; return its instance and the frame."""
    found = server.get("/viewer/image", params={"image": image}).json()
    viewer.open(found["StudyInstanceUID"])
    viewer.page.wait_for_function(
        "() => document.querySelector('.ml-hint').textContent"  # what is known of the image
    )
    return str(found["SOPInstanceUID"]), 1


def _on(viewer: Viewer) -> str:
    pressed = viewer.page.locator("[data-tool][aria-pressed='true']").all()
    return " ".join(str(button.get_attribute("data-tool")) for button in pressed)


def _drawn(viewer: Viewer) -> np.ndarray:
    """The label that is worked on, `(rows, columns)`; nothing where there is none."""
    found = list(viewer.drawn().values())
    assert len(found) < 2, "one label map, whoever answers"
    return found[0] if found else np.zeros((1, 1), np.uint8)


def _answer(server: Server, model: str, **params: Any) -> np.ndarray:
    reply = server.post(
        f"/infer/{model}",
        params={"image": CELLS, "output": "image"},
        data={"params": json.dumps({"result_extension": ".nrrd", "result": "mask", **params})},
    )
    assert reply.ok, reply.text
    (server.folder / "answer.nrrd").write_bytes(reply.content)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(server.folder / "answer.nrrd")))
    return np.squeeze(found) > 0


def _corrected(drawn: np.ndarray, answer: np.ndarray, points: list[tuple[int, int]]) -> np.ndarray:
    """`drawn` with the objects at points `(column, row)` as they are answered."""
    (of_drawn, _), (of_answer, _) = ndimage.label(drawn), ndimage.label(answer)
    numbers = [(of_drawn[row, column], of_answer[row, column]) for column, row in points]
    after = np.isin(of_answer, [number for _, number in numbers if number])
    before = np.isin(of_drawn, [number for number, _ in numbers if number])
    before |= np.isin(of_drawn, np.setdiff1d(of_drawn[after], 0))
    return np.where(before | after, answer, drawn)


def _deepest(mask: np.ndarray) -> tuple[int, int]:
    """Column and row of the place in a mask that is farthest from its edge."""
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(inside.argmax(), mask.shape)
    return int(column), int(row)


def test_a_click_after_run_is_a_correction_by_the_click_model_of_the_same_structure(viewer, server):
    place = _open(viewer, server, CELLS)
    assert _on(viewer) == "", "of an image that a model answers, only after it has"
    viewer.choose(TRAINED)
    viewer.press("Run")
    assert _on(viewer) == "add"
    line = viewer.page.locator(".ml-armed")
    assert f"a click adds nuclei ({CLICKED})" in line.inner_text()
    answered = _answer(server, TRAINED)
    assert np.array_equal(_drawn(viewer) > 0, answered)
    viewer.picture("armed_after_run")

    missed, wrong = _deepest(~answered), _deepest(answered)
    viewer.click_pixel(place, *missed)
    assert f"{CLICKED} answered: nuclei follows 1 click" in viewer.status()
    clicks = {"foreground": [[*missed, 0]], "background": []}
    added = _corrected(answered, _answer(server, CLICKED, **clicks), [missed])
    assert added[missed[::-1]] and np.array_equal(_drawn(viewer) > 0, added)

    viewer.page.keyboard.down("Alt")
    viewer.click_pixel(place, *wrong)
    viewer.page.keyboard.up("Alt")
    viewer.status()
    clicks["background"] = [[*wrong, 0]]
    both = _corrected(answered, _answer(server, CLICKED, **clicks), [missed, wrong])
    assert not both[wrong[::-1]] and np.array_equal(_drawn(viewer) > 0, both)
    far = ndimage.label(answered)[0]
    far = answered & ~np.isin(far, np.unique(far[answered != both]))
    assert far.any() and both[far].all(), "what was not clicked on stays"
    viewer.picture("armed_clicked")
    for before in (added, answered):
        viewer.press("Undo")
        assert np.array_equal(_drawn(viewer) > 0, before)
    viewer.press("Redo")
    viewer.click("Run")
    viewer.page.get_by_role("button", name="Replace it").click()
    assert f"{TRAINED} answered" in viewer.status()
    assert np.array_equal(_drawn(viewer) > 0, answered)
    assert viewer.page.locator(".ml-mark").count() == 0, "the answer is drawn anew"


def test_the_first_label_of_an_image_that_no_model_answers_is_one_click(viewer, server):
    place = _open(viewer, server, STILL)
    viewer.page.locator("[data-tool='add'][aria-pressed='true']").wait_for()
    assert "a click adds lesion (region_click)" in viewer.page.locator(".ml-armed").inner_text()
    viewer.picture("armed_first_label")
    viewer.click_pixel(place, *DISC)
    viewer.status()
    drawn = _drawn(viewer) > 0
    truth = discs(ROWS, COLUMNS) > 100
    of_disc = ndimage.label(truth)[0]
    of_disc = of_disc == of_disc[DISC[::-1]]
    assert 2 * (drawn & of_disc).sum() / (drawn.sum() + of_disc.sum()) > 0.9
    viewer.press("Undo")
    assert not _drawn(viewer).any()


def test_a_drag_with_add_on_is_the_viewers_and_changes_no_label(viewer, server):
    place = _open(viewer, server, STILL)
    viewer.page.locator("[data-tool='add'][aria-pressed='true']").wait_for()
    asked: list[str] = []
    viewer.page.on("request", lambda request: asked.append(request.url))
    window = viewer.page.evaluate(_WINDOW)
    column, row = DISC
    ((x, y),) = viewer.at([place], (0, row, column))
    mouse = viewer.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 60, y + 40, steps=6)
    mouse.up()
    viewer.page.wait_for_function(f"old => ({_WINDOW})().upper !== old.upper", arg=window)
    mouse.move(x, y)
    mouse.wheel(0, 100)
    mouse.down(button="right")
    mouse.move(x, y + 40, steps=6)
    mouse.up(button="right")
    assert not [url for url in asked if "/infer/" in url] and not _drawn(viewer).any()
    window = viewer.page.evaluate(_WINDOW)
    viewer.click_pixel(place, *DISC)
    viewer.status()
    assert viewer.page.evaluate(_WINDOW) == window, "a click is no drag"
    assert _drawn(viewer).any()


def test_the_last_tool_stays_on_over_images_and_reloads_until_it_is_ended(viewer, server):
    keys = viewer.page.keyboard
    _open(viewer, server, CELLS)
    keys.press("b")
    assert _on(viewer) == "brush"
    viewer.page.reload()
    viewer.wait_until_open()
    viewer.page.locator("[data-tool='brush'][aria-pressed='true']").wait_for()
    assert "drag to paint" in viewer.page.locator(".ml-armed").inner_text()
    _open(viewer, server, STILL)
    viewer.page.locator("[data-tool='brush'][aria-pressed='true']").wait_for()
    keys.press("Escape")
    assert _on(viewer) == "" and not viewer.page.locator(".ml-armed").is_visible()
    _open(viewer, server, STILL)
    assert _on(viewer) == "", "ended is ended"
    _open(viewer, server, CELLS)
    viewer.choose(TRAINED)
    viewer.press("Run")
    assert _on(viewer) == "add", "until the next answer"


def test_a_tool_of_the_viewer_takes_the_left_button_back(viewer, server):
    _open(viewer, server, CELLS)
    bar = viewer.page.locator("[data-cy='Pan']").first
    viewer.page.keyboard.press("a")
    bar.click()
    assert _on(viewer) == "add", "dragging is the viewer's all the same"
    viewer.page.keyboard.press("b")
    bar.click()
    assert _on(viewer) == ""


def test_who_presses_add_before_the_click_as_ever_has_it_on(viewer, server):
    _open(viewer, server, STILL)
    viewer.page.locator("[data-tool='add'][aria-pressed='true']").wait_for()
    viewer.click("Add")
    assert _on(viewer) == "add"
    viewer.click("Add")
    assert _on(viewer) == ""


def test_a_label_that_is_opened_to_be_corrected_takes_a_click_at_once(viewer, server):
    place = _open(viewer, server, STILL)
    viewer.page.locator("[data-tool='add'][aria-pressed='true']").wait_for()
    viewer.click_pixel(place, *DISC)
    viewer.status()
    viewer.press("Submit")
    viewer.page.keyboard.press("Escape")
    _open(viewer, server, STILL)
    saved = viewer.page.locator("[data-section='saved'] .ml-work")
    assert "what you submit" in viewer.press("Correct") and saved.count() == 1
    assert _on(viewer) == "add"


@pytest.mark.parametrize("key", ["a", "b"])
def test_no_tool_is_on_over_mammograms_that_nothing_is_drawn_on(viewer, server, key):
    _open(viewer, server, CELLS)
    viewer.page.keyboard.press(key)
    listed = server.get("/proxy/dicom/studies").json()
    (exam,) = (row for row in listed if row["00100010"]["Value"][0]["Alphabetic"] == EXAM)
    viewer.open(exam["0020000D"]["Value"][0])
    viewer.page.locator("[data-section='density']").get_by_text(
        re.compile("No class is saved|Saved: B")
    ).wait_for()
    assert _on(viewer) == ""
    assert "Class B is saved" in viewer.press("B")
    row = viewer.page.locator("[data-section='saved'] .ml-work").get_by_text("density B").first
    row.wait_for()
    box = row.bounding_box()
    assert box and box["y"] + box["height"] <= 720, "saved work is in the window"
    viewer.picture("armed_mammograms")
