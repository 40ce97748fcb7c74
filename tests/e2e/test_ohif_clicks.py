"""Clicks in the panel of OHIF: placed with the mouse, answered by the server, submitted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from archive import stow
from archive_server import ArchiveServer
from pydicom import Dataset
from server_support import MODEL, discs, threshold_weights
from viewer import Viewer

from lib.phantoms.dicom_studies import cine_study, frame_study, volume_study

CLICKED = "busi_click"
SIZE = (96, 128)  # rows and columns; the model sees them as they are
FRAMES, SLICES = 4, 8
SHIFT = 3  # columns that the discs move by with each frame, so that no two are alike

_FRAME = "() => window.shownElements()[0].viewport.getCurrentImageIdIndex()"
_PLACE = """([column, row]) => {
    const [{ viewport }] = window.shownElements();
    const { left, top } = viewport.canvas.getBoundingClientRect();
    const { imageData } = viewport.getImageData();
    const [x, y] = viewport.worldToCanvas(imageData.indexToWorld([column, row, 0]));
    return [left + x, top + y];
}"""
_PLACE_IN_PLANE = """([plane, world]) => {
    const { viewport } = window.shownElements()[plane];
    viewport.jumpToWorld(world);
    const { left, top } = viewport.canvas.getBoundingClientRect();
    const [x, y] = viewport.worldToCanvas(world);
    return [left + x, top + y];
}"""
_ACTIVE = """plane => {
    const { element } = window.shownElements()[plane].viewport;
    return getComputedStyle(element).pointerEvents === 'auto';
}"""
_WINDOW = """() => window.shownElements()[0].viewport.getProperties().voiRange"""
_MARKS = """() => [...document.querySelectorAll('.ml-mark')].map(mark => {
    const { left, top, width, height } = mark.getBoundingClientRect();
    return [left + width / 2, top + height / 2, mark.textContent];
})"""


def _drawn_over(data: Dataset, shifts: list[int]) -> Dataset:
    """Replace the pixels of an instance with discs, further to the right in each frame."""
    rows, columns = int(data.Rows), int(data.Columns)
    frames = [np.roll(discs(rows, columns), shift, axis=1) for shift in shifts]
    data.PixelData = np.stack(frames).tobytes()
    data["PixelData"].VR = "OB"
    return data


@pytest.fixture(scope="module")
def ultrasound() -> list[Dataset]:
    """A frame and a loop of one study, each its own series."""
    (frame,), (loop,) = frame_study(41, SIZE).datasets, cine_study(41, FRAMES, SIZE).datasets
    loop.StudyInstanceUID, loop.PatientID = frame.StudyInstanceUID, frame.PatientID
    loop.SeriesNumber = 2
    shifts = [SHIFT * place for place in range(FRAMES)]
    return [_drawn_over(frame, [0]), _drawn_over(loop, shifts)]


@pytest.fixture(scope="module")
def slices() -> list[Dataset]:
    """An oblique MR volume of slices, in mixed order."""
    study = volume_study(41, (SLICES, 48, 72))
    return [_drawn_over(data, [SHIFT * (int(data.InstanceNumber) - 1)]) for data in study.datasets]


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile()


@pytest.fixture(scope="module")
def server(
    new_orthanc, ultrasound, slices, profile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    archive = new_orthanc()
    stow(archive, [*ultrasound, *slices])
    server = ArchiveServer(tmp_path_factory.mktemp("clicks_server"), archive, CLICKED)
    threshold_weights(server.model_dir / f"{CLICKED}.pt", task=CLICKED)
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: ArchiveServer, profile) -> Viewer:
    return new_viewer(profile, server.url)


class Asked:
    """The points of each request for an answer, as `[positive, negative]`."""

    def __init__(self, viewer: Viewer) -> None:
        self.points: list[list[Any]] = []
        viewer.page.on("request", self._keep)

    def _keep(self, request: Any) -> None:
        if f"/infer/{CLICKED}" in request.url:
            form = request.post_data_buffer.decode()
            params = json.loads(form[form.index("{") : form.rindex("}") + 1])
            self.points.append([params["foreground"], params["background"]])


def _click(viewer: Viewer, place: tuple[int, int]) -> None:
    viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, list(place)))


def _drag(viewer: Viewer, place: tuple[int, int]) -> None:
    """Press on a pixel, and let go beside it."""
    x, y = viewer.page.evaluate(_PLACE, list(place))
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.page.mouse.move(x + 40, y + 40, steps=4)
    viewer.page.mouse.up()


def _scroll(viewer: Viewer, frame: int) -> None:
    """Turn the mouse wheel until the frame is on the screen."""
    viewer.page.mouse.move(*viewer.page.evaluate(_PLACE, [0, 0]))
    for at in range(viewer.page.evaluate(_FRAME) + 1, frame + 1):
        viewer.page.mouse.wheel(0, 100)
        viewer.page.wait_for_function(f"at => ({_FRAME})() === at", arg=at)


def _refused(viewer: Viewer) -> str:
    """What the panel says of a click that is not taken."""
    line = viewer.page.locator(".ml-status[data-kind='error']")
    line.wait_for()
    return str(line.inner_text())


def _counts(viewer: Viewer) -> str:
    return str(viewer.page.locator(".ml-clicks .ml-small").inner_text())


def _on_screen(viewer: Viewer, data: Dataset) -> np.ndarray:
    drawn = viewer.drawn()
    frames = range(1, int(data.get("NumberOfFrames", 1)) + 1)
    return np.stack([drawn[str(data.SOPInstanceUID), frame] for frame in frames])


def _answer(server: ArchiveServer, data: Dataset, positive: Any, negative: Any) -> np.ndarray:
    """What the server answers to these points, `(frames, rows, columns)`."""
    params = {"foreground": positive, "background": negative, "result": "mask"}
    file, _ = server.client().infer(
        CLICKED, str(data.SeriesInstanceUID), {"result_extension": ".nrrd", **params}
    )
    answer = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    return np.atleast_3d(answer.T).T


def _stored(server: ArchiveServer, data: Dataset) -> np.ndarray:
    file = server.client().download_label(str(data.SeriesInstanceUID), "final")
    label = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    return np.atleast_3d(label.T).T


def test_clicks_on_a_frame_and_on_a_loop_are_answered_where_they_are_and_submitted(
    viewer, server, ultrasound
):
    frame, loop = ultrasound
    off, on = [48, 48, 0], [60, 36, 0]  # between discs, and in the middle of one
    asked = Asked(viewer)
    viewer.open(str(frame.StudyInstanceUID))
    assert not viewer.page.locator(".ml-clicks").is_visible(), "with a model that follows none"
    viewer.choose(CLICKED)
    viewer.press("Run")
    alone = _on_screen(viewer, frame)
    assert np.array_equal(alone, _answer(server, frame, [], []))
    assert [alone[0, 48, 48], alone[0, 36, 60]] == [0, 1]

    viewer.click("Add")
    _click(viewer, (48, 48))
    assert f"{CLICKED} answered" in viewer.status()
    added = _on_screen(viewer, frame)
    assert np.array_equal(added, _answer(server, frame, [off], [])) and added[0, 48, 48] == 1
    viewer.click("Remove")
    _click(viewer, (60, 36))
    viewer.status()
    both = _on_screen(viewer, frame)
    assert np.array_equal(both, _answer(server, frame, [off], [on])) and both[0, 36, 60] == 0
    assert "+1, −1" in _counts(viewer)
    marks = viewer.page.evaluate(_MARKS)
    places = [viewer.page.evaluate(_PLACE, place) for place in ((48, 48), (60, 36))]
    assert [sign for *_, sign in marks] == ["+", "−"]
    assert np.allclose([mark[:2] for mark in marks], places, atol=1)
    viewer.picture("clicks_frame")
    viewer.press("Undo click")
    assert np.array_equal(_on_screen(viewer, frame), added)
    viewer.press("Submit")
    assert np.array_equal(_stored(server, frame), added)

    viewer.hang(str(loop.SOPInstanceUID))
    viewer.page.locator(".ml-clicks").get_by_text("+0, −0").wait_for()  # those of the loop
    _scroll(viewer, 2)
    viewer.click("Add")
    _click(viewer, (48 + 2 * SHIFT, 48))
    viewer.status()
    drawn = _on_screen(viewer, loop)
    assert np.array_equal(drawn, _answer(server, loop, [[48 + 2 * SHIFT, 48, 2]], []))
    assert drawn[:, 48, 48 + 2 * SHIFT].tolist() == [0, 0, 1, 0]
    viewer.picture("clicks_loop")
    viewer.press("Submit")
    assert np.array_equal(_stored(server, loop), drawn)
    assert asked.points == [
        [[], []],
        [[off], []],
        [[off], [on]],
        [[off], []],
        [[[48 + 2 * SHIFT, 48, 2]], []],
    ]

    viewer.choose(MODEL)
    assert not viewer.page.locator(".ml-clicks").is_visible()
    viewer.choose(CLICKED)
    assert "+1, −0" in _counts(viewer), "kept"
    viewer.press("Run")
    assert "+0, −0" in _counts(viewer)
    assert np.array_equal(_on_screen(viewer, loop), _answer(server, loop, [], []))


def test_clicks_wait_for_the_answer_under_way_and_refused_ones_are_taken_back(
    viewer, server, ultrasound
):
    frame, _ = ultrasound
    asked = Asked(viewer)
    viewer.open(str(frame.StudyInstanceUID))
    viewer.choose(CLICKED)
    window = viewer.page.evaluate(_WINDOW)
    viewer.click("Add")
    held: list[Any] = []
    viewer.page.route("**/infer/**", lambda route: held.append(route))
    with viewer.page.expect_request("**/infer/**"):
        _click(viewer, (48, 48))
    _click(viewer, (24, 48))
    _click(viewer, (72, 24))
    viewer.page.wait_for_function("() => document.querySelectorAll('.ml-mark').length === 3")
    assert len(asked.points) == len(held) == 1, "the others wait"
    viewer.page.unroute("**/infer/**")
    held[0].continue_()
    viewer.status()
    points = [[48, 48, 0], [24, 48, 0], [72, 24, 0]]
    assert asked.points == [[points[:1], []], [points, []]]
    drawn = _on_screen(viewer, frame)
    assert np.array_equal(drawn, _answer(server, frame, points, []))

    refusal = {"status": 400, "json": {"detail": "no such thing"}}
    viewer.page.route("**/infer/**", lambda route: route.fulfill(**refusal))
    _click(viewer, (72, 72))
    assert _refused(viewer) == "no such thing"
    viewer.page.unroute("**/infer/**")
    _click(viewer, (24, 48))
    assert "has a click already" in _refused(viewer)
    _click(viewer, (60, -5))
    assert "No pixel lies under this click" in _refused(viewer)
    assert "+3, −0" in _counts(viewer)
    assert np.array_equal(_on_screen(viewer, frame), drawn)
    assert viewer.page.evaluate(_WINDOW) == window

    _drag(viewer, (60, 60))  # no click, so OHIF's
    viewer.page.wait_for_function(f"old => ({_WINDOW})().upper !== old.upper", arg=window)
    viewer.click("Add")  # off again: the mouse is OHIF's
    _click(viewer, (60, 60))
    assert len(asked.points) == 3


def test_a_click_in_any_plane_of_a_volume_is_answered_in_its_slice(viewer, server, slices):
    ordered = sorted(slices, key=lambda data: int(data.InstanceNumber))
    viewer.open(str(slices[0].StudyInstanceUID))
    viewer.choose(CLICKED)
    viewer.click("Add")
    asked, points = Asked(viewer), []
    for plane, place, row in ((0, 5, 24), (1, 2, 25), (2, 6, 23)):
        column = 24 + place * SHIFT  # between discs
        data = ordered[place]
        across, down = np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3))
        dy, dx = map(float, data.PixelSpacing)
        world = np.array(data.ImagePositionPatient, float) + column * dx * across + row * dy * down
        spot = viewer.page.evaluate(_PLACE_IN_PLANE, [plane, world.tolist()])
        viewer.page.mouse.click(*spot)  # in a viewport that need not be the active one
        viewer.status()
        viewer.page.wait_for_function(_ACTIVE, arg=plane)
        points.append([column, row, place])
        assert asked.points[-1] == [points, []]
        found = viewer.drawn()
        drawn = np.stack([found[str(one.SOPInstanceUID), 1] for one in ordered])
        assert np.array_equal(drawn, _answer(server, data, points, []))
        assert drawn[place, row, column] == 1
    viewer.picture("clicks_volume")
